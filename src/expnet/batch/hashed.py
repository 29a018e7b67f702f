"""Files that are hashed first: reading one later gives what was hashed, or an error."""

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expnet.errors import BatchError

_BLOCK = 2**20  # bytes that are compared at once
_DIGEST = 16  # bytes of a block's hash


@dataclass(frozen=True, slots=True)
class HashedFile:
    """A file, its size and SHA-256, and a hash of each megabyte, so that any part can be compared as it is read."""

    path: Path
    size: int
    sha256: str
    blocks: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def of(cls, path: Path) -> "HashedFile":
        """Read a file once and hash it.

        Raises:
            OSError: If it cannot be read.
        """
        whole, blocks, size = hashlib.sha256(), [], 0
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                whole.update(block)
                blocks.append(_hash(block))
                size += len(block)
        return cls(path, size, whole.hexdigest(), tuple(blocks))

    def open(self) -> io.BufferedReader:
        """Open the file as it was: what was appended since is left out, and reading what has changed is a BatchError.

        Raises:
            OSError: If it cannot be opened.
        """
        return io.BufferedReader(_Blocks(self))


class _Blocks(io.RawIOBase):
    """Reads a file in blocks, each compared with its hash before a byte of it is given."""

    def __init__(self, hashed: HashedFile) -> None:
        self._hashed, self._at = hashed, 0
        self._number, self._block = -1, b""
        self._file = hashed.path.open("rb")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._hashed.size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._hashed.size:
            return 0
        number, start = divmod(self._at, _BLOCK)
        if number != self._number:
            self._number, self._block = number, self._read(number)
        part = self._block[start : start + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _read(self, number: int) -> bytes:
        self._file.seek(number * _BLOCK)
        block = self._file.read(min(_BLOCK, self._hashed.size - number * _BLOCK))
        if _hash(block) != self._hashed.blocks[number]:
            raise BatchError(
                f"{self._hashed.path} has changed since this run hashed it. Restore it and run the same "
                "command again, or start a new job, with another output, from the file as it is now."
            )
        return block


def _hash(block: bytes) -> bytes:
    return hashlib.blake2b(block, digest_size=_DIGEST).digest()

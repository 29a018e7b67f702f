"""Files and folders are there whole or not at all."""

import pytest

from expnet.files.atomic import atomic_folder, write_atomic


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"before")
    write_atomic(path, memoryview(b"after"))
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.json", b"after")]


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"before")
    with pytest.raises(TypeError):
        write_atomic(path, "a string is no bytes")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.json", b"before")]


def test_a_folder_takes_its_name_when_the_block_ends(tmp_path):
    with atomic_folder(tmp_path / "network") as unfinished:
        unfinished.mkdir()
        (unfinished / "config.json").write_text("{}")
        assert not (tmp_path / "network").exists()
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == [
        "network",
        "network/config.json",
    ]


def test_a_folder_whose_block_fails_is_not_there(tmp_path):
    def fail():
        with atomic_folder(tmp_path / "network") as unfinished:
            unfinished.mkdir()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_that_another_process_made_meanwhile_stays(tmp_path):
    folder = tmp_path / "network"
    with atomic_folder(folder) as unfinished:
        for path, content in ((unfinished, "ours"), (folder, "theirs")):
            path.mkdir()
            (path / "config.json").write_text(content)
    assert [path.name for path in tmp_path.iterdir()] == ["network"]
    assert (folder / "config.json").read_text() == "theirs"


def test_a_folder_that_nobody_made_is_an_error(tmp_path):
    with pytest.raises(OSError, match="network"), atomic_folder(tmp_path / "network"):
        pass

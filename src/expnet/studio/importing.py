"""Import marks that were made with other tools."""

from pathlib import Path

from expnet.rationales import read
from expnet.rationales.offsets import Offsets
from expnet.studio.marks import Marks
from expnet.studio.texts import key_of


def bring(
    marks: Marks,
    path: Path,
    *,
    format: str = "auto",
    offsets: Offsets = "auto",
    text: str | None = None,
    pair: str | None = None,
    choice: str | None = None,
) -> list[str]:
    """Add the marks of a file in any format to the file of marks, and return sentences on what was done.

    Format, offsets and fields are those of `expnet.rationales.read`.

    What a person marked in both files stays as it is in the file of marks; texts that nobody marked are left out.

    Raises:
        RationaleError: If the file cannot be read completely, or the marks cannot be written in the shared format.
    """
    records = read(path, format=format, offsets=offsets, text=text, pair=pair, choice=choice).records
    marked = [record for record in records if record.rationale is not None]
    news = marks.add(marked)
    notes = [f"{path}: {news} texts brought new marks."]
    if old := len({key_of(record) for record in marked}) - news:
        notes.append(f"{path}: {old} texts were marked by the same people in {marks.path}, which stays as it is.")
    if bare := len(records) - len(marked):
        notes.append(f"{path}: {bare} texts have no marks, and are left out.")
    return notes

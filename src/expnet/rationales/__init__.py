"""Texts with the words that people marked as the reason for the label."""

from expnet.rationales.hub import read_dataset
from expnet.rationales.problems import Problem, Reading
from expnet.rationales.readers.table import FORMATS, Format
from expnet.rationales.reading import read, read_records
from expnet.rationales.records import Annotation, Record
from expnet.rationales.writing import as_row

__all__ = [
    "FORMATS",
    "Annotation",
    "Format",
    "Problem",
    "Reading",
    "Record",
    "as_row",
    "read",
    "read_dataset",
    "read_records",
]

"""Texts with the words that people marked as the reason for the label."""

from expnet.rationales.hub import read_dataset
from expnet.rationales.problems import Problem, ReadFile
from expnet.rationales.readers.table import FORMATS, RationaleFormat
from expnet.rationales.reading import read, read_records
from expnet.rationales.records import Annotation, Record
from expnet.rationales.writing import as_row

__all__ = [
    "FORMATS",
    "Annotation",
    "Problem",
    "RationaleFormat",
    "ReadFile",
    "Record",
    "as_row",
    "read",
    "read_dataset",
    "read_records",
]

"""Texts with the words that people marked as the reason for the label."""

from expnet.rationales.records import Record, read_records

__all__ = ["Record", "read_records"]

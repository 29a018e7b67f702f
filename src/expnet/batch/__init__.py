"""Explain a file of texts, of any length, into shards of Parquet."""

from expnet.errors import require_extra

require_extra("pyarrow", "batch")
from expnet.batch.job import Summary as Summary
from expnet.batch.job import explain_file as explain_file
from expnet.batch.settings import Settings as Settings

"""The input: recorded runs of models on queries, from files and dataframes, checked."""

from jaxcascade.records.example import example_records
from jaxcascade.records.files import read_records, replaced_file, write_table
from jaxcascade.records.parsing import json_value
from jaxcascade.records.prices import TokenPrices, read_prices
from jaxcascade.records.remarks import remarks
from jaxcascade.records.splits import bootstrap, folds, split
from jaxcascade.records.table import Records, RecordsSummary
from jaxcascade.records.validation import require_labels

__all__ = [
    "Records",
    "RecordsSummary",
    "TokenPrices",
    "bootstrap",
    "example_records",
    "folds",
    "json_value",
    "read_prices",
    "read_records",
    "remarks",
    "replaced_file",
    "require_labels",
    "split",
    "write_table",
]

"""Checks that the parquet files of a data set agree on the names of the labels.

Each file declares them for itself, and `datasets` believes the first: without this check, the
labels of a split with other names would silently mean other classes.
"""

import datasets
import pyarrow.parquet as pq

from kdna_zoo.data.source import Source
from kdna_zoo.errors import UserError


def check_label_names(source: Source, column: str) -> None:
    """Compare the names that each local parquet file declares for the label column.

    Args:
        source: The data set; nothing is checked where it is not made of local parquet files.
        column: Its label column.
    """
    expected = source.features[column]
    if not isinstance(expected, datasets.ClassLabel):
        return
    for split, files in source.parquet_files.items():
        for file in files:
            declared = datasets.Features.from_arrow_schema(pq.read_schema(file)).get(column)
            if isinstance(declared, datasets.ClassLabel) and declared.names != expected.names:
                raise UserError(
                    f"The label names of {source.title} differ: {file} (split {split!r}) has "
                    f"{declared.names}, the files before it have {expected.names}. Write all files "
                    "with the same names in the same order."
                )

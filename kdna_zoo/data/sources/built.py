"""A data set that Hugging Face `datasets` prepares: parquet files, or one of the Hub."""

from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq

from kdna_zoo.data.sources.pictures import PassedOver
from kdna_zoo.data.sources.source import Source
from kdna_zoo.errors import UserError


class BuiltSource(Source):
    """A data set behind a builder of `datasets`.

    Args:
        builder: The builder.
        title: The data set in words, for messages.
        readme: Its README.md; None: there is none, or it is on the Hub.
        hub_id: Its id on the Hub; None if it is local.
        revision: The Hub's commit; None if it is local.
        streaming: Whether to give streams rather than rows.
        passed: What was passed over beside its files.
    """

    def __init__(
        self,
        builder: Any,
        title: str,
        readme: Path | None,
        hub_id: str | None = None,
        revision: str | None = None,
        streaming: bool = False,
        passed: PassedOver | None = None,
    ) -> None:
        super().__init__(title, readme, streaming)
        self._builder = builder
        self._passed = passed or PassedOver()
        if streaming:
            self._streams = builder.as_streaming_dataset()
            self.splits = list(self._streams)
            self.features = _stream_features(self._streams, title)
        else:
            builder.download_and_prepare()
            self.splits = list(builder.info.splits)
            self.features = builder.info.features
        self.hub_id = hub_id
        self.revision = revision
        if builder.name == "parquet" and hub_id is None:
            self.parquet_files = {str(k): list(v) for k, v in builder.config.data_files.items()}

    def describe(self) -> str:
        """Say what was found, and what was passed over."""
        passed = str(self._passed)
        return super().describe() + (f"; passed over: {passed}" if passed else "")

    def _rows(self, split: str) -> datasets.Dataset:
        return self._builder.as_dataset(split=split)

    def _stream(self, split: str) -> datasets.IterableDataset:
        return self._streams[split]

    def _count(self, split: str) -> int | None:
        if split in self.parquet_files:
            return sum(int(pq.read_metadata(file).num_rows) for file in self.parquet_files[split])
        if self.hub_id is None and self.streaming:
            tables = self._streams[split].with_format("arrow").iter(batch_size=1000)
            return sum(int(table.num_rows) for table in tables)
        info = (self._builder.info.splits or {}).get(split)
        return int(info.num_examples) if info else None


def _stream_features(streams: Any, title: str) -> datasets.Features:
    features = next(iter(streams.values())).features
    if features is None:
        raise UserError(
            f"The files of {title} do not declare their columns, as a stream needs; set streaming "
            "to false."
        )
    return features

"""The DataLoader over a split's images."""

from typing import Any

from torch.utils.data import DataLoader, Dataset

from kdna_zoo.data.rows import Example


def make_loader(
    images: Dataset[Example],
    batch_size: int,
    num_workers: int,
    pin_memory: bool,
    shuffle: bool = False,
    drop_last: bool = False,
) -> DataLoader[Example]:
    """Batch images.

    Args:
        images: Rows or a stream.
        batch_size: Images in a batch.
        num_workers: Processes that load; 0: this process.
        pin_memory: Whether to load into page-locked memory.
        shuffle: Whether to load in random order.
        drop_last: Whether to drop an incomplete last batch.
    """
    workers: dict[str, Any] = {"num_workers": num_workers, "persistent_workers": num_workers > 0}
    return DataLoader(
        images,
        batch_size=batch_size,
        shuffle=shuffle,
        drop_last=drop_last,
        pin_memory=pin_memory,
        **workers,
    )

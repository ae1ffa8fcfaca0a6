"""Says in a line what a data set was found to hold, before anything is made of it."""

from lightning.pytorch.utilities import rank_zero_info

from kdna_zoo.data.labelled import LabelledImages

SHOWN = 10  # classes


def say_what_was_found(images: LabelledImages) -> None:
    """Say which splits and classes there are, how many images each has, and what is not used.

    Args:
        images: The data set.
    """
    names = images.classes.names
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    classes = f"{len(names):,} class{'es' if len(names) != 1 else ''}: "
    rank_zero_info(f"{images.source.describe()}; {classes}{', '.join(names[:SHOWN])}{more}")

"""Which split each role takes: train, val, test, predict."""

from dataclasses import dataclass

from kdna_zoo.data.source import Source

VAL_SPLITS = ("validation", "val", "test")
TEST_SPLITS = ("test", "validation", "val")


@dataclass(frozen=True)
class Splits:
    """The splits of a data set by role.

    Attributes:
        source: The data set.
        train: The split to train on.
        val: The split to validate on; None: the first there is of `VAL_SPLITS`.
        test: The split to test and predict on; None: the first there is of `TEST_SPLITS`.
        val_fraction: Part of each class of the training split to validate on instead, and to test
            and predict on where there is no split for that; None: none.
    """

    source: Source
    train: str
    val: str | None = None
    test: str | None = None
    val_fraction: float | None = None

    def of(self, role: str) -> str:
        """Name the split that a role reads."""
        if role == "train" or self.held_out(role):
            return self.train
        if role == "val":
            return self.val or self.source.first_split("val_split", VAL_SPLITS)
        return self.test or self.source.first_split("test_split", TEST_SPLITS)

    def held_out(self, role: str) -> tuple[float, bool] | None:
        """Tell the part held out and whether the role is what takes it; None: whole splits."""
        if not self.val_fraction or not (role in ("train", "val") or self._lacks_test()):
            return None
        return self.val_fraction, role != "train"

    def _lacks_test(self) -> bool:
        return not self.test and not {*TEST_SPLITS} & {*self.source.splits}

    def title(self, role: str) -> str:
        """Name a role's split for a reader."""
        held = self.held_out(role)
        return f"{self.of(role)} (held out)" if held and held[1] else self.of(role)

    def has_val(self) -> bool:
        """Whether there is something to validate on."""
        return bool(self.val or self.val_fraction or {*VAL_SPLITS} & {*self.source.splits})

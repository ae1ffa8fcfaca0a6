"""Checks of the data module's numbers."""

from kdna_zoo.errors import UserError


def check_numbers(
    batch_size: int,
    eval_batch_size: int | None,
    num_workers: int,
    num_classes: int | None,
    val_fraction: float | None,
) -> None:
    """Raise a `UserError` for a number that cannot be."""
    at_least = (
        ("batch_size", batch_size, 1),
        ("eval_batch_size", eval_batch_size, 1),
        ("num_workers", num_workers, 0),
        ("num_classes", num_classes, 1),
    )
    for name, value, least in at_least:
        if value is not None and value < least:
            raise UserError(f"{name} must be at least {least}, got {value}")
    if val_fraction is not None and not 0 < val_fraction < 1:
        raise UserError(f"val_fraction must be above 0 and below 1, got {val_fraction}")

"""Where the files that are not Python lie, in a checkout and in an installed wheel."""

from pathlib import Path

from kdna_zoo.errors import UserError

_PACKAGE = Path(__file__).resolve().parent


def recipes_folder() -> Path:
    """Return the folder of the recipes: inside the wheel, or at the top of a checkout."""
    for folder in (_PACKAGE / "recipes", _PACKAGE.parent / "recipes"):
        if (folder / "_base").is_dir():
            return folder
    raise UserError(f"the recipes are missing from this installation of kdna-zoo ({_PACKAGE})")


def checkout() -> Path | None:
    """Return the top of the checkout that this package runs from; None if it is installed."""
    top = _PACKAGE.parent
    return top if (top / "pyproject.toml").is_file() and (top / "hub").is_dir() else None


def published_folder(name: str) -> Path | None:
    """Return ``hub/<name>`` of the checkout if it holds weights."""
    top = checkout()
    folder = top / "hub" / name if top else None
    return folder if folder and (folder / "model.safetensors").is_file() else None

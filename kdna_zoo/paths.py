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

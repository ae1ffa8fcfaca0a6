"""Takes the publisher's machine out of a text: no path in a release says where someone lives."""

import re
from pathlib import Path

from kdna_zoo.paths import checkout, recipes_folder

# An absolute path or one from the home folder, as a word or after a colon, an equals sign or quote.
PATH = re.compile(r"""(?<![^\s:='"\[(,])(~|/(?=[^\s/]))[^\s'",\])]*""")


def portable(text: str) -> str:
    """Rewrite the paths in a command line or YAML text.

    What lies in the checkout or in the current folder becomes relative to it; of any other absolute
    path only the last part stays, as ``path/to/name``.
    """
    return PATH.sub(lambda found: _relative(found[0]), text)


def _relative(path: str) -> str:
    place = Path(path)
    for top in (recipes_folder().parent, checkout(), Path.cwd()):
        if top and place != top and place.is_relative_to(top):
            return place.relative_to(top).as_posix()
    return f"path/to/{place.name}" if place.name else "path/to"

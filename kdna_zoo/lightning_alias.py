"""The ``lightning`` command: ``lightning fit`` is ``kdna-zoo fit``, all else is lightning-sdk's.

Lightning itself installs no command of that name, though its users expect one; lightning-sdk does.
Where both packages are installed the file is the one that came last, and with either of them all
of lightning-sdk's commands work.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import metadata

from kdna_zoo import cli

SDK = "lightning-sdk"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a training command, or hand the command line on."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments and arguments[0] in cli.TRAINING:
        return cli.main(arguments)
    command = find_sdk_command()
    if command is None:
        given = f"lightning {arguments[0]}" if arguments else "lightning"
        print(
            f"{given}: here, lightning {' | '.join(cli.TRAINING)} are those of kdna-zoo; all other "
            f"commands are {SDK}'s, which is not installed: pip install {SDK}. For models, "
            "publishing and so on, see `kdna-zoo --help`",
            file=sys.stderr,
        )
        return 2
    sys.argv = [sys.argv[0], *arguments]
    return command() or 0


def find_sdk_command() -> Callable[[], int | None] | None:
    """Return the function behind lightning-sdk's command, or None if it is not installed."""
    try:
        scripts = metadata.distribution(SDK).entry_points.select(group="console_scripts")
    except metadata.PackageNotFoundError:
        return None
    for script in scripts:
        if script.name == "lightning":
            command: Callable[[], int | None] = script.load()
            return command
    return None


if __name__ == "__main__":
    sys.exit(main())

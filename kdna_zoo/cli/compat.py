"""What the command line has to ask of argparse's private parts, in one place.

`tests/cli/test_compat.py` fails on the day argparse has it in public, or has changed it.
"""

import argparse


def option_names(parser: argparse.ArgumentParser) -> list[str]:
    """Return the options of a parser, as one writes them; it lists them in its help only."""
    return list(parser._option_string_actions)

"""Text from a stranger, made harmless for a terminal.

Names of classes, architectures and files come with downloads. An escape code among them could move
the cursor, change colours or rewrite what stands above; a mark of direction turns letters around.
"""

from unicodedata import category

# control characters; marks such as those of direction; halves of a pair; line and paragraph ends
UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
LINES = "\n\t"
JOINERS = "\u200c\u200d"  # part of words in some scripts, and of some emoji


def printable(text: object, lines: bool = False) -> str:
    r"""Return a text with each character that does not show written as Python does, as ``\x1b``.

    Args:
        text: The text.
        lines: Whether it may have several lines; a name may not.
    """
    kept = JOINERS + LINES if lines else JOINERS
    return "".join(
        character if character in kept or category(character) not in UNSEEN else _written(character)
        for character in str(text)
    )


def _written(character: str) -> str:
    return character.encode("unicode_escape").decode()

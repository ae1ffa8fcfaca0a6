"""What jsonargparse says of an option, in one sentence."""

import re

NAMES = {"NoneType": "null", "int": "a whole number", "float": "a number", "str": "a text",
         "bool": "true or false", "dict": "a mapping", "list": "a list"}  # fmt: skip


def in_one_sentence(message: str) -> str:
    """Say which option has which value, and what it takes; else the message on one line."""
    key = re.search(r'Parser key "([^"]+)":', message)
    given = re.search(r"Given value: (.*)\Z", message, re.DOTALL)
    expected = re.findall(r"Expected an? ([^\n]+)", message)
    if not (key and given and expected):
        return " ".join(message.split())
    kinds = dict.fromkeys(_name(kind.strip()) for kind in expected)
    value = " ".join(given[1].split())
    return f"{key[1]} takes {' or '.join(kinds)}, not {value!r}"


def _name(kind: str) -> str:
    found = re.search(r"<class '(?:\w+\.)*(\w+)'>", kind)
    name = found[1] if found else kind
    return NAMES.get(name, name if found else f"a {kind}")

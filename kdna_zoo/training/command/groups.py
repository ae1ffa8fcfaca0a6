"""Options of the data that are given without the name of their group, put into it.

``--data.mean`` is ``--data.preprocess.mean``, on the command line and in files alike. So they were
called before there were groups: older recipes, and those of published weights, stay as they are.
"""

import re
from collections.abc import Mapping, Sequence

import yaml

MAP = "tag:yaml.org,2002:map"


def grouped_arguments(arguments: Sequence[str], groups: Mapping[str, str]) -> list[str]:
    """Return a command line whose options of the data have the names of their groups.

    Args:
        arguments: The command line.
        groups: The group of each option that has one.
    """
    return [_grouped(argument, groups) for argument in arguments]


def _grouped(argument: str, groups: Mapping[str, str]) -> str:
    found = re.fullmatch(r"--data\.(\w+)(\+?(=.*)?)", argument, re.DOTALL)
    if found is None or found[1] not in groups:
        return argument
    return f"--data.{groups[found[1]]}.{found[1]}{found[2]}"


def grouped_yaml(text: str, groups: Mapping[str, str]) -> str:
    """Return a configuration whose section ``data`` has its options in their groups.

    Args:
        text: The configuration; it comes back as it is where nothing is to be done.
        groups: The group of each option that has one.
    """
    try:
        config = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError:
        return text  # which the parser refuses
    entries = config.value if isinstance(config, yaml.MappingNode) else []
    sections = [value for key, value in entries if key.value == "data"]
    moved = [_regroup(part, groups) for part in sections if isinstance(part, yaml.MappingNode)]
    return yaml.serialize(config) if any(moved) else text


def _regroup(section: yaml.MappingNode, groups: Mapping[str, str]) -> bool:
    """Move the options of a section into their groups, and say whether there were any."""
    entries = [(key, value) for key, value in section.value if isinstance(key.value, str)]
    kept = [(key, value) for key, value in entries if key.value not in groups]
    flat = [(key, value) for key, value in entries if key.value in groups]
    there = {key.value: value for key, value in kept}
    for key, value in flat:
        group = groups[key.value]
        if group not in there:
            there[group] = yaml.MappingNode(MAP, [])
            kept.append((yaml.ScalarNode("tag:yaml.org,2002:str", group), there[group]))
        there[group].value.append((key, value))
    section.value = kept
    return bool(flat)

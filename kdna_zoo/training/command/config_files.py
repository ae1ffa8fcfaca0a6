"""What is looked at in a configuration file before LightningCLI reads it.

A file that cannot be read is one line that names the file, its line and column.

LightningCLI imports the module of each class that a configuration names, which is its purpose in
one's own files and runs a stranger's code in theirs. So a file that came with published weights may
name classes of a few packages only, unless the user lets in others by ``--import``.
"""

import importlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kdna_zoo.errors import UserError

TRUSTED = ("kdna_zoo", "lightning", "timm", "torch")
PUBLISHED = "recipe.yaml"  # what `kdna-zoo publish` calls the configuration that it keeps
YAML = (".yaml", ".yml", ".json")
OPTIONS = ("-c", "--config")
SECTIONS = ("model", "data", "trainer")  # which are mappings
PLACES = ("default_root_dir", "model_registry")  # of the trainer: strings, and never a class
DOTTED = r"[^\W\d]\w*(\.[^\W\d]\w*)+"
STRUCTURE = r"[\n{}\[\]!&*|>]|:(\s|$)|^-\s"  # a string with it would be read as YAML once more


def check_config_files(arguments: Sequence[str], imports: Collection[str] = ()) -> None:
    """Check the configuration files that a command line names.

    Args:
        arguments: The command line.
        imports: Modules that the user lets in, whatever names them.

    Raises:
        UserError: If one cannot be read, or came with published weights and names other classes.
    """
    for file in _config_files(arguments):
        config = _read(file)
        if came_with_weights(file):
            _check_classes(file, config, imports)
    for value in (argument.rpartition("=")[2] for argument in arguments):
        file = Path(value)  # such as that of --trainer FILE
        if file.suffix in YAML and file.is_file() and came_with_weights(file):
            _check_classes(file, {"trainer": _read(file)}, imports)


def came_with_weights(file: Path) -> bool:
    """Say whether a configuration is of a published folder or of a repository on the Hub."""
    folder = file.absolute().parent
    cached = any(
        above.name == "snapshots" and "--" in above.parent.name for above in folder.parents
    )
    fetched = any(
        (above / ".cache" / "huggingface" / "download").is_dir()  # `hf download --local-dir`
        for above in (folder, *folder.parents)
    )
    return file.name == PUBLISHED or (folder / "config.json").is_file() or cached or fetched


def _config_files(arguments: Sequence[str]) -> Iterator[Path]:
    given = iter(arguments)
    for argument in given:
        name, equals, value = argument.partition("=")
        if name in OPTIONS:
            path = Path(value if equals else next(given, ""))
            if path.is_file():  # what is none is the parser's to refuse
                yield path


def _read(file: Path) -> Any:
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise UserError(
            f"{file} is not UTF-8: its line {line} has the byte 0x{error.object[error.start]:02x};"
            " save it as UTF-8"
        ) from error
    except yaml.YAMLError as error:
        raise UserError(f"{file} is no YAML: {_where(file, error)}") from error
    if not isinstance(config, Mapping):
        holds = "nothing" if config is None else f"a {type(config).__name__}"
        raise UserError(
            f"{file} holds {holds} where a configuration has sections, such as `trainer:`"
        )
    for name in SECTIONS:
        section = config.get(name, {})
        if not isinstance(section, Mapping | str | None):
            raise UserError(
                f"{file}: `{name}:` is a section of settings, one `name: value` a line, and here"
                f" a {type(section).__name__}"
            )
    return config


def _where(file: Path, error: yaml.YAMLError) -> str:
    """Say what is wrong with YAML, and in which line."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    lines = file.read_text(encoding="utf-8").splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    place = f"line {mark.line + 1}, column {mark.column + 1}"
    if "\t" in line[: mark.column + 1]:
        return f"{place} is a tab; YAML is indented by spaces"
    context, problem = getattr(error, "context", None), getattr(error, "problem", None)
    return f"{place}: {', '.join(filter(None, (problem, context)))}"


def _check_classes(file: Path, config: Any, imports: Collection[str]) -> None:
    for path, text in _strings(config, ""):
        if any((folder / text).is_file() for folder in (Path(), file.parent)):
            raise UserError(
                f"{file} came with published weights, and its {path} names another file, {text}:"
                " write what is in it into your own configuration"
            )
        if re.search(STRUCTURE, text):
            raise UserError(
                f"{file} came with published weights, and its {path} hides settings in a text:"
                f" {text!r}"
            )
        if re.fullmatch(DOTTED, text) and not _is_let_in(text, imports):
            module = text.rpartition(".")[0]
            raise UserError(
                f"{file} came with published weights, and its {path} names {text}: from such a"
                f" file only classes of {', '.join(TRUSTED)} are used, for others are a stranger's"
                f" code. Leave it out in a copy, or, if you trust it, give --import {module}"
            )


def _is_let_in(name: str, imports: Collection[str]) -> bool:
    if any(name.startswith(f"{module}.") for module in imports):
        return True
    module, _, attribute = name.rpartition(".")
    if module.partition(".")[0] not in TRUSTED:
        return False
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return False
    return isinstance(found, type)  # a function could be any, such as torch.load


def _strings(value: Any, path: str, named: bool = False) -> Iterator[tuple[str, str]]:
    """Yield the texts that LightningCLI may take for a class or for more configuration.

    Those are all of the trainer, and whatever stands in one mapping with a ``class_path``.
    """
    within = named or "trainer" in path.split(".")
    if isinstance(value, Mapping):
        named = within or "class_path" in value
        for key, inner in value.items():
            if key not in PLACES:
                yield from _strings(inner, f"{path}.{key}" if path else str(key), named)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _strings(inner, f"{path}.{index}", within)
    elif isinstance(value, str) and within:
        yield path, value

"""Whether the Hub takes a card: its front matter, checked before anything is made or uploaded."""

import json
import re
from pathlib import Path

import yaml
from huggingface_hub import RepoCard

from kdna_zoo.errors import UserError
from kdna_zoo.release.remote import hub_trouble
from kdna_zoo.release.signature import addressed

FRONT = re.compile(r"\s*---[^\S\n]*\n(.*?)\n---[^\S\n]*(?:\n|\Z)", re.DOTALL)


def check_card(card: Path, repo_id: str) -> None:
    """Check that the Hub will take a card.

    Args:
        card: The README.md.
        repo_id: Where it is meant for.

    Raises:
        UserError: Its front matter is no YAML, or the Hub finds it wrong.
        RunError: The Hub does not answer.
    """
    text = card.read_text(encoding="utf-8")
    front = FRONT.match(text)
    try:
        data = yaml.safe_load(front[1] if front else "")
    except yaml.YAMLError as error:
        raise _refused(card, str(error)) from error
    if data is not None and not isinstance(data, dict):
        raise _refused(card, f"it holds {data!r}, and should hold `key: value` lines")
    with hub_trouble(f"checking {card.name}"):
        try:
            RepoCard(addressed(text, repo_id), ignore_metadata_errors=True).validate("model")
        except (TypeError, ValueError) as error:  # the client's, or what the Hub says of it
            raise _refused(card, _said(str(error))) from error


def _said(answer: str) -> str:
    """Return the messages of the Hub's answer, or all of it where it has none."""
    try:
        return "; ".join(entry["message"] for entry in json.loads(answer)["errors"]) or answer
    except (ValueError, KeyError, TypeError):
        return answer


def _refused(card: Path, reason: str) -> UserError:
    return UserError(
        f"the Hub does not take {card}: its front matter, between the lines `---` at the top, is"
        f" wrong: {' '.join(reason.split())}. Correct it there; nothing was made or uploaded"
    )

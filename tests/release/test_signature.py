import pytest

from kdna_zoo.release.signature import addressed, is_generated, signed

CARD = '# Title\n\nMODEL = "local-dir:."  # here\nkdna-zoo classify x --model local-dir:.\n'


def test_signed_is_generated_and_stays_so() -> None:
    card = signed(CARD)
    assert card.startswith(CARD)
    assert is_generated(card)
    assert is_generated(card.rstrip("\n")), "a lost newline at the end is no edit"


@pytest.mark.parametrize(
    "edit",
    [
        lambda card: card.replace("Title", "My title"),
        lambda card: card + "One more line\n",
        lambda card: card.rpartition("<!--")[0],
        lambda card: "",
    ],
)
def test_an_edit_shows(edit: object) -> None:
    assert callable(edit)
    assert not is_generated(edit(signed(CARD)))


def test_a_card_names_its_repository() -> None:
    card = addressed(signed(CARD), "org/name")
    assert is_generated(card)
    assert 'MODEL = "hf-hub:org/name"  # here\nkdna-zoo classify x --model hf-hub:org/name' in card
    assert 'MODEL = "hf-hub:new/name"' in addressed(card, "new/name")
    edited = signed(CARD).replace("Title", "Mine")
    assert addressed(edited, "org/name") == edited

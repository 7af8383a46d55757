"""Word lists answer as the interface says."""

import pytest

from tokenloom.core.errors import InvalidInput
from tokenloom.core.lexicon import Lexicon, WordList


def test_a_word_list_is_a_lexicon():
    assert isinstance(WordList(["ev"]), Lexicon)


def test_an_unknown_word_has_no_root():
    assert WordList(["ev"]).roots("su") == set()


def test_the_caller_cannot_change_the_roots():
    words = WordList(["evler"], roots={"evler": ["ev"]})
    words.roots("evler").add("su")
    assert words.roots("evler") == {"ev"}


@pytest.mark.parametrize("words, affixes, said", [([], [], "one word or affix"), (["ev", ""], [], "empty")])
def test_a_word_list_refuses(words, affixes, said):
    with pytest.raises(InvalidInput, match=said):
        WordList(words, affixes)

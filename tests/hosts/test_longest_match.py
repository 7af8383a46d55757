import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import TokenizerError
from tokenloom.hosts.json_tokenizer import JsonTokenizer
from tokenloom.hosts.longest_match import longest_match_json, longest_match_pattern

letters = st.text("ab.?(é\n \\", min_size=1, max_size=5)


def cut_plainly(strings, text):
    """The longest string at each place, else a character in bytes."""
    tokens, at = [], 0
    while at < len(text):
        longest = max((s for s in strings if text.startswith(s, at)), key=len, default="")
        tokens += [longest.encode()] if longest else [bytes([byte]) for byte in text[at].encode()]
        at += len(longest) or 1
    return tokens


@given(st.lists(letters, unique=True, min_size=1, max_size=12), letters)
def test_the_pattern_matches_the_longest_that_begins_here(strings, text):
    found = regex.match(longest_match_pattern(sorted(strings)), text)
    longest = max((s for s in strings if text.startswith(s)), key=len, default=None)
    assert (found and found.group()) == longest


@given(st.lists(letters, unique=True, max_size=12), st.text("ab.?(é\n \\漢", max_size=20))
def test_the_tokenizer_cuts_by_longest_match(strings, text):
    ids = {s: 256 + i if len(s.encode()) > 1 else ord(s) for i, s in enumerate(strings)}
    tok = JsonTokenizer(longest_match_json(ids, {}, "x"), "x", engine="tokenizers")
    assert tok.encode(text).tokens() == cut_plainly(strings, text)


def test_a_special_token_in_the_way_is_refused():
    with pytest.raises(TokenizerError, match="special token '<end>' with id 256 collides"):
        longest_match_json({"<end>": 257}, {"<end>": 256}, "x")

"""The filter keeps what lies between two percentiles of all that was seen before."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.data.entropy_filter import EntropyFilter, entropy

DOCUMENTS = st.lists(st.text(st.sampled_from("ab c"), max_size=12), max_size=12)


@given(DOCUMENTS, st.sampled_from([0.0, 0.1, 0.25, 0.4]), st.integers(1, 4))
def test_what_is_kept_is_what_a_plain_loop_keeps(texts, share, first):
    expected, seen = [], []
    for text in texts:
        values = [round(entropy(text), 9), round(entropy(text.split()), 9)]
        low, high = np.quantile(seen, [share, 1 - share], axis=0) if len(seen) >= first else (values, values)
        # A billionth: percentiles between two equal numbers may round either way.
        if all(a - 1e-9 <= value <= b + 1e-9 for a, value, b in zip(low, values, high)):
            expected.append(text)
        seen.append(values)
    assert list(EntropyFilter(share, first)(iter(texts))) == expected


def test_entropy_of_known_counts():
    assert entropy([]) == entropy("aaaa") == 0.0
    assert entropy("abcd") == 2.0
    assert entropy("aaab") == pytest.approx(0.25 * 2 + 0.75 * np.log2(4 / 3))


def test_too_regular_and_too_random_documents_are_left_out_of_a_stream():
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(50)]
    prose = [" ".join(rng.choice(words, 40)) for _ in range(200)]
    noise = " ".join("".join(map(chr, rng.integers(0x4E00, 0x9000, 5))) for _ in range(40))
    kept = list(EntropyFilter(0.1, first=100)([*prose, "aa " * 40, noise]))
    assert "aa " * 40 not in kept and noise not in kept
    assert kept[:100] == prose[:100] and 150 < len(kept) < 200


def test_documents_come_as_they_are_read():
    def stream():
        yield "a b"
        raise AssertionError("read ahead")

    assert next(EntropyFilter()(stream())) == "a b"


@pytest.mark.parametrize(("settings", "words"), [((0.5,), "share=0.5"), ((-0.1,), "share=-0.1"), ((0.1, 0), "first=0")])
def test_bad_settings_are_refused(settings, words):
    with pytest.raises(InvalidInput, match=words):
        EntropyFilter(*settings)

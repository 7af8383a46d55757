"""The oracle's budget, question by question."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.measure.oracle_budget import oracle_budget


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=20), st.permutations([1, 4, 16]))
def test_it_takes_the_fewest_tokens_that_answer_and_all_where_none_do(answers, tokens):
    right_MB = np.array(answers).T
    fewest = [min((t for t, ok in zip(tokens, one) if ok), default=16) for one in answers]
    found = oracle_budget(right_MB, tokens)
    assert found.tokens == pytest.approx(np.mean(fewest))
    assert found.accuracy == pytest.approx(np.mean([any(one) for one in answers]))


@pytest.mark.parametrize(
    "right, tokens", [(np.zeros((2, 3), bool), [1]), (np.zeros((1, 0), bool), [1]), (np.zeros(3, bool), [1, 2, 3])]
)
def test_answers_that_do_not_fit_are_refused(right, tokens):
    with pytest.raises(InvalidInput, match="each has a row of answers"):
        oracle_budget(right, tokens)

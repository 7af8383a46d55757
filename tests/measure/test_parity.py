"""Premiums on aligned text."""

import numpy as np
import pytest

from tokenloom.core.errors import InvalidInput
from tokenloom.data import sample
from tokenloom.hosts import load_tokenizer
from tokenloom.measure.parity import Parallel, parallel_tokens, premiums, read_parallel


def test_a_tokenizer_of_bytes_pays_what_utf8_pays():
    parallel = read_parallel(sample("udhr-parallel-13"))
    tokens = parallel_tokens(load_tokenizer("bytes"), parallel)
    sizes = [sum(len(text.encode()) for text in parallel.column(language)) for language in parallel.languages]
    assert len(parallel.languages) == 13 and tokens.shape == (28, 13)
    assert tokens.sum(0).tolist() == sizes
    assert premiums(tokens, 0) == pytest.approx(np.array(sizes) / sizes[0])


def test_rows_with_an_empty_text_are_left_out():
    assert read_parallel("en\tde\none\teins\ntwo\t").rows == [["one", "eins"]]


def test_a_first_column_of_numbers_is_no_language():
    assert read_parallel("article\ten\tde\n1\tone\teins").languages == ("en", "de")


@pytest.mark.parametrize(
    "table, said",
    [
        ("", "my.tsv is empty"),
        ("en\nx", "my.tsv: .*two languages"),
        ("en\ten\nx\ty", "no two alike"),
        ("en\tde\nx", "my.tsv, line 2: 1 columns, but the first line has 2"),
        ("en\tde", "without rows"),
    ],
)
def test_a_table_that_is_not_aligned_is_refused(table, said):
    with pytest.raises(InvalidInput, match=said):
        read_parallel(table, "my.tsv")


def test_a_language_that_is_not_there_is_named():
    with pytest.raises(InvalidInput, match=r"no language .fr. .* en, de"):
        Parallel(("en", "de"), [["a", "b"]]).column("fr")


def test_a_row_of_another_length_is_refused():
    with pytest.raises(InvalidInput, match="row 2 has 1 texts"):
        Parallel(("en", "de"), [["a", "b"], ["c"]])


def test_a_base_without_tokens_is_refused():
    with pytest.raises(InvalidInput, match="without tokens"):
        premiums(np.array([[0, 3]]), 0)

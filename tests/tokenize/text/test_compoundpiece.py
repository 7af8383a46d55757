"""CompoundPiece: the best cuts against all cuts, what hyphens teach, a splitter that learns, a vocabulary that respects seams."""

import json
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

import tokenloom as tl
from tokenloom.core.errors import InvalidInput, StoreError
from tokenloom.data import sample
from tokenloom.hosts.train import unigram_of_counts
from tokenloom.measure.compounds import hardness, score_splits
from tokenloom.tokenize.text.compoundpiece import (
    corrupt,
    hyphen_lessons,
    hyphenated,
    piece_counts,
    segment_by,
    word_counts,
)
from tokenloom.tokenize.text.decompounder import Decompounder


def rng(seed=0):
    return np.random.default_rng(seed)


def distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(last + (x != y), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def by_all_cuts(word, constituents, prefix):
    """All ways to cut, in the order in which the reference meets them: rising sum of |offsets|, then rising offsets."""
    ways = []
    for cuts in combinations(range(1, len(word)), len(constituents) - 1):
        parts = [word[a:b] for a, b in zip((0, *cuts), (*cuts, len(word)), strict=True)]
        offsets = [len(part) - len(c) for part, c in zip(parts, constituents, strict=True)]
        if all(abs(o) <= len(c) for o, c in zip(offsets, constituents, strict=True)):
            cost = sum(distance(p.lower(), c.lower()) for p, c in zip(parts, constituents, strict=True))
            ways.append((cost, sum(map(abs, offsets)), offsets, parts))
    if not ways:
        return None
    best = sorted((s, o, parts) for cost, s, o, parts in ways if cost == min(ways)[0])
    return best[0 if prefix else -1][2]


@settings(max_examples=300)
@given(
    st.text("abAB", min_size=1, max_size=12),
    st.lists(st.text("abA", min_size=1, max_size=6), min_size=2, max_size=4),
    st.booleans(),
)
def test_the_best_cut_is_that_of_all_cuts(word, constituents, prefix):
    parts = segment_by(word, constituents, prefix=prefix)
    assert parts == by_all_cuts(word, constituents, prefix)
    assert parts is None or ("".join(parts) == word and all(parts))


@pytest.mark.parametrize(
    ("word", "constituents", "parts"),
    [
        ("Bundestagswahl", ["Bundestag", "Wahl"], ["Bundestags", "wahl"]),
        ("Abendsonnenschein", ["Abendsonne", "Schein"], ["Abendsonnen", "schein"]),
        ("Schwimmbad", ["schwimmen", "Bad"], ["Schwimm", "bad"]),
        ("Kirschbaum", ["Kirsche", "Baum"], ["Kirsch", "baum"]),
        ("Straßenbahnhaltestelle", ["Straße", "Bahn", "Haltestelle"], ["Straßen", "bahn", "haltestelle"]),
        ("ab", ["x", "y", "z"], None),
        ("abcdefghi", ["x", "y"], None),
    ],
)
def test_known_words_are_cut_where_readers_cut_them(word, constituents, parts):
    assert segment_by(word, constituents) == parts


def test_the_first_of_equals_leaves_the_linking_letter_to_the_right():
    assert segment_by("Bundestagswahl", ["Bundestag", "Wahl"], prefix=True) == ["Bundestag", "swahl"]


@pytest.mark.parametrize(
    ("word", "teaches"),
    [
        ("Mund-Nasen-Schutz", True),
        ("schwarz-weiß", True),
        ("1-Euro-Münze", False),  # a part of one character
        ("10-Euro-Münze", False),  # a part of digits
        ("ODBC-Treiber", False),  # a part all capitals
        ("iPod-Hülle", False),  # a capital inside
        ("Typ2-Kabel", False),  # a digit behind a letter
        ("a--b", False),
        ("ab--cd", False),
        ("me@web-seite", False),
        ("web-seite.de", False),
        ("-Haus", False),
        ("x" * 40 + "-" + "y" * 40, False),
        ("Haus", False),
    ],
)
def test_which_hyphens_may_teach(word, teaches):
    assert hyphenated(word) == teaches


@pytest.mark.parametrize(
    ("word", "joined", "cuts"),
    [
        ("Mund-Nasen-Schutz", "Mundnasenschutz", [4, 9]),
        ("E-Mail-Adresse", "EMailadresse", [1, 5]),
        ("UV-licht", "UVLicht", [2]),
        ("schwarz-weiß", "schwarzweiß", [7]),
        ("中-文", "中文", [1]),
    ],
)
def test_corruption_follows_its_table(word, joined, cuts):
    assert corrupt(word, rng(), 1.0) == (joined, cuts)


@given(st.lists(st.text("abAB", min_size=1, max_size=4), min_size=1, max_size=4), st.floats(0, 1), st.integers(0, 9))
def test_corruption_only_takes_hyphens_out_and_changes_case(parts, probability, seed):
    joined, cuts = corrupt("-".join(parts), rng(seed), probability)
    assert joined.lower() == "".join(parts).lower()
    assert cuts == np.cumsum([len(part) for part in parts[:-1]]).tolist()
    assert corrupt("-".join(parts), rng(seed), 0.0)[0] == "".join(parts)


def test_words_lose_the_signs_at_their_edges():
    assert word_counts(["(Haus-Boot), Haus\u2010Boot! --x-- \xa0y", b"z \xff z"]) == {
        "Haus-Boot": 2,
        "x": 1,
        "y": 1,
        "z": 2,
    }


def test_lessons_drop_rare_ways_to_write_and_keep_the_most_frequent_one():
    counts = {
        "Haus-Boot": 3,
        "Hau-sboot": 2,
        "Ab-laut": 1,
        "Bahn-Hof": 2,
        "Bahnhof": 1000,
        "und": 50,
        "Hausboot": 4,
        "der": 60,
    }
    lessons = hyphen_lessons(counts, rng=rng(), probability=1.0)
    # "Ab-laut" is seen once; "Bahn-Hof" 1/500 as often as "Bahnhof", which is less than e^-6.
    assert lessons == [("Hausboot", [4]), ("Bahnhof", [])]
    # What is written together counts in whatever case, 500 + 400 times; a word that is seen once is no common word.
    lessons = hyphen_lessons({"Bahn-Hof": 2, "Bahnhof": 500, "BAHNHOF": 400, "der": 1}, rng=rng(), probability=1.0)
    assert lessons == []
    assert hyphen_lessons({"Bahn-Hof": 2, "der": 1}, rng=rng(), probability=1.0) == [("Bahnhof", [4])]
    assert hyphen_lessons({"Bahn-Hof": 2, "Bahnhof": 800, "der": 9}, rng=rng(), probability=1.0)[0] == ("Bahnhof", [4])


def taught(words, count=150):
    generator, lessons = rng(3), []
    for _ in range(count):
        a, b = generator.choice(words, 2)
        lessons += [(a + b, [len(a)]), (str(generator.choice(words)), [])]
    return lessons


WORDS = ["haus", "boot", "baum", "schule", "kinder", "garten", "wasser", "fall", "spiel", "platz", "stein", "kirche"]


def test_a_splitter_learns_from_some_compounds_to_split_others():
    lessons = taught(WORDS)
    model = Decompounder.learn(lessons, dict.fromkeys(WORDS, 30), rng=rng())
    seen = {word for word, _ in lessons}
    fresh = [[a, b] for a in WORDS for b in WORDS if a + b not in seen]
    assert len(fresh) > 5
    assert score_splits(model(["".join(parts) for parts in fresh]), fresh).compounds == 1
    assert model(WORDS) == [[word] for word in WORDS]


@given(st.lists(st.text(max_size=12), max_size=5))
def test_parts_are_the_word_again_and_none_is_a_single_letter(words):
    model = Decompounder(np.full(1 << 18, 0.5, np.float32), np.zeros(0, np.uint64), np.zeros(0, np.uint8))
    parts = model(words)
    assert ["".join(part) for part in parts] == words
    assert all(len(part) > 1 for found in parts for part in found if len(found) > 1)


def test_probabilities_are_those_of_the_features_and_lie_inside_the_word():
    model = Decompounder.learn(taught(WORDS), dict.fromkeys(WORDS, 30), rng=rng())
    (found,) = model.probabilities(["hausboot"])
    assert found.shape == (8,) and found[:2].tolist() == [0, 0] and found[7] == 0
    assert found.argmax() == 4 and 0 < found[2] < 0.5 < found[4] < 1


def test_learning_repeats_itself_and_tuning_leaves_the_model_as_it_was():
    lessons = taught(WORDS)
    one, two = (Decompounder.learn(lessons, {"haus": 3}, rng=rng(1), epochs=2) for _ in range(2))
    assert np.array_equal(one.weights, two.weights)
    other = one.tune([("banane", [])], rng=rng(), epochs=1)
    assert np.array_equal(one.weights, two.weights) and not np.array_equal(one.weights, other.weights)


def test_a_saved_splitter_splits_the_same_and_a_damaged_one_is_refused(tmp_path):
    model = Decompounder.learn(taught(WORDS), dict.fromkeys(WORDS, 30), rng=rng())
    model.save_pretrained(tmp_path / "model")
    again = Decompounder.from_pretrained(tmp_path / "model")
    assert again(["hausboot", "wasserfall"]) == [["haus", "boot"], ["wasser", "fall"]]
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenloom.json",
    ]
    file = tmp_path / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError, match="SHA-256 differs"):
        Decompounder.from_pretrained(tmp_path / "model")


def test_pieces_have_a_space_for_white_space_and_signs_stand_apart():
    assert piece_counts(["Haus\n\nBoot, ﬁn (x-y)"]) == {
        "Haus": 1, " Boot": 1, ",": 1, " fin": 1, " (": 1, "x": 1, "-": 1, "y": 1, ")": 1
    }  # fmt: skip


def german():
    """Two nouns put together in all ways, in a text."""
    words = [a.capitalize() + b for a in WORDS for b in WORDS if a != b]
    return [" ".join(words)] * 3


def test_the_vocabulary_respects_seams_where_plain_unigram_does_not():
    model = Decompounder.learn(taught(WORDS), dict.fromkeys(WORDS, 30), rng=rng())
    compounds = [[a.capitalize(), b] for a in WORDS for b in WORDS if a != b]
    train = tl.CompoundPiece(400)
    plain = hardness(train.learn(piece_counts(german()), None), compounds, before=" ")[0]
    ours = hardness(train.learn(piece_counts(german()), model), compounds, before=" ")[0]
    assert ours == 0 < plain


def test_the_baseline_is_unigram_on_the_words():
    pieces = piece_counts(german())
    plain = tl.CompoundPiece(400).learn(pieces, None)
    assert plain.spec == unigram_of_counts(pieces, 400, name="compoundpiece").spec


def test_what_has_no_letter_stays_whole():
    model = Decompounder(np.full(1 << 18, 0.5, np.float32), np.zeros(0, np.uint64), np.zeros(0, np.uint8))
    assert model(["20234567"]) != [["20234567"]]
    pieces = {"20234567": 5, "...!!": 5, "abcd": 5}
    whole = unigram_of_counts({"20234567": 5, "...!!": 5, "ab": 5, "cd": 5}, 400, name="compoundpiece")
    assert tl.CompoundPiece(400).learn(pieces, model).spec == whole.spec


TECHNICAL = sample("de-technical")


def test_it_learns_from_the_hyphens_of_the_text_that_it_is_given(tmp_path):
    tok = tl.CompoundPiece(2000)([TECHNICAL], rng=rng())
    assert tok.digest == tl.CompoundPiece(2000)([TECHNICAL], rng=rng()).digest
    assert len(tok.vocab) <= 2000
    for data in (TECHNICAL.encode()[:5000], b"a\xff\xfe b", "世界".encode()):
        assert tok.decode(tok.encode(data).ids) == data
    tok.save(tmp_path / "tokenizer.json")
    theirs = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.encode(TECHNICAL[:5000]).ids == tok.encode(TECHNICAL[:5000]).ids.tolist()
    seg = tok.encode("Zeichenkettenverarbeitung")
    assert tl.StochasTok(tok.vocab, 3.0)(seg, rng=rng()).is_refinement_of(seg)
    assert json.loads(tok.spec["text"])["model"]["type"] == "Unigram"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: segment_by("Haus", ["Haus"]), "has 1 constituents; a compound has two at least"),
        (lambda: segment_by("Haus", ["Haus", ""]), "empty constituent"),
        (lambda: segment_by("Haus-Boot", ["Haus", "Boot"]), "has a hyphen"),
        (lambda: Decompounder.learn([], {}, rng=rng()), "no words to learn from"),
        (lambda: Decompounder.learn([("Haus", [4])], {}, rng=rng()), "cannot be cut at"),
        (lambda: tl.CompoundPiece(256), "256 bytes and 1 special tokens need more"),
        (lambda: tl.CompoundPiece(400, resolution=0), "resolution=0"),
        (lambda: tl.CompoundPiece(400)(["Haus"]), "give rng="),
        (lambda: tl.CompoundPiece(400)([], rng=rng()), "no text to train on"),
        (lambda: tl.CompoundPiece(400)(["Haus Boot"], rng=rng()), "no hyphenated word occurs twice"),
        (lambda: tl.CompoundPiece(400, 16).learn({"Haus": 3}, None), "is seen 16 times"),
    ],
)
def test_what_cannot_be_done_is_refused(call, words):
    with pytest.raises(InvalidInput, match=words):
        call()

"""Automata against plain search over all paths, and against OpenFst where pynini is importable."""

from collections import defaultdict
from itertools import product
from math import exp, inf, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.automaton import Automaton, branches
from tokenloom.core.errors import InvalidInput

LABELS = 3


def every_path(automaton, string):
    """All paths as (weight, outputs, ends), by walking."""
    arcs = defaultdict(list)
    for k in range(automaton.source.size):
        arcs[automaton.source[k], automaton.label[k]].append(k)
    paths = []

    def walk(state, at, weight, outputs, ends):
        if at == len(string):
            if automaton.final[state] < inf:
                paths.append((weight + automaton.final[state], outputs, ends))
            return
        for k in arcs[state, string[at]]:
            if automaton.weight[k] < inf:
                wrote = int(automaton.output[k] >= 0)
                walk(
                    automaton.target[k],
                    at + 1,
                    weight + automaton.weight[k],
                    outputs + (int(automaton.output[k]),) * wrote,
                    ends + (at + 1,) * wrote,
                )

    walk(automaton.start, 0, 0.0, (), ())
    return paths


@st.composite
def automata(draw):
    """Small ones, with several arcs for the same label; costs are eighths, so that sums are exact."""
    states = draw(st.integers(1, 4))
    state = st.integers(0, states - 1)
    cost = st.integers(0, 12).map(lambda k: k / 8)
    arc = st.tuples(state, st.integers(0, LABELS - 1), st.integers(-1, 4), cost, state)
    arcs = draw(st.lists(arc, max_size=14))
    reached, waiting = {0}, [0]
    while waiting:
        here = waiting.pop()
        for source, _, _, _, target in arcs:
            if source == here and target not in reached:
                reached.add(target)
                waiting.append(target)
    final = [draw(st.one_of(st.just(inf), cost)) if s in reached else inf for s in range(states)]
    columns = list(zip(*arcs)) if arcs else [[]] * 5
    return Automaton(*columns[:3], columns[3], columns[4], final)


strings = st.lists(st.integers(0, LABELS), max_size=6)  # label 3 is read by no arc


@given(automata(), strings)
def test_all_paths_and_their_order_are_those_of_plain_search(automaton, string):
    lattice, expected = automaton.lattice(string), every_path(automaton, string)
    assert lattice.count == len(expected)
    found = lattice.n_best(max(1, len(expected)))
    assert sorted((p.weight, p.outputs, p.ends) for p in found) == sorted(expected)
    assert [p.weight for p in found] == sorted(weight for weight, _, _ in expected)


@given(automata(), strings, st.integers(1, 5))
def test_the_n_best_are_the_beginning_of_all(automaton, string, n):
    found = automaton.lattice(string).n_best(n)
    assert [p.weight for p in found] == sorted(weight for weight, _, _ in every_path(automaton, string))[:n]


@given(automata(), st.lists(strings, max_size=5))
def test_a_batch_gives_the_best_path_of_each_string(automaton, many):
    starts = np.cumsum([0, *map(len, many)])
    paths = automaton.best([label for string in many for label in string], starts)
    for w, string in enumerate(many):
        best = automaton.lattice(string).n_best(1)
        outputs = tuple(paths.outputs[paths.starts[w] : paths.starts[w + 1]].tolist())
        ends = tuple(paths.ends[paths.starts[w] : paths.starts[w + 1]].tolist())
        assert (paths.weights[w], outputs, ends) == (
            (best[0].weight, best[0].outputs, best[0].ends) if best else (inf, (), ())
        )


@given(automata(), st.lists(st.tuples(strings, st.integers(1, 3)), min_size=1, max_size=4))
def test_expected_counts_are_the_sums_over_all_paths(automaton, counted):
    many, counts = zip(*counted)
    found = automaton.expect([x for s in many for x in s], np.cumsum([0, *map(len, many)]), counts, 5)
    expected, likelihood, accepted = np.zeros(5), 0.0, 0
    for string, count in counted:
        paths = every_path(automaton, string)
        if not paths:
            continue
        total = sum(exp(-weight) for weight, _, _ in paths)
        assert automaton.lattice(string).log_probability == pytest.approx(log(total))
        likelihood, accepted = likelihood + count * log(total), accepted + count
        for weight, outputs, _ in paths:
            for output in outputs:
                expected[output] += count * exp(-weight) / total
    assert found.counts == pytest.approx(expected)
    assert found.log_likelihood == pytest.approx(likelihood)
    assert found.accepted == accepted


def test_a_string_that_is_not_read_has_no_path_and_no_probability():
    automaton = Automaton([0], [1], [0], [0.5], [1], [inf, 0.25])
    assert automaton.lattice([2]).n_best(3) == []
    assert automaton.lattice([2]).log_probability == -inf
    assert automaton.lattice([]).n_best(3) == []
    assert [path.weight for path in automaton.lattice([1]).n_best(3)] == [0.75]


def test_other_weights_leave_the_paths_as_they_are():
    automaton = Automaton([1, 0], [5, 4], [1, 0], [0.5, 0.25], [0, 1], [0.0, inf])
    other = automaton.reweighted(np.array([2.0, 4.0])[automaton.output])
    assert [p.weight for p in other.lattice([4, 5]).n_best(2)] == [6.0]
    assert [p.weight for p in automaton.lattice([4, 5]).n_best(2)] == [0.75]


@given(st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=12, unique=True))
def test_branches_read_the_strings_and_nothing_else(words):
    words = sorted(words)
    source, label, output, target = branches(words, first_node=2, end=1)
    final = np.full(max(2, 1 + target.max()), inf)
    final[1] = 0
    automaton = Automaton(np.maximum(source, 0), label, output, np.zeros(label.size), target, final)
    for size in range(1, 5):
        for letters in product("abc", repeat=size):
            word = "".join(letters)
            outputs = [path.outputs for path in automaton.lattice([ord(c) for c in word]).n_best(9)]
            assert outputs == ([(words.index(word),)] if word in words else []), word
    pairs = list(zip(source.tolist(), label.tolist(), (output < 0).tolist()))
    assert len(set(pairs)) == len(pairs), "shared beginnings share their arcs"


@pytest.mark.parametrize(
    ("arcs", "final", "words"),
    [
        (([0], [1], [0], [0.0, 1.0], [0]), [0.0], "all need the same"),
        (([0], [1], [0], [0.0], [2]), [0.0], "target goes from 2 to 2; the states are 0 to 0"),
        (([0], [-1], [0], [0.0], [0]), [0.0], "labels are >= 0, and each arc reads one"),
        (([0], [1], [-2], [0.0], [0]), [0.0], "outputs are >= 0, or -1"),
        (([0], [1], [0], [float("nan")], [0]), [0.0], "nan or -inf"),
        (([0], [1], [0], [0.0], [0]), [-inf], "nan or -inf"),
        (([0], [1], [0], [0.0], [0]), [0.0, 0.0], "state 1 ends strings, but no arcs lead to it"),
        (([0, 1], [1, 1], [0, 0], [1.0, -2.0], [1, 0]), [0.0, inf], "sum to less than 0"),
        (([0.5], [1], [0], [0.0], [0]), [0.0], "whole numbers"),
    ],
)
def test_what_is_no_automaton_is_refused(arcs, final, words):
    with pytest.raises(InvalidInput, match=words):
        Automaton(*arcs, final)


def test_a_cycle_may_gain_as_much_as_it_costs():
    automaton = Automaton([0, 1], [1, 1], [0, 1], [1.0, -1.0], [1, 0], [0.0, inf])
    assert [path.weight for path in automaton.lattice([1, 1, 1, 1]).n_best(2)] == [0.0]


def test_no_path_is_not_a_number_of_paths():
    with pytest.raises(InvalidInput, match="k=0"):
        Automaton([], [], [], [], [], [0.0]).lattice([]).n_best(0)


def test_what_does_not_fit_the_strings_is_refused():
    automaton = Automaton([0], [1], [3], [0.5], [0], [0.0])
    for starts in ([0, 1], [1, 2], [0, 2, 1, 2], []):
        with pytest.raises(InvalidInput, match="starts must go from 0 to the 2 labels"):
            automaton.best([1, 1], starts)
    with pytest.raises(InvalidInput, match="2 counts for 1 strings"):
        automaton.expect([1, 1], [0, 2], [1, 1], 4)
    with pytest.raises(InvalidInput, match="outputs=3, but output 3 is written"):
        automaton.expect([1, 1], [0, 2], [1], 3)


@given(automata(), st.lists(strings, min_size=1, max_size=4))
def test_openfst_finds_the_same_paths(automaton, many):
    pynini = pytest.importorskip("pynini", reason="PyPI: pynini 2.1.7 is not importable")
    fst = pynini.Fst()
    fst.add_states(automaton.final.size)
    fst.set_start(automaton.start)
    for state in np.flatnonzero(automaton.final < inf).tolist():
        fst.set_final(state, automaton.final[state])
    for k in range(automaton.source.size):
        # Label 0 is OpenFst's empty one.
        arc = pynini.Arc(
            int(automaton.label[k]) + 1,
            int(automaton.output[k]) + 1,
            float(automaton.weight[k]),
            int(automaton.target[k]),
        )
        fst.add_arc(int(automaton.source[k]), arc)
    for string in many:
        acceptor = pynini.Fst()
        acceptor.add_states(len(string) + 1)
        acceptor.set_start(0)
        acceptor.set_final(len(string))
        for at, label in enumerate(string):
            acceptor.add_arc(at, pynini.Arc(label + 1, label + 1, 0, at + 1))
        theirs = pynini.compose(acceptor, fst.copy().arcsort("ilabel"))
        found = set()
        for path in _paths_of(theirs):
            found.add(path)
        ours = {(round(p.weight, 4), p.outputs) for p in automaton.lattice(string).n_best(10_000)}
        assert {(round(weight, 4), outputs) for weight, outputs in found} == ours
        if ours:
            best = float(pynini.shortestdistance(theirs, reverse=True)[theirs.start()])
            assert best == pytest.approx(min(weight for weight, _ in ours), abs=1e-4)
            total = pynini.arcmap(theirs, map_type="to_log")
            all_of_them = float(pynini.shortestdistance(total, reverse=True)[total.start()])
            assert -all_of_them == pytest.approx(automaton.lattice(string).log_probability, abs=1e-3)
        else:
            assert theirs.num_states() == 0


def _paths_of(fst):
    if fst.num_states():
        paths = fst.paths()
        while not paths.done():
            yield float(paths.weight()), tuple(label - 1 for label in paths.olabels() if label)
            paths.next()

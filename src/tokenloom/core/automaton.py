"""Weighted finite-state transducers that read a string: best path, n best, all paths, expected counts.

A path costs the sum of its arcs' weights and of its last state's; costs are negative logarithms, so the best path costs
least (the tropical semiring), and the probability of a string is the sum over its paths (the log semiring). Mohri 2009,
"Weighted automata algorithms". Every arc reads one label: an arc that reads nothing could go round for ever, and a grammar
of strings that are not empty needs none. A string and an automaton make a lattice, layer by layer; all else is done there.
"""
# S states, A arcs (sorted by source and label), W strings, L labels, N nodes and E edges of a lattice, K paths

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from .errors import InvalidInput
from .lattice import Lattice, add, backward, compose, n_best

__all__ = ["Automaton", "Expected", "Paths", "branches"]


@dataclass(frozen=True, eq=False)
class Paths:
    """The best path of each of many strings.

    Args:
        weights: their costs, float64 (W,); inf where the string is not accepted.
        outputs: what all of them write, one after the other, int64.
        ends: labels of its string read when each was written, int64.
        starts: where the outputs of each string begin, and the end, int64 (W + 1,).
    """

    weights: np.ndarray
    outputs: np.ndarray
    ends: np.ndarray
    starts: np.ndarray


@dataclass(frozen=True, eq=False)
class Expected:
    """What is to be expected of the paths of many strings.

    Args:
        counts: how often each output is written, float64 (outputs,), added up over the accepted strings.
        log_likelihood: natural logarithm of the probability of all accepted strings.
        accepted: how many are, with their counts.
    """

    counts: np.ndarray
    log_likelihood: float
    accepted: float


class Automaton:
    """A transducer without empty inputs; several arcs of a state may read the same label.

    Args:
        source: the state that each arc leaves, whole numbers (A,).
        label: what it reads, >= 0.
        output: what it writes, >= 0, or -1.
        weight: its cost, float; inf closes the arc.
        target: the state that it enters.
        final: cost of ending in each state, float (S,); inf where no string ends.
        start: the state where reading begins.
    Raises: InvalidInput: arrays of different lengths, a state that is none, a cost that is no number or -inf, a state that
        ends strings but is never reached, or a cycle that costs less than nothing.

    >>> ab = Automaton([0, 0, 1], [5, 5, 5], [-1, 7, 8], [0.0, 1.0, 0.5], [1, 0, 0], [0.0, np.inf])
    >>> ab.lattice([5, 5]).n_best(9)
    [Path(weight=0.5, outputs=(8,), ends=(2,)), Path(weight=2.0, outputs=(7, 7), ends=(1, 2))]
    """

    def __init__(
        self,
        source: Sequence[int] | np.ndarray,
        label: Sequence[int] | np.ndarray,
        output: Sequence[int] | np.ndarray,
        weight: Sequence[float] | np.ndarray,
        target: Sequence[int] | np.ndarray,
        final: Sequence[float] | np.ndarray,
        start: int = 0,
    ) -> None:
        self.final = np.array(final, np.float64).ravel()
        source_A, label_A, output_A, target_A = (_whole(x) for x in (source, label, output, target))
        weight_A = np.array(weight, np.float64).ravel()
        sizes = {x.size for x in (source_A, label_A, output_A, weight_A, target_A)}
        if len(sizes) > 1:
            raise InvalidInput(f"source, label, output, weight and target have {sorted(sizes)} arcs; all need the same")
        states = self.final.size
        for name, value in (("source", source_A), ("target", target_A), ("start", np.array([start]))):
            if value.size and not (value.min() >= 0 and value.max() < states):
                raise InvalidInput(f"{name} goes from {value.min()} to {value.max()}; the states are 0 to {states - 1}")
        if label_A.size and label_A.min() < 0:
            raise InvalidInput(f"arc {label_A.argmin()} reads {label_A.min()}; labels are >= 0, and each arc reads one")
        if output_A.size and output_A.min() < -1:
            raise InvalidInput(f"arc {output_A.argmin()} writes {output_A.min()}; outputs are >= 0, or -1 for nothing")
        self.start = int(start)
        order = np.lexsort((label_A, source_A))  # stable: arcs alike stay in the order given, which settles ties
        self.source, self.label, self.output = source_A[order], label_A[order], output_A[order]
        self.target, self.weight = target_A[order], weight_A[order]
        self.first = np.searchsorted(self.source, np.arange(states + 1))
        self._check()

    def _check(self) -> None:
        for name, value in (("weight", self.weight), ("final", self.final)):
            if np.isnan(value).any() or (value == -np.inf).any():
                raise InvalidInput(
                    f"{name} has a cost that is nan or -inf; costs are numbers, or inf for what is closed"
                )
        reached = _reached(self.start, self.first, self.target)
        if (lost := np.flatnonzero(np.isfinite(self.final) & ~reached)).size:
            raise InvalidInput(f"state {lost[0]} ends strings, but no arcs lead to it from the start {self.start}")
        if (
            self.weight.size
            and self.weight.min() < 0
            and _sinks(self.source, self.target, self.weight, self.final.size)
        ):
            raise InvalidInput("the weights of a cycle sum to less than 0, so that longer strings would cost ever less")

    def reweighted(self, weight: Sequence[float] | np.ndarray) -> "Automaton":
        """The same arcs with other costs, float (A,), for `source`, `label`, `output` and `target` as they are sorted here.

        Raises: InvalidInput: as for the class.
        """
        return Automaton(self.source, self.label, self.output, weight, self.target, self.final, self.start)

    def lattice(self, string: Sequence[int] | np.ndarray) -> "Lattice":
        """All paths that read `string`, labels (L,), and end."""
        stamp = np.full(self.final.size, -1, np.int64)
        lattice = compose(
            _whole(string), self.start, self.first, self.label, self.target, self.weight, self.final, stamp
        )
        return Lattice(self.weight, self.output, *lattice)

    def best(self, strings: Sequence[int] | np.ndarray, starts: Sequence[int] | np.ndarray) -> Paths:
        """The best path of each of many strings; of equals the one whose arcs come first.

        Args:
            strings: labels of all strings, one after the other.
            starts: where each begins, and the end, (W + 1,).
        Raises: InvalidInput: `starts` does not divide `strings`.
        """
        return Paths(*_best(*_divided(strings, starts), *self._arrays))

    def expect(
        self,
        strings: Sequence[int] | np.ndarray,
        starts: Sequence[int] | np.ndarray,
        counts: Sequence[float] | np.ndarray,
        outputs: int,
    ) -> Expected:
        """Expected counts of the outputs over all paths of the strings: forward and backward, the E-step of EM.

        Args:
            strings, starts: as for `best`.
            counts: how often each string is seen, float (W,).
            outputs: how many different ones there are.
        Raises: InvalidInput: `starts` does not divide `strings`, another number of counts, or an output that is not below
            `outputs`.
        """
        units, edges = _divided(strings, starts)
        repeats = np.asarray(counts, np.float64).ravel()
        if repeats.size != edges.size - 1:
            raise InvalidInput(f"{repeats.size} counts for {edges.size - 1} strings")
        if self.output.size and self.output.max() >= outputs:
            raise InvalidInput(f"outputs={outputs}, but output {self.output.max()} is written")
        found = _expect(units, edges, repeats, outputs, *self._arrays)
        return Expected(found[0], float(found[1]), float(found[2]))

    @property
    def _arrays(self) -> tuple[Any, ...]:
        return self.start, self.first, self.label, self.target, self.output, self.weight, self.final


def _divided(strings: Sequence[int] | np.ndarray, starts: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    units, edges = _whole(strings), _whole(starts)
    if not edges.size or edges[0] != 0 or edges[-1] != units.size or (np.diff(edges) < 0).any():
        raise InvalidInput(f"starts must go from 0 to the {units.size} labels and never fall, got {edges[:8].tolist()}")
    return units, edges


def _whole(values: Sequence[int] | np.ndarray) -> np.ndarray:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise InvalidInput(f"{array.dtype} values where whole numbers are needed: {array.ravel()[:4].tolist()}")
    return array.astype(np.int64, copy=False).ravel()


def branches(strings: Sequence[str], first_node: int, end: int) -> np.ndarray:
    """Arcs of the tree of strings, a building block of grammars: from one root over shared beginnings to one end.

    The last character of a string is an arc of its own, which writes the place of the string and enters the end.

    Args:
        strings: sorted, different, not empty.
        first_node: the number of the first state inside the tree; the others follow.
        end: the state that is entered behind a string.
    Returns: source (-1: the root), label (the code point), output and target of each arc, int64 (4, arcs).

    >>> branches(["a", "ab"], first_node=9, end=3).T.tolist()
    [[-1, 97, 0, 3], [-1, 97, -1, 9], [9, 98, 1, 3]]
    """
    units = np.frombuffer("".join(strings).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.int64)
    return _branches(units, np.cumsum([0, *map(len, strings)]), first_node, end)


# -- kernels -----------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _branches(units, starts, first_node, end):
    arcs, n = np.empty((4, units.size), np.int64), 0
    path, node, shared = np.full(units.size + 1, -1, np.int64), first_node, 0
    for string in range(starts.size - 1):
        begin, size = starts[string], starts[string + 1] - starts[string]
        if string:
            before, known = starts[string - 1], begin - starts[string - 1]
            shared = 0
            while shared < min(known, size) - 1 and units[before + shared] == units[begin + shared]:
                shared += 1
        for depth in range(shared, size - 1):
            arcs[0, n], arcs[1, n], arcs[2, n], arcs[3, n] = path[depth], units[begin + depth], -1, node
            path[depth + 1] = node
            n, node = n + 1, node + 1
        arcs[0, n], arcs[1, n], arcs[2, n], arcs[3, n] = path[size - 1], units[begin + size - 1], string, end
        n += 1
    return arcs[:, :n].copy()


@njit(cache=True, nogil=True)
def _reached(start, first, target):
    """Whether arcs lead to each state from the start."""
    reached = np.zeros(first.size - 1, np.bool_)
    waiting, n = np.empty(first.size, np.int64), 1
    waiting[0], reached[start] = start, True
    while n:
        n -= 1
        state = waiting[n]
        for arc in range(first[state], first[state + 1]):
            if not reached[target[arc]]:
                reached[target[arc]] = True
                waiting[n] = target[arc]
                n += 1
    return reached


@njit(cache=True, nogil=True)
def _sinks(source, target, weight, states):
    """Whether some cycle costs less than nothing (Bellman, Ford); a millionth less than nothing is rounding."""
    cost = np.zeros(states)
    for _ in range(states):
        changed = False
        for arc in range(source.size):
            if cost[source[arc]] + weight[arc] < cost[target[arc]] - 1e-6:
                cost[target[arc]] = cost[source[arc]] + weight[arc]
                changed = True
        if not changed:
            return False
    return True


@njit(cache=True, nogil=True)
def _best(strings, starts, start, first, label, target, output, weight, final):
    costs = np.full(starts.size - 1, np.inf)
    outputs, ends, n = np.empty(strings.size, np.int64), np.empty(strings.size, np.int64), 0
    begins = np.zeros(starts.size, np.int64)
    stamp = np.full(final.size, -1, np.int64)
    for w in range(starts.size - 1):
        string = strings[starts[w] : starts[w + 1]]
        source, to, arc, ending = compose(string, start, first, label, target, weight, final, stamp)
        if ending.size:
            cost, path = n_best(1, source, to, weight[arc], ending)
            costs[w] = cost[0]
            for at in range(path.shape[1]):
                if output[arc[path[0, at]]] >= 0:
                    outputs[n], ends[n] = output[arc[path[0, at]]], at + 1
                    n += 1
        begins[w + 1] = n
    return costs, outputs[:n].copy(), ends[:n].copy(), begins


@njit(cache=True, nogil=True)
def _expect(strings, starts, counts, outputs, start, first, label, target, output, weight, final):
    expected, likelihood, accepted = np.zeros(outputs), 0.0, 0.0
    stamp = np.full(final.size, -1, np.int64)
    for w in range(starts.size - 1):
        string = strings[starts[w] : starts[w + 1]]
        source, to, arc, ending = compose(string, start, first, label, target, weight, final, stamp)
        if not ending.size:
            continue
        after = backward(source, to, weight[arc], ending)
        likelihood += counts[w] * after[0]
        accepted += counts[w]
        before = np.full(ending.size, -np.inf)
        before[0] = 0.0
        for edge in range(source.size):
            cost = weight[arc[edge]]
            through = before[source[edge]] - cost
            before[to[edge]] = add(before[to[edge]], through)
            if output[arc[edge]] >= 0:
                expected[output[arc[edge]]] += counts[w] * np.exp(through + after[to[edge]] - after[0])
    return expected, likelihood, accepted

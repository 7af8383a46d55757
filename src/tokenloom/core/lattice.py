"""The paths of one string through an automaton: a graph without cycles, layer by layer; all questions are answered there.

Mohri 2009, "Weighted automata algorithms": the best and the n best paths in the tropical semiring, sums over all paths in the
log semiring.
"""
# S states, A arcs, L labels of the string, N nodes and E edges of a lattice, K paths

from dataclasses import dataclass

import numpy as np
from numba import njit

from .errors import InvalidInput

__all__ = ["Lattice", "Path", "add", "backward", "compose", "n_best"]


@dataclass(frozen=True)
class Path:
    """One way to read a string.

    Args:
        weight: its cost.
        outputs: what it writes, in order.
        ends: how many labels were read when each output was written.
    """

    weight: float
    outputs: tuple[int, ...]
    ends: tuple[int, ...]


class Lattice:
    """The paths of one string: a graph without cycles, whose edges are arcs; all of it lies on paths that end.

    Args:
        weight: cost of each arc of the automaton, float64 (A,).
        output: what each arc writes, or -1, int64 (A,).
        source, target: nodes of each edge, int64 (E,), rising by source; no target is below its source. Node 0 is the
            beginning.
        arc: of the automaton, int64 (E,).
        ending: cost of ending in each node, float64 (N,); inf where the string is not read to its end.
    """

    def __init__(
        self,
        weight: np.ndarray,
        output: np.ndarray,
        source: np.ndarray,
        target: np.ndarray,
        arc: np.ndarray,
        ending: np.ndarray,
    ) -> None:
        self.source, self.target, self.arc, self.ending = source, target, arc, ending
        self._weight, self._output = weight[arc], output[arc]

    @property
    def count(self) -> float:
        """How many paths there are; exact below 2^53."""
        return float(_count(self.source, self.target, self.ending))

    @property
    def log_probability(self) -> float:
        """Natural logarithm of the sum of exp(-cost) over all paths; -inf where there is none."""
        return float(backward(self.source, self.target, self._weight, self.ending)[0]) if self.ending.size else -np.inf

    def n_best(self, k: int) -> list[Path]:
        """The `k` paths that cost least, or all; of equals the one whose arcs come first.

        Raises: InvalidInput: `k` below 1.
        """
        if k < 1:
            raise InvalidInput(f"k={k}; at least one path must be asked for")
        k = int(min(k, self.count))
        if not k:
            return []
        weight_K, edges_KL = n_best(k, self.source, self.target, self._weight, self.ending)
        paths = []
        for weight, outputs in zip(weight_K.tolist(), self._output[edges_KL]):
            wrote = np.flatnonzero(outputs >= 0)
            paths.append(Path(weight, tuple(outputs[wrote].tolist()), tuple((wrote + 1).tolist())))
        return paths


# -- kernels -----------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def compose(string, start, first, label, target, weight, final, stamp):
    """Source, target and arc of the edges, and the cost of ending in each node, of the lattice of `string`.

    `stamp`, int64 (S,) of -1, says which node a state is in the layer that is being made; it comes back as it was.
    """
    states, layer = np.empty(16, np.int64), np.zeros(string.size + 2, np.int64)
    sources, targets, arcs = np.empty(16, np.int64), np.empty(16, np.int64), np.empty(16, np.int64)
    states[0], nodes, edges = start, 1, 0
    layer[1] = 1
    for i in range(string.size):
        for node in range(layer[i], layer[i + 1]):
            state = states[node]
            low, high = first[state], first[state + 1]
            while low < high:
                middle = (low + high) // 2
                if label[middle] < string[i]:
                    low = middle + 1
                else:
                    high = middle
            while low < first[state + 1] and label[low] == string[i]:
                if weight[low] < np.inf:
                    if edges == arcs.size:
                        sources = np.concatenate((sources, np.empty_like(sources)))
                        targets = np.concatenate((targets, np.empty_like(targets)))
                        arcs = np.concatenate((arcs, np.empty_like(arcs)))
                    to = stamp[target[low]]
                    if to < 0:
                        if nodes == states.size:
                            states = np.concatenate((states, np.empty_like(states)))
                        to = nodes
                        stamp[target[low]] = to
                        states[to] = target[low]
                        nodes += 1
                    sources[edges], targets[edges], arcs[edges] = node, to, low
                    edges += 1
                low += 1
        layer[i + 2] = nodes
        for node in range(layer[i + 1], nodes):
            stamp[states[node]] = -1
    # What does not lead to an end falls out.
    alive = np.zeros(nodes, np.bool_)
    for node in range(layer[string.size], nodes):
        alive[node] = final[states[node]] < np.inf
    for edge in range(edges - 1, -1, -1):
        if alive[targets[edge]]:
            alive[sources[edge]] = True
    number, size, kept = np.empty(nodes, np.int64), 0, 0
    ending = np.full(nodes, np.inf)
    for node in range(nodes):
        number[node] = size
        if alive[node]:
            if node >= layer[string.size]:
                ending[size] = final[states[node]]
            size += 1
    for edge in range(edges):
        if alive[targets[edge]]:
            sources[kept], targets[kept] = number[sources[edge]], number[targets[edge]]
            arcs[kept] = arcs[edge]
            kept += 1
    return sources[:kept].copy(), targets[:kept].copy(), arcs[:kept].copy(), ending[:size].copy()


@njit(cache=True, nogil=True)
def _count(source, target, ending):
    ways = np.zeros(ending.size)
    total = 0.0
    if ending.size:
        ways[0] = 1
    for edge in range(source.size):
        ways[target[edge]] += ways[source[edge]]
    for node in range(ending.size):
        if ending[node] < np.inf:
            total += ways[node]
    return total


@njit(cache=True, nogil=True)
def n_best(k, source, target, weight, ending):
    """Costs of the `k` best paths, float64 (K,), and their edges, int64 (K, L); there must be so many.

    Every node keeps its k best beginnings, with the edge and the rank at its source through which each came.
    """
    cost = np.full((ending.size, k), np.inf)
    edge_to, rank_to = np.full((ending.size, k), -1, np.int64), np.zeros((ending.size, k), np.int64)
    known, depth = np.zeros(ending.size, np.int64), np.zeros(ending.size, np.int64)
    cost[0, 0], known[0] = 0.0, 1
    for edge in range(source.size):
        node, to = source[edge], target[edge]
        depth[to] = depth[node] + 1
        for rank in range(known[node]):
            new = cost[node, rank] + weight[edge]
            if known[to] == k and new >= cost[to, k - 1]:
                break
            at = min(known[to], k - 1)
            while at > 0 and cost[to, at - 1] > new:
                cost[to, at], edge_to[to, at], rank_to[to, at] = (
                    cost[to, at - 1],
                    edge_to[to, at - 1],
                    rank_to[to, at - 1],
                )
                at -= 1
            cost[to, at], edge_to[to, at], rank_to[to, at] = new, edge, rank
            known[to] = min(known[to] + 1, k)
    length = depth[ending.size - 1]
    costs, edges = np.full(k, np.inf), np.zeros((k, length), np.int64)
    taken = np.zeros(ending.size, np.int64)
    for path in range(k):
        best = -1
        for node in range(ending.size):
            if ending[node] < np.inf and taken[node] < known[node]:
                total = cost[node, taken[node]] + ending[node]
                if best < 0 or total < costs[path]:
                    best, costs[path] = node, total
        node, rank = best, taken[best]
        taken[best] += 1
        for at in range(length - 1, -1, -1):
            edge = edge_to[node, rank]
            edges[path, at] = edge
            node, rank = source[edge], rank_to[node, rank]
    return costs, edges


@njit(cache=True, nogil=True)
def add(a, b):
    """log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == -np.inf else a + np.log1p(np.exp(b - a))


@njit(cache=True, nogil=True)
def backward(source, target, weight, ending):
    """Logarithm of the probability of all that follows each node, float64 (N,)."""
    after = -ending
    for edge in range(source.size - 1, -1, -1):
        after[source[edge]] = add(after[source[edge]], after[target[edge]] - weight[edge])
    return after

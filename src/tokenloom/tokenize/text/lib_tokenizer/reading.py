"""One step of learning, compiled: read an article, then forget, rank anew and put on probation.

A lexicon is a table of nodes, strings that are chunks or stood beside one; an order of those that are chunks; and a few
counters. See `Lexicon`.
"""
# N nodes; sentences are code points, one after the other

import numpy as np
from numba import njit

from ....core.trie import child, enter

__all__ = ["enter_nodes", "memorise_all", "read", "update", "useful"]

# Columns of the nodes, int32 (N, 7): the way to the root; index in the order, -1 outside; articles left on probation, 0 off
# it; the chunks before and behind when it was put on probation, -1 if none were noted.
PARENT, UNIT, DEPTH, RANK, LIFE, BEFORE, AFTER = range(7)
# Counters: nodes, chunks, rewards of this article, random numbers used.
SIZE, COUNT, REWARDS, DRAWN = range(4)


# -- reading -----------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def read(
    units, starts, sentence, table, nodes, order, counters, rewards, draws, in_rate, life, max_length, inspect_context
):
    """Read sentences as long as there is room for what they may add; returns the first that was not read.

    A reward is the number of a node, a punishment its negative. An evaluation compares the chunks read since its chunk
    with the other way: the second longest chunk there and what follows it, until both end at the same place.
    """
    longest = 0
    for s in range(sentence, starts.size - 1):
        longest = max(longest, starts[s + 1] - starts[s])
    done = np.zeros(longest + 2, np.int32)  # chunks of the sentence, from index 2: "" and "" stand before the first
    sums = np.zeros(longest + 2, np.int64)  # of the ranks of the chunks before each
    chunk, other = np.empty(longest, np.int32), np.empty(longest, np.int32)  # of each evaluation that is open
    since, ends, count = np.empty(longest, np.int64), np.empty(longest, np.int64), np.empty(longest, np.int64)
    total, last = np.empty(longest, np.int64), np.empty(longest, np.int64)
    # Characters on other ways that are no chunks, but may become some before the evaluation ends: node, and the one before.
    unknown, link = np.empty(16, np.int32), np.empty(16, np.int64)

    while sentence < starts.size - 1:
        at, end = starts[sentence], starts[sentence + 1]
        if counters[SIZE] + 4 * (end - at) >= nodes.shape[0]:
            break
        n, opened, pooled = 2, 0, 0
        while at < end:
            kept = 0
            for e in range(opened):
                while ends[e] < at:
                    step = _force(units, ends[e], end, table, nodes, counters)
                    ends[e] += nodes[step, DEPTH]
                    count[e] += 1
                    if nodes[step, RANK] >= 0:
                        total[e] += nodes[step, RANK]
                    else:
                        if pooled == unknown.size:
                            unknown, link = np.append(unknown, unknown), np.append(link, link)
                        unknown[pooled], link[pooled] = step, last[e]
                        last[e] = pooled
                        pooled += 1
                if ends[e] == at:
                    at_unknown = last[e]
                    while at_unknown >= 0:
                        total[e] += max(0, nodes[unknown[at_unknown], RANK])
                        at_unknown = link[at_unknown]
                    length, ranks = n - since[e], sums[n] - sums[since[e]]
                    if length > count[e] or (length == count[e] and ranks > total[e]):
                        _reward(rewards, counters, other[e])
                        _reward(rewards, counters, -chunk[e])
                    else:
                        _reward(rewards, counters, chunk[e])
                else:
                    for column in (since, ends, count, total, last):
                        column[kept] = column[e]
                    chunk[kept], other[kept] = chunk[e], other[e]
                    kept += 1
            opened = kept
            if opened == 0:
                pooled = 0

            small, c = _match_two(units, at, end, table, nodes)
            before, behind = done[n - 1], at + nodes[c, DEPTH]
            if c > 0 and nodes[c, LIFE] > 0:
                if inspect_context and nodes[c, BEFORE] >= 0:
                    old_before, old_after = nodes[c, BEFORE], nodes[c, AFTER]
                    after = _force(units, behind, end, table, nodes, counters)
                    if old_before > 0 or old_after > 0 or before > 0 or after > 0:
                        left = _ends_alike(nodes, before, old_before)
                        if left:
                            _memorise(
                                units, at, behind, before, done[n - 2], after,
                                table, nodes, order, counters, life, max_length,
                            )  # fmt: skip
                        right = _begins_alike(nodes, after, old_after)
                        if right:
                            beyond = behind + nodes[after, DEPTH]
                            after_next = _force(units, beyond, end, table, nodes, counters)
                            _memorise(
                                units, behind, beyond, c, before, after_next,
                                table, nodes, order, counters, life, max_length,
                            )  # fmt: skip
                        if not (left or right):
                            _reward(rewards, counters, c)
                            nodes[c, LIFE] = 0
                else:
                    nodes[c, LIFE] = 0
            if c > 0:
                if small > 0:
                    e = 0
                    while e < opened and chunk[e] != c:
                        e += 1
                    opened = max(opened, e + 1)  # a chunk that is being evaluated already begins anew in its old place
                    chunk[e], other[e], since[e], count[e] = c, small, n, 1
                    ends[e], total[e], last[e] = at + nodes[small, DEPTH], nodes[small, RANK], -1
                counters[DRAWN] += 1
                if draws[counters[DRAWN] - 1] < in_rate:
                    after = _force(units, behind, end, table, nodes, counters)
                    _memorise(
                        units, at, behind, before, done[n - 2], after,
                        table, nodes, order, counters, life, max_length,
                    )  # fmt: skip
            else:
                behind = at + 1
                after = _force(units, behind, end, table, nodes, counters)
                c = _memorise(
                    units, at, behind, 0, before, after, table, nodes, order, counters, life, max_length
                )  # fmt: skip
            done[n] = c
            n += 1
            if n < sums.size:
                sums[n] = sums[n - 1] + nodes[c, RANK]
            at = behind
        sentence += 1
    return sentence


@njit(cache=True, nogil=True)
def _match_two(units, at, end, table, nodes):
    """The second longest and the longest chunk that begin at `at`, 0 where there is none."""
    small, c, node = np.int64(0), np.int64(0), np.int64(0)
    while at < end:
        node = child(table, node, units[at])
        if node < 0:
            break
        if nodes[node, RANK] >= 0:
            small, c = c, node
        at += 1
    return small, c


@njit(cache=True, nogil=True)
def _force(units, at, end, table, nodes, counters):
    """The longest chunk that begins at `at`, else the character there, else 0 at the end."""
    _, c = _match_two(units, at, end, table, nodes)
    return c if c > 0 or at == end else _grow(units[at], np.int64(0), table, nodes, counters)


@njit(cache=True, nogil=True)
def _grow(unit, node, table, nodes, counters):
    """The node of the string of `node` and `unit`, made if it is not there."""
    below = child(table, node, unit)
    if below < 0:
        below = np.int64(counters[SIZE])
        counters[SIZE] += 1
        enter(table, node, unit, below)
        nodes[below, PARENT], nodes[below, UNIT], nodes[below, DEPTH] = node, unit, nodes[node, DEPTH] + 1
        nodes[below, RANK], nodes[below, LIFE], nodes[below, BEFORE], nodes[below, AFTER] = -1, 0, -1, -1
    return below


@njit(cache=True, nogil=True)
def _memorise(units, begin, end, node, before, after, table, nodes, order, counters, life, max_length):
    """Put the string of `node` and the characters behind it at the end of the list, unless it is in it or too long."""
    if nodes[node, DEPTH] + end - begin > max_length:
        return node
    for k in range(begin, end):
        node = _grow(units[k], node, table, nodes, counters)
    if nodes[node, RANK] < 0:
        order[counters[COUNT]] = node
        nodes[node, RANK] = counters[COUNT]
        nodes[node, LIFE], nodes[node, BEFORE], nodes[node, AFTER] = life, before, after
        counters[COUNT] += 1
    return node


@njit(cache=True, nogil=True)
def memorise_all(units, starts, table, nodes, order, counters):
    """Put strings at the end of the list, off probation."""
    for s in range(starts.size - 1):
        begin, end = starts[s], starts[s + 1]
        _memorise(units, begin, end, np.int64(0), -1, -1, table, nodes, order, counters, 0, end - begin)


@njit(cache=True, nogil=True)
def _reward(rewards, counters, node):
    rewards[counters[REWARDS]] = node
    counters[REWARDS] += 1


@njit(cache=True, nogil=True)
def _ends_alike(nodes, a, b):
    """Whether one of two strings, neither of them empty, is the end of the other."""
    if a == 0 or b == 0:
        return False
    while a > 0 and b > 0:
        if nodes[a, UNIT] != nodes[b, UNIT]:
            return False
        a, b = nodes[a, PARENT], nodes[b, PARENT]
    return True


@njit(cache=True, nogil=True)
def _begins_alike(nodes, a, b):
    """Whether one of two strings, neither of them empty, is the beginning of the other."""
    if a == 0 or b == 0:
        return False
    while nodes[a, DEPTH] > nodes[b, DEPTH]:
        a = nodes[a, PARENT]
    while nodes[b, DEPTH] > nodes[a, DEPTH]:
        b = nodes[b, PARENT]
    return a == b


# -- after an article --------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def update(nodes, order, counters, rewards, out_rate, update_rate, life):
    """Forget, rank anew, put on probation; in this order."""
    for node in range(counters[SIZE]):
        if nodes[node, LIFE] > 0:
            nodes[node, LIFE] -= 1
            if nodes[node, LIFE] == 0:
                nodes[node, RANK] = -1
    count = 0
    for i in range(counters[COUNT]):
        if nodes[order[i], RANK] >= 0:
            order[count], nodes[order[i], RANK] = order[i], count
            count += 1
    count = _rank_anew(nodes, order, count, rewards[: counters[REWARDS]], update_rate)
    for i in range(int((1 - out_rate) * count), count):
        if nodes[order[i], LIFE] == 0:
            nodes[order[i], LIFE], nodes[order[i], BEFORE], nodes[order[i], AFTER] = life, -1, -1
    counters[COUNT], counters[REWARDS] = count, 0


@njit(cache=True, nogil=True)
def _rank_anew(nodes, order, count, rewards, update_rate):
    """Move rewarded chunks to the head and punished ones to the tail, in order; returns how many are left.

    An index that was noted goes out of date only by moves towards the tail before it, one for each, and by moves to the
    head, which make it larger: so the chunk is found from the noted index less the number of punishments, upwards.
    """
    punished = 0
    for reward in rewards:
        node = abs(reward)
        if nodes[node, RANK] < 0:
            continue
        i = max(0, nodes[node, RANK] - punished)
        while order[i] != node:
            i += 1
        if i == 0:
            continue
        step = int(i * update_rate) + 1
        if reward > 0:
            to = max(0, i - step)
            for k in range(i, to, -1):
                order[k] = order[k - 1]
        else:
            punished += 1
            to = min(i + step, count)
            for k in range(i, min(to, count - 1)):
                order[k] = order[k + 1]
            if to == count:
                nodes[node, RANK] = -1
                count -= 1
                continue
        order[to] = node
        nodes[node, RANK] = to
    for i in range(count):
        nodes[order[i], RANK] = i
    return count


# -- the tree ----------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def enter_nodes(table, nodes, size):
    for node in range(1, size):
        enter(table, nodes[node, PARENT], nodes[node, UNIT], node)


@njit(cache=True, nogil=True)
def useful(nodes):
    """The new number of each node that is still of use, int32 (N,), -1 for the others; a node comes after its parent."""
    numbers = np.full(nodes.shape[0], -1, np.int32)
    numbers[0] = 0
    for node in range(nodes.shape[0]):
        if nodes[node, RANK] >= 0 or nodes[node, LIFE] > 0:
            numbers[node] = 0
        if nodes[node, LIFE] > 0 and nodes[node, BEFORE] >= 0:
            numbers[nodes[node, BEFORE]] = numbers[nodes[node, AFTER]] = 0
    for node in range(nodes.shape[0] - 1, 0, -1):
        if numbers[node] == 0:
            numbers[nodes[node, PARENT]] = 0
    size = 0
    for node in range(nodes.shape[0]):
        if numbers[node] == 0:
            numbers[node] = size
            size += 1
    return numbers

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.trie import child, empty_table, enter, trie_of


def walk(table, string):
    node = 0
    for unit in string:
        node = child(table, node, unit) if node >= 0 else -1
    return node


@given(
    st.lists(st.lists(st.sampled_from([0, 1, 97, 0x10FFFF, 2**31 - 1]), min_size=1, max_size=5).map(tuple), unique=True)
)
def test_every_string_and_every_beginning_has_a_node_of_its_own(strings):
    units = np.array([unit for string in strings for unit in string], np.int64)
    starts = np.concatenate([[0], np.cumsum([len(string) for string in strings])]).astype(np.int64)
    table, string_of = trie_of(units, starts)
    beginnings = {string[:k] for string in strings for k in range(len(string) + 1)} | {()}
    nodes = {beginning: walk(table, beginning) for beginning in beginnings}
    assert sorted(nodes.values()) == list(range(len(beginnings))) and string_of.size == len(beginnings)
    for beginning, node in nodes.items():
        assert string_of[node] == (strings.index(beginning) if beginning in strings else -1)
        for unit in (0, 1, 2, 97, 0x10FFFF, 2**31 - 1):
            assert (walk(table, (*beginning, unit)) >= 0) == ((*beginning, unit) in beginnings)


def test_a_table_of_the_promised_size_takes_its_nodes():
    table = empty_table(1000)
    for node in range(1, 1000):
        enter(table, node // 2, node, node)
    assert [child(table, node // 2, node) for node in range(1, 1000)] == list(range(1, 1000))
    assert child(table, 999, 0) == -1

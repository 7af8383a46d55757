"""Trees of candidates against plain walks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.core.draft_tree import DraftTree
from tokenloom.core.errors import InvalidInput

PATHS = st.sets(st.lists(st.integers(0, 2), min_size=1, max_size=4).map(tuple), max_size=12).map(
    lambda some: sorted({path[:k] for path in some for k in range(1, len(path) + 1)})
)


@settings(max_examples=80)
@given(PATHS, st.randoms(use_true_random=False))
def test_all_that_a_tree_tells_follows_from_its_paths(paths, shuffle):
    shuffled = list(paths)
    shuffle.shuffle(shuffled)
    tree = DraftTree.from_paths(shuffled)
    nodes = [(), *sorted(paths, key=lambda path: (len(path), path))]
    assert len(tree) == len(nodes)
    assert tree.depths_N.tolist() == [len(path) for path in nodes]
    assert tree.parents_N.tolist() == [-1, *(nodes.index(path[:-1]) for path in nodes[1:])]
    assert tree.mask.tolist() == [[a[: len(b)] == b for b in nodes] for a in nodes]
    for i, path in enumerate(nodes):
        assert tree.children(i).tolist() == [j for j, other in enumerate(nodes) if other and other[:-1] == path]
    assert [level.tolist() for level in tree.levels] == [
        [i for i, path in enumerate(nodes) if len(path) == depth] for depth in range(max(map(len, nodes)) + 1)
    ]
    leaves = [path for path in nodes if not any(other[:-1] == path for other in nodes[1:])]
    plain = [[nodes.index(path[:k]) for k in range(len(path) + 1)] for path in leaves]
    assert [[node for node in row if node >= 0] for row in tree.paths.tolist()] == plain


def test_a_chain_is_one_path():
    tree = DraftTree.chain(3)
    assert (
        tree.paths.tolist() == [[0, 1, 2, 3]]
        and DraftTree.from_paths([[0], [0, 0], [0, 0, 0]]).mask.tolist() == tree.mask.tolist()
    )
    assert DraftTree(np.array([-1, 0, 0]), np.array([0, 1, 0])).children(0).tolist() == [2, 1]  # by rank
    assert DraftTree.chain(0).paths.tolist() == [[0]]


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: DraftTree.from_paths([[0, 1]]), r"path \[0, 1\] has no parent \[0\]"),
        (lambda: DraftTree.from_paths([[0], [0]]), "twice"),
        (lambda: DraftTree.from_paths([[]]), "the root"),
        (lambda: DraftTree.from_paths([[-1]]), "ranks from 0 on"),
        (lambda: DraftTree.chain(-1), "length=-1"),
        (lambda: DraftTree(np.array([-1, 2, 0]), np.zeros(3)), "before their children"),
        (lambda: DraftTree(np.array([-1, -1]), np.zeros(2)), "only root"),
        (lambda: DraftTree(np.array([-1, 0, 0]), np.zeros(3)), "each once"),
        (lambda: DraftTree(np.array([-1, 0, 1, 0]), np.array([0, 0, 0, 1])), "level by level"),
        (lambda: DraftTree(np.array([]), np.array([])), "with a root"),
    ],
)
def test_what_is_no_tree_is_refused(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()

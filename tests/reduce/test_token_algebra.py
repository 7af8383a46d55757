"""Y = W X is each method's own output: pruning, merging over layers, pooling, clustering, recycling, super tokens.

The list of "Token Transforming" (arXiv 2506.05709, section 3), each beside the same method written without maps.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from plain_reducers import prumerge, tome_round, visionzip

from tokenloom.core.token_map import TokenMap
from tokenloom.models.super_token_attention import associate
from tokenloom.reduce.divprune import DivPrune
from tokenloom.reduce.fopru import FoPru
from tokenloom.reduce.matryoshka_m3 import MatryoshkaM3
from tokenloom.reduce.pooling import adaptive_pooling, block_pooling
from tokenloom.reduce.prumerge import PruMerge, PruMergePlus
from tokenloom.reduce.sparsevlm import SparseVLM, density_peaks, raters
from tokenloom.reduce.super_token_sampling import SuperTokenSampling
from tokenloom.reduce.token_transforming import TokenTransforming
from tokenloom.reduce.tome import ToMe
from tokenloom.reduce.visionzip import VisionZip
from tokenloom.testing import check_token_map

GRID, N, D = (12, 12), 144, 16


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def picture(x_ND):
    return x_ND.T.reshape(1, -1, *GRID)


def tokens(x_1CHW):
    return x_1CHW[0].flatten(1).T


def pruned(x):
    attention = noise(1, N, seed=1).softmax(1)
    kept = sorted(sorted(range(N), key=lambda i: -float(attention[0, i]))[:50])
    return FoPru(50)(x[None], attention_BN=attention), torch.stack([x[i] for i in kept])


def farthest(x):
    found = DivPrune(20)(x[None])
    return found, torch.stack([x[i] for i in found.index_BM[0].tolist()])


def tome(x):
    keys, mass = noise(1, N, 3, 5, seed=2), torch.arange(1.0, N + 1)[None] % 5 + 1
    found = ToMe(r=30)(x[None], keys_BNHC=keys, mass_BN=mass, offset=0)
    return found, tome_round(x, keys[0], mass[0], 30, 0)[0]


def tome_over_layers(x):
    """Four layers, each with its own keys, the plain way passing on tokens and masses."""
    found, plain, mass = TokenMap.identity(1, N), x, torch.ones(N)
    for layer, r in enumerate((40, 30, 20, 10)):
        keys = noise(1, len(plain), 2, 4, seed=10 + layer)
        one = ToMe(r=r)(found.apply(x[None]), keys_BNHC=keys, mass_BN=found.mass(), offset=0)
        found = one @ found
        plain, mass, _ = tome_round(plain, keys[0], mass, r, 0)
    assert torch.allclose(found.mass()[0].double(), mass)
    return found, plain


def average_pooling(x):
    return block_pooling(GRID, 3), tokens(F.avg_pool2d(picture(x), 3))


def overlapping_windows(x):
    return adaptive_pooling(GRID, (5, 7)), tokens(F.adaptive_avg_pool2d(picture(x), (5, 7)))


def matryoshka(x):
    return MatryoshkaM3(9)(x[None], grid=GRID), tokens(F.avg_pool2d(picture(x), 4))


def k_means(x):
    centres = x[:10].clone()
    for _ in range(5):
        cluster = torch.cdist(x, centres).argmin(1)
        centres = torch.stack([x[cluster == c].mean(0) if (cluster == c).any() else centres[c] for c in range(10)])
    used, cluster = cluster.unique(return_inverse=True)
    return TokenMap.merge(cluster[None], len(used)), torch.stack([x[cluster == c].mean(0) for c in range(len(used))])


def density_peak_clusters(x):
    cluster = density_peaks(x[None], 12)
    return TokenMap.merge(cluster, 12), torch.stack([x[cluster[0] == c].mean(0) for c in range(12)])


def recycling(x):
    attention, text = noise(1, 6, N, seed=3).softmax(2), noise(1, 6, D, seed=4)
    found = SparseVLM(layers=(2,), keep=(40,))(
        x[None], layer=2, total=N, attention_BQN=attention, text_BQD=text, first_BVD=x[None]
    )
    rates = raters(x[None], text)[0]
    ranked = sorted(range(N), key=lambda i: -float(attention[0, rates, i].mean()))
    dropped = ranked[40:]
    recycled = dropped[: int(0.3 * len(dropped)) + 1]
    cluster = density_peaks(x[recycled][None], len(recycled) // 10 + 1)[0]
    means = [x[recycled][cluster == c].mean(0) for c in range(int(cluster.max()) + 1)]
    return found, torch.stack([*x[sorted(ranked[:40])], *means])


def vision_zip(x):
    attention, keys = noise(1, N, seed=5).softmax(1), noise(1, N, 3, 5, seed=6)
    found = VisionZip(64)(x[None], attention_BT=attention, keys_BTHC=keys, prefix=1)
    return found, visionzip(x, attention[0], keys[0], 54, 10)


def pru_merge(x, plus=False):
    keys, query = noise(1, N, 2, 3, seed=8), noise(1, 2, 3, seed=9)
    found = (PruMergePlus if plus else PruMerge)(32)(x[None], keys_BTHC=keys, query_BHC=query, prefix=1)
    return found, torch.from_numpy(prumerge(x, keys[0], query[0], 32, plus)[0])


def super_tokens(x):
    return SuperTokenSampling((4, 3), 2)(x[None], grid=GRID), tokens(
        associate(picture(x), (4, 3), iterations=2).sample()
    )


def hard_super_tokens(x):
    group = SuperTokenSampling((4, 3), 2).super_tokens(x[None], grid=GRID).association.matrix()[0].argmax(0)
    found = SuperTokenSampling((4, 3), 2, hard=True)(x[None], grid=GRID)
    return found, torch.stack([x[group == g].mean(0) for g in group.unique()])


def token_transforming(x):
    attention, keys = noise(1, N, seed=7).softmax(1), noise(1, N, 3, 5, seed=8)
    found = TokenTransforming(40)(x[None], attention_BN=attention, keys_BNHC=keys, mass_BN=torch.ones(1, N))
    unit = F.normalize(keys[0].mean(1), dim=1)
    kept = sorted(sorted(range(N), key=lambda i: -float(attention[0, i]))[:40])
    similar = unit[kept] @ unit.T
    there = similar >= similar.topk(2, dim=0).values[1]
    there[:, kept] = torch.eye(40, dtype=torch.bool)
    weight = torch.where(there, similar / 0.1, -torch.inf).softmax(1)
    return found, weight @ x


METHODS = {  # method: its kind, whether rows are means
    pruned: ("one-to-one", True),
    farthest: ("one-to-one", True),
    tome: ("many-to-one", True),
    tome_over_layers: ("many-to-one", True),
    average_pooling: ("many-to-one", True),
    overlapping_windows: ("many-to-many", True),
    matryoshka: ("many-to-one", True),
    k_means: ("many-to-one", True),
    density_peak_clusters: ("many-to-one", True),
    recycling: ("many-to-one", True),
    vision_zip: ("many-to-one", False),
    pru_merge: ("many-to-many", False),
    super_tokens: ("many-to-many", True),
    hard_super_tokens: ("many-to-one", True),
    token_transforming: ("many-to-many", True),
}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_the_map_gives_the_methods_own_output(method):
    x = noise(N, D)
    found, plain = method(x)
    np.testing.assert_allclose(found.apply(x[None])[0], plain, atol=1e-6)
    np.testing.assert_allclose(found.matrix()[0].double() @ x, plain, atol=1e-6)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_kinds_are_told_apart_by_where_w_is_not_zero(method):
    found, _ = method(noise(N, D))
    assert (found.kind, found.rows_sum_to_one) == METHODS[method]
    assert TokenMap.dense(found.matrix()).kind == METHODS[method][0]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_a_second_map_on_top_is_the_product(method):
    found, _ = method(noise(N, D))
    size = found.shape[1]
    halves = TokenMap.merge(torch.arange(size)[None] // 2, (size + 1) // 2)
    last = TokenMap.keep(torch.arange(size - 3, size)[None], of=size)
    mixed = TokenMap.dense(noise(1, 4, size, seed=20).float())
    check_token_map(found, then=[halves, last, mixed])


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_the_mass_of_what_is_not_dropped_stays(method):
    found, _ = method(noise(N, D))
    mass = torch.arange(1.0, N + 1)[None]
    there = found.sources_BMN.any(1)
    np.testing.assert_allclose(found.mass(mass).sum(), mass[there].sum(), rtol=1e-5)


def test_prumerge_plus_too():
    """The keys must leave few enough outliers."""
    x = noise(N, D)
    keys, query = 0.7 * noise(1, N, 2, 3, seed=12), noise(1, 2, 3, seed=9)
    found = PruMergePlus(32)(x[None], keys_BTHC=keys, query_BHC=query, prefix=1)
    np.testing.assert_allclose(found.apply(x[None])[0], prumerge(x, keys[0], query[0], 32, True)[0], atol=1e-6)

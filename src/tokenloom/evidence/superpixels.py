"""Superpixels of a photograph: what to compare them by, and SLIC beside them."""
# H, W pixels, N = H * W, D width

import numpy as np
import torch
import torch.nn.functional as F

__all__ = ["borders", "lab", "near_borders", "score", "slic", "strong_edges"]


def lab(picture: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of sRGB bytes, daylight D65."""
    share = picture / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    matrix = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    ratio = linear @ matrix.T / matrix.sum(1)
    bent = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack(
        [116 * bent[..., 1] - 16, 500 * (bent[..., 0] - bent[..., 1]), 200 * (bent[..., 1] - bent[..., 2])], 2
    )


def strong_edges(picture: np.ndarray) -> np.ndarray:
    """The twentieth of the pixels where colour changes most, bool (H, W)."""
    down, across = np.gradient(lab(picture), axis=(0, 1))
    strength = np.sqrt((down**2 + across**2).sum(2))
    return strength >= np.quantile(strength, 0.95)


def slic(x_ND: torch.Tensor, near_N9: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Achanta et al. 2012: each pixel to the nearest of the nine means around it, then means again; no cleaning up after."""
    group_N = near_N9[:, 4]  # one's own cell
    for _ in range(iterations):
        counts = torch.bincount(group_N, minlength=int(near_N9.max()) + 1)
        centres = x_ND.new_zeros(len(counts), x_ND.shape[1]).index_add(0, group_N, x_ND) / counts[:, None].clamp(min=1)
        distances_N9 = (x_ND[:, None] - centres[near_N9.clamp(min=0)]).square().sum(2)
        distances_N9 = distances_N9.masked_fill((near_N9 < 0) | (counts[near_N9.clamp(min=0)] == 0), torch.inf)
        group_N = near_N9.gather(1, distances_N9.argmin(1, keepdim=True))[:, 0]
    return group_N


def borders(group_HW: np.ndarray) -> np.ndarray:
    """Pixels whose upper or left neighbour is in another group, bool (H, W)."""
    at = np.zeros(group_HW.shape, bool)
    at[1:] |= group_HW[1:] != group_HW[:-1]
    at[:, 1:] |= group_HW[:, 1:] != group_HW[:, :-1]
    return at


def near_borders(group_HW: np.ndarray) -> np.ndarray:
    """Pixels within one of a border between groups, bool (H, W)."""
    return F.max_pool2d(torch.from_numpy(borders(group_HW))[None].float(), 3, stride=1, padding=1)[0].bool().numpy()


def score(group_HW: np.ndarray, edges_HW: np.ndarray, lab_HW3: np.ndarray) -> dict[str, float]:
    """Shares: "recall" of edges near a border, "border" of all pixels near one, "explained" of the variance of colour."""
    near = near_borders(group_HW)
    flat, colour = group_HW.ravel(), lab_HW3.reshape(-1, 3)
    sums = np.stack([np.bincount(flat, channel) for channel in colour.T], 1)
    means = sums / np.maximum(np.bincount(flat), 1)[:, None]
    rest = ((colour - means[flat]) ** 2).sum() / ((colour - colour.mean(0)) ** 2).sum()
    return {"recall": float(near[edges_HW].mean()), "border": float(near.mean()), "explained": float(1 - rest)}

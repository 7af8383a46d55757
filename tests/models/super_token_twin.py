"""Super token attention pixel by pixel, in numpy."""

import numpy as np


def softmax(logits):
    shifted = np.exp(logits - np.max(logits))
    return shifted / shifted.sum()


def association(x_CHW, cell, iterations, mask_border):
    """Q as {(pixel, super token)}, None for those outside; super tokens of the last step; the sizes."""
    channels, height, width = x_CHW.shape
    h, w = cell
    rows, columns = -(-height // h), -(-width // w)
    padded = np.zeros((channels, rows * h, columns * w))
    padded[:, :height, :width] = x_CHW
    real = {(i, j) for i in range(height) for j in range(width)}
    pixels = [(i, j) for i in range(rows * h) for j in range(columns * w) if not mask_border or (i, j) in real]
    tokens = {}
    for r in range(rows):
        for c in range(columns):
            own = [padded[:, i, j] for i, j in pixels if i // h == r and j // w == c]
            tokens[r, c] = np.mean(own, axis=0)
    parts = {}
    for _ in range(iterations):
        parts = {}
        for i, j in pixels:
            nine = [(i // h + a, j // w + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
            if mask_border:
                nine = [k for k in nine if k in tokens]
            logits = np.array([padded[:, i, j] @ tokens.get(k, np.zeros(channels)) for k in nine]) / np.sqrt(channels)
            for k, part in zip(nine, softmax(logits)):
                parts[(i, j), k] = part
        tokens = {
            k: sum(part * padded[:, p[0], p[1]] for (p, q), part in parts.items() if q == k)
            / sum(part for (p, q), part in parts.items() if q == k)
            for k in tokens
        }
    return parts, tokens


def attention(tokens, qkv_weight, qkv_bias, out_weight, out_bias, heads):
    """Among super tokens; the rows of the first matrix are head by head, each with its queries, keys and values."""
    places = list(tokens)
    x = np.array([tokens[k] for k in places])
    size = x.shape[1] // heads
    mixed = []
    for head in range(heads):
        rows = slice(3 * size * head, 3 * size * (head + 1))
        queries, keys, values = np.split(x @ qkv_weight[rows].T + qkv_bias[rows], 3, axis=1)
        weights = np.array([softmax(row) for row in queries @ keys.T / np.sqrt(size)])
        mixed.append(weights @ values)
    return dict(zip(places, np.concatenate(mixed, axis=1) @ out_weight.T + out_bias))


def super_token_attention(x_CHW, cell, iterations, mask_border, refine=None):
    parts, tokens = association(x_CHW, cell, iterations, mask_border)
    if refine is not None:
        tokens = attention(tokens, *refine)
    out = np.zeros_like(x_CHW)
    for (p, k), part in parts.items():
        if k in tokens and p[0] < x_CHW.shape[1] and p[1] < x_CHW.shape[2]:
            out[:, p[0], p[1]] += part * tokens[k]
    return out

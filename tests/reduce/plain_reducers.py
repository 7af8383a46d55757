"""ToMe, VisionZip and PruMerge token by token, on one picture, without maps."""

import numpy as np
import torch


def tome_round(x_TD, keys_THC, mass_T, r, prefix):
    """One round, token by token: outputs, masses, groups."""
    keys = keys_THC.double().mean(1)
    unit = (keys / keys.norm(dim=1, keepdim=True)).numpy()
    n = len(unit)
    r = min(r, (n - prefix) // 2)
    best = {}
    for a in range(0, n, 2):
        if a >= prefix:
            partners = [b for b in range(1, n, 2) if b >= prefix]
            similar = [float(unit[a] @ unit[b]) for b in partners]
            if similar:
                best[a] = (max(similar), partners[int(np.argmax(similar))])
    order = sorted(best, key=lambda a: -best[a][0])
    merged = order[:r]
    rest = [a for a in range(0, n, 2) if a not in merged]
    if prefix == 0:
        rest = order[r:] + [a for a in rest if a not in best]
    kept = rest + list(range(1, n, 2))
    kept = list(range(prefix)) + [p for p in kept if p >= prefix]
    groups = {p: [p] for p in kept}
    for a in merged:
        groups[best[a][1]].append(a)
    x, mass = x_TD.double(), mass_T.double()
    out = torch.stack([(x[g] * mass[g, None]).sum(0) / mass[g].sum() for g in groups.values()])
    return out, torch.stack([mass[g].sum() for g in groups.values()]), list(groups.values())


def visionzip(x_TD, attention_T, keys_THC, dominant, contextual):
    """Dominant tokens with the class token in order of index; of the rest every step-th, with the mean of what joins it added."""
    x, keys = x_TD.double(), keys_THC.double().mean(1)
    unit = keys / keys.norm(dim=1, keepdim=True)
    ranked = sorted(range(1, len(x)), key=lambda i: -float(attention_T[i]))
    kept = sorted([0, *ranked[: dominant - 1]])
    rest = [i for i in range(len(x)) if i not in kept]
    step = max(1, len(rest) // contextual) if contextual else 1
    targets = rest[::step][:contextual]
    joined = {target: [] for target in targets}
    for i in rest:
        if targets and i not in targets:
            joined[max(targets, key=lambda target: float(unit[i] @ unit[target]))].append(i)
    added = [x[target] + (x[group].mean(0) if group else 0) for target, group in joined.items()]
    return torch.stack([*x[kept], *added])


def prumerge(x_TD, keys_THC, query_HC, neighbours, plus):
    """What the published loop does to one picture."""
    keys, query = keys_THC.double().flatten(1).numpy(), query_HC.double().flatten().numpy()
    logits = keys @ query / len(query) ** 0.5
    attention = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    a, keys, x = attention[1:], keys[1:], x_TD[1:].double().numpy()
    low, high = np.percentile(a, [25, 75])
    outliers = [i for i in np.argsort(-a, kind="stable") if a[i] > high + 1.5 * (high - low)]
    kept = list(outliers)
    if plus:
        step = int(int(1 / (len(outliers) / len(a))) / 3)
        kept += [i for i in range(0, len(a) - 1, step) if i not in outliers]
    unit = keys / np.linalg.norm(keys, axis=1, keepdims=True)
    out = []
    for i in kept:
        others = sorted((j for j in range(len(a)) if j != i), key=lambda j: -(unit[i] @ unit[j]))[:neighbours]
        out.append(x[i] + sum(a[j] * x[j] for j in others))
    out.append(sum((a[j] * x[j] for j in range(len(a)) if j not in kept), np.zeros(x.shape[1])))
    return np.array(out), len(outliers)

"""Molecules named by the rules of nomenclature: a chain, what is at its end, and groups of atoms on it."""

from collections.abc import Sequence
from math import comb, perm

import numpy as np

from ...core.errors import InvalidInput

__all__ = ["CHAINS", "CHARACTERS", "ENDS", "GROUPS", "chemistry", "ids_of", "molecule", "molecules"]

CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
CHAINS = {"but": 4, "pent": 5, "hex": 6}
ENDS = {
    "an-1-ol": "OC", "an-1-amine": "NC", "ane-1-thiol": "SC", "anal": "O=C", "anenitrile": "N#C", "anoic acid": "OC(=O)",
}  # fmt: skip
GROUPS = {
    "acetamido": "NC(C)=O", "azido": "N=[N+]=[N-]", "benzyl": "Cc1ccccc1", "bromo": "Br", "chloro": "Cl",
    "cyclohexyl": "C1CCCCC1", "cyclopropyl": "C1CC1", "(dimethylamino)": "N(C)C", "methoxy": "OC", "methyl": "C",
    "(methylsulfonyl)": "S(C)(=O)=O", "nitro": "[N+](=O)[O-]", "phenoxy": "Oc1ccccc1", "phenyl": "c1ccccc1",
    "tert-butyl": "C(C)(C)C", "(trimethylsilyl)": "[Si](C)(C)C",
}  # fmt: skip


def molecule(chain: str, end: str, groups: dict[int, str]) -> tuple[str, list[str]]:
    """The name of a chain with groups at some of its carbons 2, 3 …, and its SMILES, carbon by carbon and group by group.

    >>> molecule("but", "an-1-ol", {2: "phenyl", 3: "nitro"})
    ('3-nitro-2-phenylbutan-1-ol', ['OC', 'C', '(c1ccccc1)', 'C', '([N+](=O)[O-])', 'C'])
    """
    by_name = sorted(groups.items(), key=lambda item: item[1].removeprefix("tert-").strip("()"))
    parts = [ENDS[end]]
    for place in range(2, CHAINS[chain] + 1):
        parts += ["C", f"({GROUPS[groups[place]]})"] if place in groups else ["C"]
    return "-".join(f"{place}-{group}" for place, group in by_name) + chain + end, parts


def molecules(number: int, groups: int, rng: np.random.Generator) -> list[tuple[str, list[str]]]:
    """Different ones, with so many different groups each."""
    there = len(ENDS) * perm(len(GROUPS), groups) * sum(comb(size - 2, groups) for size in CHAINS.values())
    if number > there:
        raise InvalidInput(f"{number} molecules with {groups} groups, but there are {there}")
    made: dict[str, list[str]] = {}
    while len(made) < number:
        chain, end = str(rng.choice(list(CHAINS))), str(rng.choice(list(ENDS)))
        places = rng.choice(np.arange(2, CHAINS[chain]), groups, replace=False).tolist()
        name, parts = molecule(chain, end, dict(zip(places, rng.choice(list(GROUPS), groups, replace=False).tolist())))
        made[name] = parts
    return list(made.items())


def chemistry(number: int, rng: np.random.Generator) -> str:
    """Lines that are a name or a SMILES, in any order: what they look like can be learnt from them, and not which belong together."""
    drawn = [*molecules(number // 10, 1, rng), *molecules(number - number // 10, 2, rng)]
    lines: Sequence[str] = [line for name, parts in drawn for line in (name, "".join(parts))]
    return "\n".join(lines[i] for i in rng.permutation(len(lines))) + "\n"


def ids_of(text: str) -> np.ndarray:
    """A character is an id; others than `CHARACTERS` are left out. int64."""
    known = {character: i for i, character in enumerate(CHARACTERS)}
    return np.array([known[character] for character in text if character in known], np.int64)

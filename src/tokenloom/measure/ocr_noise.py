"""Text as a scanner might have read it: letters taken for others, lost, and spaces where there were none."""
# N characters

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..core.errors import InvalidInput

__all__ = ["LOOK_ALIKES", "OCRNoise"]

# What a character is taken for, each as likely as the others; chosen by us.
LOOK_ALIKES: Mapping[str, tuple[str, ...]] = {
    "a": ("o", "n", "u"), "b": ("h", "6", "l"), "c": ("e", "o"), "d": ("cl", "o"), "e": ("c", "o"), "f": ("t", "l"),
    "g": ("q", "9", "y"), "h": ("b", "li", "n"), "i": ("l", "1", "j"), "j": ("i", ";"), "k": ("lc", "h"), "l": ("1", "i", "I"),
    "m": ("rn", "nn", "in"), "n": ("r", "u", "ri"), "o": ("0", "c", "a"), "p": ("n", "q"), "q": ("g", "9"), "r": ("n", "t"),
    "s": ("5", "a"), "t": ("f", "l", "r"), "u": ("n", "v", "ii"), "v": ("y", "u"), "w": ("vv", "m"), "x": ("z", "k"),
    "y": ("v", "g"), "z": ("2", "x"),
    "A": ("4", "R"), "B": ("8", "E", "3"), "C": ("G", "O", "("), "D": ("O", "0"), "E": ("F", "B"), "F": ("P", "E"),
    "G": ("6", "C"), "H": ("N", "II"), "I": ("l", "1", "T"), "J": ("I", ")"), "K": ("X", "R"), "L": ("I", "1"), "M": ("N", "W"),
    "N": ("M", "H"), "O": ("0", "Q", "D"), "P": ("F", "R"), "Q": ("O", "0"), "R": ("B", "P"), "S": ("5", "8"), "T": ("7", "I"),
    "U": ("V", "D"), "V": ("Y", "U"), "W": ("VV", "M"), "X": ("K", "Y"), "Y": ("V", "7"), "Z": ("2", "7"),
    "0": ("O", "6"), "1": ("l", "I", "7"), "2": ("Z", "7"), "3": ("8", "5"), "4": ("A", "1"), "5": ("S", "6"), "6": ("b", "8"),
    "7": ("1", "T"), "8": ("B", "3"), "9": ("g", "4"),
    ".": (",", "'"), ",": (".", ";"), ";": (":", ","), ":": (";", "."), "'": ("`", ","), '"': ("''", "*"), "-": ("_", "~"),
    "(": ("C", "{"), ")": ("J", "}"),
}  # fmt: skip


@dataclass(frozen=True)
class OCRNoise:
    """Change each character other than a line end with a probability; the others stay.

    Seven of ten changes take the character for one that looks alike (`LOOK_ALIKES`; "m" may become "rn"), two lose it, one
    puts a space behind it. A character that looks like no other is lost instead; a space can only be lost.

    Args:
        rate: the probability, from 0 to 1.
    Raises: InvalidInput: it is no probability.

    >>> OCRNoise(0.15)("The United States Senate is responsible for the", rng=np.random.default_rng(3))
    'Ihe Vnitecl States Seuate is tesnonsible for the'
    """

    rate: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise InvalidInput(f"rate={self.rate}; it is a probability from 0 to 1")

    def __call__(self, text: str, *, rng: np.random.Generator) -> str:
        """A noisy copy of `text` of N characters; 3 N draws."""
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        change, kind, choice = rng.random((3, codes.size))
        read = np.full((codes.size, 2), _NOTHING, "<u4")  # what each character is read as
        read[:, 0] = codes
        changed = (change < self.rate) & (codes != ord("\n"))
        row = np.where(codes < _ALIKE.shape[0], codes, 0)
        alike = changed & (kind < 0.7) & (_NUMBER[row] > 0)
        gap = changed & (kind >= 0.9) & (codes != ord(" "))
        read[changed & ~gap] = _NOTHING
        read[alike] = _ALIKE[row[alike], (choice[alike] * _NUMBER[row[alike]]).astype(np.int64)]
        read[gap, 1] = ord(" ")
        return read[read != _NOTHING].tobytes().decode("utf-32-le", "surrogatepass")


_NOTHING = 0xFFFFFFFF
_NUMBER = np.zeros(128, np.int64)
_ALIKE = np.full((128, 3, 2), _NOTHING, np.uint32)
for _character, _others in LOOK_ALIKES.items():
    _NUMBER[ord(_character)] = len(_others)
    for _k, _other in enumerate(_others):
        _ALIKE[ord(_character), _k, : len(_other)] = [ord(_part) for _part in _other]

"""What a run cost, in units that do not depend on the machine."""

from dataclasses import asdict, dataclass

__all__ = ["Ledger"]


@dataclass(frozen=True)
class Ledger:
    """Counts that every claim of speed quotes; ledgers of parts add up.

    Args:
        forward_passes: calls of a model.
        tokens: tokens processed, each as often as it was processed.
        activated_parameters: parameters used, summed over tokens.
        bytes: bytes of input read.

    >>> Ledger(tokens=3, bytes=10) + Ledger(forward_passes=1, tokens=2)
    Ledger(forward_passes=1, tokens=5, activated_parameters=0, bytes=10)
    """

    forward_passes: int = 0
    tokens: int = 0
    activated_parameters: int = 0
    bytes: int = 0

    def __add__(self, other: "Ledger") -> "Ledger":
        mine, theirs = self.as_dict(), other.as_dict()
        return Ledger(**{name: mine[name] + theirs[name] for name in mine})

    def as_dict(self) -> dict[str, int]:
        """The counts by name, ready for JSON."""
        return asdict(self)

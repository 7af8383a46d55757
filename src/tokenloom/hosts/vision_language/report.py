"""What a reducer did in a model's last call."""

from dataclasses import dataclass, field

from ...core.token_map import TokenMap

__all__ = ["Report"]


@dataclass
class Report:
    """Of each picture of the last call, in order; empty before the first.

    Args:
        maps: the reducer's maps.
        of: how many tokens the picture had.
        kept: how many the model went on with.
    """

    maps: list[TokenMap] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    of: list[int] = field(default_factory=list)

"""Public names that are imported when first used, so that `import tokenloom` costs next to nothing (PEP 562)."""

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module

__all__ = ["lazy"]


def lazy(
    package: str, names: Mapping[str, str], rooms: Iterable[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` for a package.

    Args:
        package: its `__name__`.
        names: public name → "module:attribute".
        rooms: subpackages that an attribute access may import.

    >>> __getattr__, __dir__ = lazy("tokenloom", {"ceil": "math:ceil"})
    >>> __getattr__("ceil")(0.5)
    1
    """
    rooms = frozenset(rooms)

    def getattr_(name: str) -> object:
        if name in rooms:
            return import_module(f"{package}.{name}")
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = names[name].partition(":")
        try:
            value = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            if error.name == "torch":  # the one optional package that whole modules are written in
                from .errors import require

                require("torch", "torch")
            raise
        setattr(sys.modules[package], name, value)  # the next access is an ordinary one
        return value

    def dir_() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names, *rooms})

    return getattr_, dir_

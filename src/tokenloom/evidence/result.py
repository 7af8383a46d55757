"""What every experiment shares: trials that survive an interruption, and the result.json that is committed."""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ..core.ledger import Ledger
from ..core.store import read_json, write_json
from ..data.workers import ordered_map

__all__ = ["Figure", "Picture", "run_seeds", "run_trials", "write_result"]

Trial = Callable[..., dict[str, Any]]

_PACKAGES = ("tokenloom", "numpy", "torch", "tokenizers")


@dataclass(frozen=True)
class Figure:
    """One figure of an experiment under several conditions.

    Args:
        name: what was measured.
        ours: condition → its value for each seed.
        paper: what the paper reports, in words; "" where it reports nothing.
        unit: of the values.
    """

    name: str
    ours: Mapping[str, Sequence[float]]
    paper: str = ""
    unit: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Mean, standard deviation (n - 1; None for one seed) and the values themselves, for JSON."""
        ours = {}
        for condition, given in self.ours.items():
            values = [float(value) for value in given]
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
            ours[condition] = {"mean": float(np.mean(values)), "spread": spread, "values": values}
        return {"name": self.name, "unit": self.unit, "paper": self.paper, "ours": ours}


@dataclass(frozen=True)
class Picture:
    """A picture of a result: a file beside result.json, and what it shows."""

    file: str
    caption: str


def run_trials(
    trial: Trial,
    runs: Mapping[str, Mapping[str, Any]],
    folder: Path,
    *,
    workers: int = 1,
    progress: Callable[[str], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Run one function under several settings; what is finished is kept in `folder` and not run again.

    Args:
        trial: a function of a module; takes its settings as keywords, returns JSON values.
        runs: name → settings, JSON values; those named first are started first.
        folder: of the kept results, a file each.
        workers: processes; results do not depend on their number, for each trial runs on one thread.
        progress: called with the name of each trial that is finished, in the order of `runs`.
    Returns: name → result, in the order of `runs`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(trial, folder / f"{name}.json", settings) for name, settings in runs.items()]
    results = {}
    for (_, path, _), result in ordered_map(_kept, jobs, workers, lambda job: 1, 2 * workers):
        results[path.stem] = result
        if progress is not None:
            progress(path.stem)
    return results


def run_seeds(
    trial: Trial, settings: Mapping[str, Any], folder: Path, *, seeds: int, workers: int = 1
) -> list[dict[str, Any]]:
    """Run one function with each of the seeds 0, 1 …, as `run_trials` does; it takes the `seed` and the settings as keywords."""
    runs = {f"seed-{seed}": {"seed": seed, **settings} for seed in range(seeds)}
    return list(run_trials(trial, runs, folder, workers=workers).values())


def _kept(job: tuple[Trial, Path, Mapping[str, Any]]) -> dict[str, Any]:
    """The result of a trial, from its file where that tells of the same function and settings."""
    import torch

    trial, path, settings = job
    key = {"trial": trial.__qualname__, "settings": dict(settings)}
    if path.exists() and (kept := read_json(path))["key"] == key:
        return kept["result"]
    # One thread a trial: two side by side finish sooner than one after the other on two threads each.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        result = trial(**settings)
    finally:
        torch.set_num_threads(threads)
    write_json(path, {"key": key, "result": result})
    return result


def write_result(
    out: Path,
    *,
    system: str,
    sentence: str,
    settings: Mapping[str, Any],
    seeds: Sequence[int],
    figures: Sequence[Figure],
    pictures: Sequence[Picture],
    ledger: Ledger,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write `out/result.json`: what was tried, how, and what came out.

    Args:
        sentence: what it does and does not show, honestly, in one or two sentences.
        settings: everything that determines the figures beside the seeds.
        details: further values, such as curves; JSON.
    """
    write_json(
        out / "result.json",
        {
            "system": system,
            "sentence": sentence,
            "settings": dict(settings),
            "seeds": list(seeds),
            "figures": [figure.as_dict() for figure in figures],
            "pictures": [{"file": picture.file, "caption": picture.caption} for picture in pictures],
            "ledger": ledger.as_dict(),
            "details": dict(details or {}),
            "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
            "machine": f"{platform.system()} {platform.machine()}",
        },
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"

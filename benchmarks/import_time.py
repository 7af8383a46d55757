"""What `import tokenloom` costs over a bare interpreter: CPU seconds, the best of several runs."""

import resource
import subprocess
import sys

__all__ = ["run"]


def cpu_seconds(code: str, runs: int) -> float:
    """User and system time of an interpreter that runs `code`."""
    best = float("inf")
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best


def run(quick: bool = False) -> list[dict]:
    """The bare import, and the first use of a name, which brings numpy."""
    runs = 3 if quick else 10
    bare = cpu_seconds("pass", runs)
    return [
        {
            "name": f"{code}, s",
            "ours": cpu_seconds(code, runs) - bare,
            "theirs": None,
            "ratio": None,
            "bar": bar,
            "note": f"CPU over a bare interpreter, best of {runs}",
        }
        for code, bar in (("import tokenloom", "≤ 0.15"), ("import tokenloom as tl; tl.Segmentation", None))
    ]


if __name__ == "__main__":
    from run import show

    show(run())

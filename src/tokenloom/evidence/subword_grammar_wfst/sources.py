"""What the experiment reads: interface strings of an office suite, and the stems of a Tamil morphology."""

import gzip
import struct
from collections import defaultdict
from pathlib import Path

import regex

from ...core.errors import CorpusError
from ...data import sample
from ...tokenize.text.subword_grammar_wfst.script import is_vowel, letters
from ..packages import Package

__all__ = ["MORPHOLOGY", "TEXTS", "lexical_strings", "messages", "noun_lists", "sentences", "stems", "verb_lists"]

MORPHOLOGY = Package("pypi", "tamilmorph", "0.93")
TEXTS = {
    "tamil": (Package("debian", "libreoffice-l10n-ta", "4"), ("ta-technical",), "\u0b80-\u0bff"),
    "kannada": (Package("debian", "libreoffice-l10n-kn", "4"), ("kn-mixed",), "\u0c80-\u0cff"),
}


def sentences(language: str, archives: Path | None) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Different strings as words of the script: those of the samples, on which the grammar was written, and all others."""
    package, samples, script = TEXTS[language]
    word = regex.compile(rf"[{script}\u200c\u200d]+")
    shown = [text for name in samples for text in sample(name).splitlines()]
    other = (
        []
        if archives is None
        else [t for name, content in package.read(archives, "*.mo") for t in messages(name, content)]
    )
    found = [list(dict.fromkeys(tuple(word.findall(text)) for text in texts)) for texts in (shown, other)]
    known = set(found[0])
    return [s for s in found[0] if s], [s for s in found[1] if s and s not in known]


def messages(name: str, content: bytes) -> list[str]:
    """The translations in a compiled catalogue of GNU gettext, without its head.

    Raises: CorpusError: it is none.
    """
    if content[:4] != b"\xde\x12\x04\x95":
        raise CorpusError(f"{name} is no catalogue of messages: it begins with {content[:4].hex()}")
    count, originals, translations = struct.unpack_from("<3I", content, 8)
    found = []
    for k in range(count):
        size, at = struct.unpack_from("<2I", content, translations + 8 * k)
        if struct.unpack_from("<I", content, originals + 8 * k)[0]:
            found += content[at : at + size].decode().split("\0")
    return found


def stems(archives: Path) -> dict[str, dict[str, set[str]]]:
    """Noun and verb stems of the morphology, by the lists of the Tamil grammar."""
    nets = {Path(name).stem: content for name, content in MORPHOLOGY.read(archives, "tamilmorph/fsts/*.fst")}
    nouns = lexical_strings(nets["noun"], "+noun")
    verbs: dict[str, set[str]] = defaultdict(set)
    for name, net in nets.items():
        if name.startswith("verbs"):
            for past in {"ன்ற்", "ந்த்", "த்த்", "க்க்", "இன்", "ட்ட்", "ற்ற்", "ண்ட்", "த்"}:
                # The first consonant of a cluster is in brackets there.
                written = f"({past[:2]}){past[2:]}" if len(past) == 4 else past
                for stem in lexical_strings(net, f"|+verb|+fin|+sim|+strong|+past={written}|"):
                    verbs[name if name != "verbs-rest" else past].add(stem)
    return {"noun": noun_lists(nouns), "verb": verb_lists(verbs)}


def lexical_strings(net: bytes, tag: str) -> set[str]:
    """The strings before `tag` on the upper side of a network as foma stores it, compressed."""
    lines = gzip.decompress(net).decode().splitlines()
    sigma, states = lines.index("##sigma##"), lines.index("##states##")
    symbol = {int(number): name for number, name in (line.split(" ", 1) for line in lines[sigma + 1 : states])}
    symbol[0] = ""
    arcs: dict[int, list[tuple[str, int]]] = defaultdict(list)
    state = 0
    for line in lines[states + 1 :]:
        numbers = [int(number) for number in line.split()]
        if numbers[0] < 0:
            break
        # state, in, (out,) target, final; or, of the same state, in, (out,) target
        if len(numbers) > 3:
            state, numbers = numbers[0], numbers[1:-1]
        if numbers[-1] >= 0:
            arcs[state].append((symbol[numbers[0]], numbers[-1]))

    def tagged(start: int) -> bool:
        waiting = [(start, tag)]
        while waiting:
            here, rest = waiting.pop()
            if not rest:
                return True
            waiting += [(to, rest[len(read) :]) for read, to in arcs[here] if rest.startswith(read)]
        return False

    # Only what leads over letters to a tagged state is walked: there are far more compound verbs than simple ones.
    goals = {here for here in list(arcs) if tagged(here)}
    before: dict[int, set[int]] = defaultdict(set)
    for here, leaving in arcs.items():
        for read, to in leaving:
            if read[:1] not in "|+":
                before[to].add(here)
    good, waiting = set(goals), list(goals)
    while waiting:
        for here in before[waiting.pop()] - good:
            good.add(here)
            waiting.append(here)
    found, seen, paths = set(), set(), [(0, "")]
    while paths:
        here, string = paths.pop()
        if here not in good or (here, string) in seen or len(string) > 60:
            continue
        seen.add((here, string))
        if here in goals:
            found.add(string)
        paths += [(to, string + read) for read, to in arcs[here] if read[:1] not in "|+"]
    return {string for string in found if regex.fullmatch(r"[\u0b80-\u0bff]{2,}", string)}


def noun_lists(nouns: set[str]) -> dict[str, set[str]]:
    """Nouns by how they end, which decides how they are inflected."""
    lists: dict[str, set[str]] = defaultdict(set)
    for noun in nouns:
        form = letters(noun)
        last, inner = form[-1], form[-2:-1]
        if form.endswith(letters("அம்")):
            name = "am"
        elif last == "உ" and inner in "டற" and len(form) > 3 and is_vowel(form[-3]):
            name = {"ட": "du", "ற": "ru"}[inner]
        elif last == "உ":
            name = "u"
        elif last in "இஈஐ":
            name = "i"
        elif is_vowel(last):
            name = "v"
        elif last in "லண" and len(form) <= 3 and inner in "அஇஉஎஒ":
            name = {"ல": "ll", "ண": "nn"}[last]
        else:
            name = "c"
        lists[name].add(noun)
    return dict(lists)


def verb_lists(verbs: dict[str, set[str]]) -> dict[str, set[str]]:
    """Verbs by their class there and by how they end."""
    rules = [
        ("verbs3", "ல்", "sel"), ("verbs4", "உ", "vizhu"), ("verbs11", "", "padi"), ("verbs12", "", "nada"),
        ("verbs62", "கு", "pugu"), ("இன்", "உ", "vaangu"), ("ட்ட்", "டு", "podu"), ("ற்ற்", "று", "peru"),
        ("ண்ட்", "ள்", "kol"), ("ண்ட்", "ண்", "un"), ("த்", "ய்", "sey"), ("த்", "உ", "azhu"),
    ]  # fmt: skip
    lists: dict[str, set[str]] = defaultdict(set)
    for group, ending, name in rules:
        lists[name] |= {verb for verb in verbs.get(group, ()) if letters(verb).endswith(letters(ending))}
    lists["adai"] |= {verb for verb in verbs.get("verbs4", ()) if letters(verb)[-1] in "இஐ"}
    lists["valar"] |= {verb for verb in verbs.get("verbs4", ()) if not is_vowel(letters(verb)[-1])}
    return dict(lists)

"""Suffixes as grammars write them: one pattern, from which the forms and their rule follow.

A letter in upper case stands for several, among which a feature decides; letters that one feature decides change together.
What is in round brackets at the beginning stands behind vowels only, in square ones behind vowels where the word ends.
"""

from collections.abc import Mapping

from .lexicon import Morph, Rule

__all__ = ["suffixes"]


def suffixes(patterns: str, letters: Mapping[str, Mapping[str, str]]) -> tuple[tuple[Morph, ...], dict[str, Rule]]:
    """Suffixes in the order of their patterns, which have white space between them, and the rules that they need.

    Args:
        letters: feature → letter in upper case → what stands for it, by the value of the feature. Of the forms of a suffix,
            the first feature changes fastest.

    >>> morphs, rules = suffixes("(y)DA ki", {"front": {"A": "ae"}, "hard": {"D": "dt"}})
    >>> morphs[0].forms, morphs[1].forms
    (('da', 'de', 'ta', 'te', 'yda', 'yde', 'yta', 'yte'), ('ki',))
    >>> rules
    {'front+hard+after_vowel': Rule(forms=8, weights={'front': 1, 'hard': 2, 'after_vowel': 4}, follower='', first_at_end=False)}
    """
    morphs, rules = [], {}
    for pattern in patterns.split():
        buffer, body = (pattern[1], pattern[3:]) if pattern[0] in "([" else ("", pattern)
        forms, weights = [body], {}
        for feature, stands in letters.items():
            if not set(stands).isdisjoint(body):
                weights[feature] = len(forms)
                values = range(len(next(iter(stands.values()))))
                written = [str.maketrans("".join(stands), "".join(own[k] for own in stands.values())) for k in values]
                forms = [form.translate(letter) for letter in written for form in forms]
        if buffer:
            weights["after_vowel" if pattern[0] == "(" else "after_vowel_at_end"] = len(forms)
            forms += [buffer + form for form in forms]
        name = "+".join(weights)
        if name:
            rules[name] = Rule(len(forms), weights)
        morphs.append(Morph("suffix", tuple(forms), name))
    return tuple(morphs), rules

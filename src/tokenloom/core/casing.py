"""Upper and lower case as a language has it: in Turkish and Azerbaijani, I is the capital of ı, and İ that of i."""

__all__ = ["capital", "lower"]

_DOTLESS = ("az", "tr")


def lower(text: str, language: str | None = None) -> str:
    """`text` in lower case.

    Args:
        language: its code, such as "tr"; None for what Unicode does without a language.

    >>> lower("ISI İNCE", "tr"), lower("ISI")
    ('ısı ince', 'isi')
    """
    if language in _DOTLESS:
        text = text.replace("I\u0307", "i").replace("İ", "i").replace("I", "ı")
    return text.lower()


def capital(text: str, language: str | None = None) -> str:
    """`text` with its first letter in upper case and the others as they are.

    >>> capital("istanbul", "tr"), capital("istanbul")
    ('İstanbul', 'Istanbul')
    """
    if language in _DOTLESS and text.startswith("i"):
        return "İ" + text[1:]
    return text[:1].upper() + text[1:]

"""Finnish: its sounds and its suffixes. In the patterns A is a or ä, O is o or ö, U is u or y; e and i are neutral.

The stems of a word are roots of their own, and so is each form of a suffix that differs in more than its vowels: what the
rules here cannot say, separate ids do.
"""

from .lexicon import Language, Sounds
from .patterns import suffixes

__all__ = ["FINNISH"]

_SOUNDS = Sounds(
    harmony={letter: number for number, letters in enumerate(("aou", "äöy")) for letter in letters},
    vowels="aeiouyäö",
    initial=1,  # words of neutral vowels alone take front suffixes: tiellä
)
_LETTERS = {"front": {"A": "aä", "O": "oö", "U": "uy"}}
_SUFFIXES = """
    n t i j A tA ttA ssA stA llA ltA lle nA ksi kse tse An en in On Un hAn hen hin hOn hUn seen siin
    den jen ien ten tten iden iA jA itA ni si nsA mme nne kin kAAn kO pA s
    tte vAt isi nUt nee neet ttU tU ttiin tiin tAAn dAAn AAn vA mA mAn essA mAllA mAssA mAstA mAttA minen mise mis
    ttAvA tAvA jAt kAA kOOn inen ise is llinen llise llis tOn ttOmA UUs UUde UUte UUtt Us Ukse Ukst sti mpi mmA mpA immA
    lAinen lAise lAis isA isti stO ri ke
"""
_MORPHS, _RULES = suffixes(_SUFFIXES, _LETTERS)

FINNISH = Language(_SOUNDS, _RULES, _MORPHS)

"""Text to ids by longest matches, and ids to the forms that their rules choose: the loops of the hybrid tokenizer.

A text is code points. A piece is a form of a morph as it is written: number f in lower case, F + f with its first letter in
upper case, -1 for the mark that says so. Text becomes ids by way of pieces, ids become pieces by way of the rules; where
the two differ, decoding would err.
"""
# V ids, F forms, S different strings of the tree, R rules, C code points of the texts, T tokens

from typing import NamedTuple

import numpy as np
from numba import njit

from ....core.trie import child

__all__ = ["Tables", "encode", "realise"]

SPACE, LINE_END, TAB = 0x20, 0x0A, 0x09


class Tables(NamedTuple):
    """A lexicon as arrays; few and wide, because a call costs something for each array that it hands on.

    Args:
        letters: of a code point: lower case, out of reach where nothing would lead back; whether it begins with a mark;
            whether it is white space. uint32 (code points, 3).
        links, string_of: the tree of all strings, see `core.trie`.
        found: the form that a string is as a root, as a suffix, as a string, or -1: int32 (S, 3).
        forms: of a form: its code points; its id. int32 (F, 2).
        ids: of an id: its first form; its rule; whether the first form begins with a vowel; whether the context ends here,
            at white space and bytes. int32 (V, 4).
        sounds: of a piece: whether it is of letters; vowel class and front, -1 to leave them; hard; ends in a vowel.
            int8 (2F, 5).
        rules: the weights of the features, in their order; the last form; the follower's id; whether the published decoder
            takes the first form of the last token. Rule 0 is for one form. int32 (R, 10).
        marks: ids of the mark, the unknown token, the space, the end of a line, the tab, byte 0; vowel class and front at
            the beginning of a context; whether to do as the published encoder and decoder do. int32 (9,).
    """

    letters: np.ndarray
    links: np.ndarray
    string_of: np.ndarray
    found: np.ndarray
    forms: np.ndarray
    ids: np.ndarray
    sounds: np.ndarray
    rules: np.ndarray
    marks: np.ndarray


@njit(cache=True, nogil=True)
def realise(some, ids, sounds, rules, marks, pieces):
    """Write the piece that each of `some`, int32 (T,), is into `pieces`, int32 (T,).

    The context of a form is the last piece of letters before it and the id behind it. It ends at white space and bytes; in
    the published decoder it never ends, and behind a mark stands the first form. Other arguments: see `Tables`.
    """
    n, n_forms, mark, published = some.size, sounds.shape[0] // 2, marks[0], marks[8] > 0
    vowel, front, hard, open_, capital = marks[6], marks[7], np.int8(0), np.int8(0), False
    for k in range(n):
        v = some[k]
        last = k + 1 == n
        if v == mark and not (published and (capital or last)):
            pieces[k], capital = -1, True
            continue
        form, rule = ids[v, 0], ids[v, 1]
        if rule > 0 and not (published and (capital or (last and rules[rule, 9]))):
            weights = rules[rule]
            number = weights[0] * vowel + weights[1] * front + weights[2] * hard + weights[3] * open_
            if last or ids[some[k + 1], 3]:
                number += weights[4] * open_
            if not last:
                number += weights[5] * ids[some[k + 1], 2] + weights[6] * (some[k + 1] == weights[8])
            form += min(number, weights[7])
        piece = form + n_forms * capital
        pieces[k], capital = piece, False
        if ids[v, 3] and not published:
            vowel, front, hard, open_ = marks[6], marks[7], np.int8(0), np.int8(0)
        elif sounds[piece, 0]:
            vowel = np.int32(sounds[piece, 1]) if sounds[piece, 1] >= 0 else vowel
            front = np.int32(sounds[piece, 2]) if sounds[piece, 2] >= 0 else front
            hard, open_ = sounds[piece, 3], sounds[piece, 4]


@njit(cache=True, nogil=True)
def encode(points, starts, t):
    """Encode texts.

    Args:
        points: code points of all texts, uint32 (C,).
        starts: where each text begins, and the end, int64 (texts + 1,).
        t: `Tables`.
    Returns: ids, int32 (T,); the byte position in its text behind each, int64 (T,); where each text begins among them,
        int64 (texts + 1,); how many stretches between white space there are, in how many of them morphs were spelled, because
        the rules choose other forms, and in how many there are bytes, int64 (3,).
    """
    letters, forms, ids, marks = t.letters, t.forms, t.ids, t.marks
    published, first_byte = marks[8] > 0, marks[5]
    room = longest = run = 0
    for c in points:
        more = _width(c) + _is(letters, c, 1)
        run = 0 if _splits(c, published) else run + more
        room, longest = room + more, max(longest, run)
    out, ends, out_starts = np.empty(room, np.int32), np.empty(room, np.int64), np.zeros(starts.size, np.int64)
    # A stretch: of each token its id, where it begins, how many code points it has (marks and bytes 0), its piece.
    stretch, spare = np.empty((longest, 4), np.int32), np.empty((longest, 4), np.int32)
    some, pieces = np.empty(longest, np.int32), np.empty(longest, np.int32)
    counts, n = np.zeros(3, np.int64), 0
    for text in range(starts.size - 1):
        at, end, place = starts[text], starts[text + 1], np.int64(0)
        while at < end:
            c = points[at]
            if _splits(c, published):
                out[n] = marks[2] if c == SPACE else marks[3] if c == LINE_END else marks[4]
                at, place = at + 1, place + 1
                ends[n] = place
                n += 1
                continue
            stop, blank = at, True
            while stop < end and not _splits(points[stop], published):
                blank = blank and _is(letters, points[stop], 2)
                stop += 1
            if published and blank:
                place += _bytes(points, at, stop)
                at = stop
                continue
            size = _scan(
                points, at, at, stop, letters, t.links, t.string_of, t.found, forms, ids, marks, False, stretch, 0
            )
            spelled = False
            while not published:
                for k in range(size):
                    some[k] = stretch[k, 0]
                realise(some[:size], ids, t.sounds, t.rules, marks, pieces)
                right = True
                for k in range(size):
                    right = right and pieces[k] == stretch[k, 3]
                if right:
                    break
                # Morphs whose forms the rules do not choose are spelled. That is another context, so that it is looked at
                # again; it ends, for what is spelled is never wrong.
                m = 0
                for k in range(size):
                    if stretch[k, 0] == marks[0] and k + 1 < size and pieces[k + 1] != stretch[k + 1, 3]:
                        continue  # the spelling has its own
                    if pieces[k] == stretch[k, 3]:
                        spare[m] = stretch[k]
                        m += 1
                    else:
                        begin = at + stretch[k, 1]
                        m = _scan(points, at, begin, begin + stretch[k, 2], letters, t.links, t.string_of, t.found, forms, ids,
                                  marks, True, spare, m)  # fmt: skip
                stretch, spare, size, spelled = spare, stretch, m, True
            stray = False
            for k in range(size):
                begin, byte = at + stretch[k, 1], stretch[k, 0] >= first_byte
                place += 1 if byte else _bytes(points, begin, begin + stretch[k, 2])
                out[n], ends[n] = stretch[k, 0], place
                n, stray = n + 1, stray or byte
            counts[0], counts[1], counts[2] = counts[0] + 1, counts[1] + spelled, counts[2] + stray
            at = stop
        out_starts[text + 1] = n
    return out[:n].copy(), ends[:n].copy(), out_starts, counts


@njit(cache=True, nogil=True)
def _scan(points, base, at, stop, letters, links, string_of, found, forms, ids, marks, literal, out, n):
    """Enter the longest matches from `at` to `stop` into `out`, from token `n`; returns how many there are then."""
    published = marks[8] > 0
    while at < stop:
        c = points[at]
        form, upper = _match(points, at, stop, letters, links, string_of, found, literal), _is(letters, c, 1)
        if upper and (form >= 0 or published):
            out[n, 0], out[n, 1], out[n, 2], out[n, 3] = marks[0], at - base, 0, -1
            n += 1
        if form >= 0:
            piece = form + forms.shape[0] * upper
            out[n, 0], out[n, 1], out[n, 2], out[n, 3] = forms[form, 1], at - base, forms[form, 0], piece
            n, at = n + 1, at + forms[form, 0]
        elif published:
            out[n, 0], out[n, 1], out[n, 2], out[n, 3] = marks[1], at - base, 1, ids[marks[1], 0]
            n, at = n + 1, at + 1
        else:
            for k in range(_width(c)):
                byte = marks[5] + _byte(c, k)
                out[n, 0], out[n, 1], out[n, 2], out[n, 3] = byte, at - base, 0, ids[byte, 0]
                n += 1
            at += 1
    return n


@njit(cache=True, nogil=True)
def _match(points, at, stop, letters, links, string_of, found, literal):
    """The form of the longest root that begins at `at`, else of the longest suffix, else of the longest string, or -1.

    No form reaches over a letter in upper case behind its first.
    """
    node, root, suffix, string = np.int64(0), np.int32(-1), np.int32(-1), np.int32(-1)
    for k in range(at, stop):
        c = points[k]
        if k > at and _is(letters, c, 1):
            break
        node = np.int64(child(links, node, letters[c, 0] if c < letters.shape[0] else c))
        if node < 0:
            break
        s = string_of[node]
        if s >= 0:
            root = found[s, 0] if found[s, 0] >= 0 else root
            suffix = found[s, 1] if found[s, 1] >= 0 else suffix
            string = found[s, 2] if found[s, 2] >= 0 else string
    return string if literal else root if root >= 0 else suffix if suffix >= 0 else string


@njit(cache=True, nogil=True)
def _splits(c, published):
    """Whether a stretch ends at this code point, which is a token by itself then."""
    return c == SPACE or (not published and c in (LINE_END, TAB))


@njit(cache=True, nogil=True)
def _is(letters, c, column):
    return c < letters.shape[0] and letters[c, column] > 0


@njit(cache=True, nogil=True)
def _width(c):
    """Bytes of a code point in UTF-8."""
    return 1 + (c >= 0x80) + (c >= 0x800) + (c >= 0x10000)


@njit(cache=True, nogil=True)
def _bytes(points, begin, end):
    size = 0
    for k in range(begin, end):
        size += _width(points[k])
    return size


@njit(cache=True, nogil=True)
def _byte(c, k):
    """Byte `k` of a code point in UTF-8."""
    width = _width(c)
    if width == 1:
        return np.int64(c)
    if k:
        return 0x80 | ((np.int64(c) >> (6 * (width - 1 - k))) & 0x3F)
    return ((0xF00 >> width) & 0xFF) | (np.int64(c) >> (6 * (width - 1)))

#!/usr/bin/env python3
"""Writes src/text/charclass_data.h: for every code point the classes that the `tokenizers` package
sees there (its regex engine, Rust's char methods and its own tables differ in Unicode version).

    python tests/parity/unicode_classes.py > src/text/charclass_data.h
"""
import unicodedata

import numpy as np
from tokenizers import Regex, __version__, normalizers, pre_tokenizers

COUNT = 0x110000
POINTS = [c for c in range(COUNT) if not 0xD800 <= c < 0xE000]
ALL = "".join(map(chr, POINTS))
BETWEEN = "".join("a" + chr(c) for c in POINTS) + "a"


def of_regex(pattern):
    """code points that the package's regex engine takes for `pattern`"""
    out = np.zeros(COUNT, bool)
    out[POINTS] = True
    for _, (a, b) in pre_tokenizers.Split(Regex(pattern), "removed").pre_tokenize_str(ALL):
        out[POINTS[a:b]] = False
    return out


def alone_and_removed(pre):
    """code points that a pre-tokenizer puts into a piece of their own, and those it drops"""
    alone, kept = np.zeros(COUNT, bool), np.zeros(COUNT, bool)
    for _, (a, b) in pre.pre_tokenize_str(BETWEEN):
        odd = [POINTS[i // 2] for i in range(a, b) if i % 2]
        kept[odd] = True
        if b - a == 1:
            alone[odd] = True
    removed = np.zeros(COUNT, bool)
    removed[POINTS] = True
    return alone, removed & ~kept


def stripped():
    strip = normalizers.StripAccents()
    out = np.zeros(COUNT, bool)
    out[[c for c in POINTS if strip.normalize_str(chr(c)) == ""]] = True
    return out


FORMS = [normalizers.NFC(), normalizers.NFD(), normalizers.NFKC(), normalizers.NFKD()]


def nfc_unstable(marks):
    """NFC may change a text only where one of these stands"""
    out = marks.copy()
    out[[c for c in POINTS if FORMS[0].normalize_str(chr(c)) != chr(c)]] = True
    out[0x1161:0x1176] = True  # Hangul vowels and finals join what is before them
    out[0x11A8:0x11C3] = True
    return out


def is_reordered(c):
    """the package knows a combining class for c"""
    nfd = FORMS[1].normalize_str
    return nfd("\u0345" + chr(c)) != "\u0345" + nfd(chr(c)) or nfd(chr(c) + "\u0334") != nfd(chr(c)) + "\u0334"


def unknown_to_normalizers():
    """plain characters to the package's normalizers (Unicode 9), but not to later versions"""
    out = np.zeros(COUNT, bool)
    for c in POINTS:
        char = chr(c)
        later = unicodedata.combining(char) or unicodedata.category(char) == "Cn"
        if any(unicodedata.normalize(f, char) != char for f in ("NFC", "NFKD")):
            if all(f.normalize_str(char) == char for f in FORMS):
                later = True
                out[[ord(part) for part in unicodedata.normalize("NFD", char) if part != char]] = True
        if later and all(f.normalize_str(char) == char for f in FORMS) and not is_reordered(c):
            out[c] = True
    for c in np.nonzero(out)[0]:  # parts of old characters stay
        if is_reordered(int(c)) or unicodedata.category(chr(c)) != "Cn" and ord(chr(c)) < 0x300:
            out[c] = False
    return out


def columns():
    not_word, space = alone_and_removed(pre_tokenizers.Whitespace())
    word = ~(not_word | space)
    word[0xD800:0xE000] = False
    marks = of_regex(r"\p{M}")
    return [
        of_regex(r"\p{L}"),
        of_regex(r"\p{N}"),
        of_regex(r"\s"),
        word,
        alone_and_removed(pre_tokenizers.Digits(individual_digits=True))[0],
        marks,
        of_regex(r"\p{P}"),
        alone_and_removed(pre_tokenizers.Punctuation())[0],
        stripped(),
        of_regex(r"\d"),
        nfc_unstable(marks),
        unknown_to_normalizers(),
    ]


def main():
    bits = sum(c.astype(np.int64) << i for i, c in enumerate(columns()))
    starts = [0] + [int(i) + 1 for i in np.nonzero(np.diff(bits))[0]]
    print(f"/* Made by tests/parity/unicode_classes.py from tokenizers {__version__}; do not edit. Each entry: first")
    print(" * code point of a run and its enum char_class bits; a run ends where the next begins. */")
    print("static const struct class_run class_runs[] = {")
    for i in range(0, len(starts), 6):
        print("    " + " ".join(f"{{0x{s:x}, 0x{int(bits[s]):x}}}," for s in starts[i : i + 6]))
    print("};")


main()

#!/usr/bin/env python3
"""Writes src/text/charclass_data.h: for every code point the classes that the `tokenizers` package
sees there (its regex engine, Rust's char methods and its own tables differ in Unicode version).

    python tests/parity/unicode_classes.py > src/text/charclass_data.h
"""
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


def nfc_unstable(marks):
    """NFC may change a text only where one of these stands"""
    nfc = normalizers.NFC()
    out = marks.copy()
    out[[c for c in POINTS if nfc.normalize_str(chr(c)) != chr(c)]] = True
    out[0x1161:0x1176] = True  # Hangul vowels and finals join what is before them
    out[0x11A8:0x11C3] = True
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
    ]


def main():
    bits = sum(c.astype(np.int64) << i for i, c in enumerate(columns()))
    starts = [0] + [int(i) + 1 for i in np.nonzero(np.diff(bits))[0]]
    print(f"/* Made by tests/parity/unicode_classes.py from tokenizers {__version__}; do not edit. Each entry: first")
    print(" * code point of a run << 11 | enum char_class bits; a run ends where the next begins. */")
    print("static const uint32_t class_runs[] = {")
    for i in range(0, len(starts), 8):
        print("    " + " ".join(f"0x{s << 11 | int(bits[s]):08x}," for s in starts[i : i + 8]))
    print("};")


main()

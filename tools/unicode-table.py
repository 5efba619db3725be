#!/usr/bin/env python3
"""Writes src/token/unicode_table.c from Python's unicodedata: runs of code points of one class, for the pre-tokenizers."""
import os
import sys
import unicodedata

CLASSES = ["OTHER", "UPPER", "LOWER", "TITLE", "MODIFIER", "LETTER", "MARK", "NUMBER", "PUNCTUATION", "SYMBOL", "SPACE"]
BY_CATEGORY = {"Lu": 1, "Ll": 2, "Lt": 3, "Lm": 4, "Lo": 5, "M": 6, "N": 7, "P": 8, "S": 9}
# The property White_Space, which unicodedata does not offer.
SPACES = {*range(0x9, 0xE), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}


def class_of(point):
    category = unicodedata.category(chr(point))
    return 10 if point in SPACES else BY_CATEGORY.get(category, BY_CATEGORY.get(category[0], 0))


def main():
    runs, last = [], -1
    for point in range(0x110000):
        c = class_of(point)
        if c != last:
            runs.append(point << 4 | c)
            last = c
    path = os.path.join(os.path.dirname(sys.argv[0]), "..", "src", "token", "unicode_table.c")
    with open(path, "w") as out:
        out.write(f"/* token/unicode_table.c - made by tools/unicode-table.py from Unicode {unicodedata.unidata_version}. Each word: first code point of a run << 4,\n")
        out.write(" * and the place of its class in unicode_class. */\n#include \"token/unicode.h\"\n\n/* clang-format off */\n")
        out.write("const uint32_t unicode_runs[] = {\n")
        for i in range(0, len(runs), 12):
            out.write(" ".join(f"0x{r:x}," for r in runs[i:i + 12]) + "\n")
        out.write("};\n/* clang-format on */\nconst size_t unicode_run_count = sizeof unicode_runs / sizeof *unicode_runs;\n")


main()

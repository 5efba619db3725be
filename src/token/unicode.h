/* token/unicode.h - what pre-tokenizers ask of a character. */
#ifndef TOKEN_UNICODE_H
#define TOKEN_UNICODE_H

#include <stddef.h>
#include <stdint.h>

/* General categories as bits, so that a class of a regular expression is one mask. White_Space wins over category. */
enum {
    UNICODE_UPPER = 1 << 1,
    UNICODE_LOWER = 1 << 2,
    UNICODE_TITLE = 1 << 3,
    UNICODE_MODIFIER = 1 << 4, /* Lm */
    UNICODE_LETTER = 1 << 5,   /* Lo */
    UNICODE_MARK = 1 << 6,
    UNICODE_NUMBER = 1 << 7,
    UNICODE_PUNCTUATION = 1 << 8,
    UNICODE_SYMBOL = 1 << 9,
    UNICODE_SPACE = 1 << 10,
    UNICODE_ANY_LETTER = UNICODE_UPPER | UNICODE_LOWER | UNICODE_TITLE | UNICODE_MODIFIER | UNICODE_LETTER
};

typedef struct unicode_char {
    uint32_t point; /* U+FFFD for a byte that is not UTF-8 */
    uint32_t class; /* one bit, or 0 */
    uint32_t bytes; /* 1 to 4; a byte that is not UTF-8 stands alone */
} unicode_char;

/* The character at the start of `size` >= 1 bytes. */
unicode_char unicode_read(const uint8_t *text, size_t size);
/* Bytes of the well-formed character at the start of `size` >= 1 bytes; 0 where there is none. Overlong forms,
 * surrogates and points past U+10FFFF are not well formed. */
uint32_t unicode_well_formed(const uint8_t *text, size_t size, uint32_t *point);
/* Length of the longest prefix that does not end within a character that more bytes could complete. */
size_t unicode_complete(const uint8_t *text, size_t size);
uint32_t unicode_class(uint32_t point);
uint32_t unicode_write(uint32_t point, uint8_t out[4]); /* returns the bytes written */

extern const uint32_t unicode_runs[]; /* sorted; see unicode_table.c */
extern const size_t unicode_run_count;

#endif

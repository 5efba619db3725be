/* token/pretoken_gpt.h - the scanners of combined expressions, for pretoken.c alone. */
#ifndef TOKEN_PRETOKEN_GPT_H
#define TOKEN_PRETOKEN_GPT_H

#include "token/pretoken.h"

ptrdiff_t pretoken_match_gpt2(const pretoken_pass *pass, const uint8_t *text, size_t size);
ptrdiff_t pretoken_match_gpt4(const pretoken_pass *pass, const uint8_t *text, size_t size);
ptrdiff_t pretoken_match_tekken(const pretoken_pass *pass, const uint8_t *text, size_t size);
ptrdiff_t pretoken_match_o200k(const pretoken_pass *pass, const uint8_t *text, size_t size);
ptrdiff_t pretoken_match_deepseek(const pretoken_pass *pass, const uint8_t *text, size_t size);

/* Bytes of the run of characters whose class is (inside) or is not in `mask`. */
size_t pretoken_run(const uint8_t *text, size_t size, uint32_t mask, bool inside);
/* Bytes of at most `most` characters of the mask. */
size_t pretoken_few(const uint8_t *text, size_t size, uint32_t mask, uint32_t most);

#endif

/* code/float_group.c - chunks of pieces, the tables that a group shares, and the arrays of one piece. */
#include "code/float_group.h"

#include <string.h>

enum { CHUNK = 1 << 17 };

size_t float_chunk_end(const float_piece *p, size_t count, size_t first) {
    size_t n = 0, i = first;
    while (i < count && n < CHUNK) n += float_elements(&p[i++]);
    return i;
}

size_t float_chunks(const float_piece *p, size_t count) {
    size_t n = 0;
    for (size_t i = 0; i < count; i = float_chunk_end(p, count, i)) n++;
    return n;
}

bool float_shared_banks(float_shared *s, bool decoding) {
    for (int i = 0; i < float_table_count(s); i++) {
        if (s->present[i]) continue;
        memset(&s->level[i], 0, sizeof s->level[i]); /* never used in sound data, but must be a table */
        s->level[i].bits = FLOAT_LEVEL_BITS;
        s->level[i].width[FLOAT_CENTER] = 1 << FLOAT_LEVEL_BITS;
    }
    for (int i = 0; i < FLOAT_SIGN_STEPS; i++) {
        memset(&s->sign[i], 0, sizeof s->sign[i]);
        s->sign[i].bits = FLOAT_SIGN_BITS;
        s->sign[i].width[1] = (uint16_t)((2 * i + 1) << (FLOAT_SIGN_BITS - 6));
        s->sign[i].width[0] = (uint16_t)((1 << FLOAT_SIGN_BITS) - s->sign[i].width[1]);
    }
    return table_bank_new(&s->level_bank, s->level, (size_t)float_table_count(s), decoding) &&
           (!s->signs || table_bank_new(&s->sign_bank, s->sign, FLOAT_SIGN_STEPS, decoding));
}

void float_shared_free(float_shared *s) {
    table_bank_free(&s->level_bank);
    table_bank_free(&s->sign_bank);
}

/* The nearest table before that is there: of the same class or the one below, scales a quarter octave apart. */
static const pith_table *hint_for(const float_shared *s, int i) {
    while (i-- > 0)
        if (s->present[i]) return &s->level[i];
    return NULL;
}

void float_shared_write(binary_encoder *e, const float_shared *s) {
    binary_put_at(e, 32768, s->classes);
    binary_put_at(e, 32768, s->signs);
    for (int i = 0; i < float_table_count(s); i++) {
        binary_put_at(e, 32768, s->present[i]);
        if (s->present[i]) table_write(e, &s->level[i], hint_for(s, i));
    }
    for (int i = 0; s->signs && i < FLOAT_SIGNS; i++)
        for (int b = 4; b >= 0; b--) binary_put_at(e, 32768, s->sign_step[i] >> b & 1);
}

bool float_shared_read(binary_decoder *d, float_shared *s) {
    memset(s, 0, sizeof *s);
    s->classes = binary_get_at(d, 32768);
    s->signs = binary_get_at(d, 32768);
    for (int i = 0; i < float_table_count(s); i++) {
        s->present[i] = binary_get_at(d, 32768);
        if (s->present[i] && !table_read(d, &s->level[i], FLOAT_LEVEL_BITS, hint_for(s, i))) return false;
    }
    for (int i = 0; s->signs && i < FLOAT_SIGNS; i++)
        for (int b = 4; b >= 0; b--) s->sign_step[i] = (uint8_t)(s->sign_step[i] | binary_get_at(d, 32768) << b);
    return true;
}

bool float_arrays_new(float_arrays *s, const float_piece *p) {
    size_t n = float_elements(p), plane = (size_t)p->rows * p->inner;
    memset(s, 0, sizeof *s);
    if (!float_scales_new(&s->scales, p)) return false;
    s->memory = memory_alloc(11 * n + 3 * plane);
    if (!s->memory) return false;
    s->level = (int16_t *)(void *)s->memory;
    s->scale = s->level + n;
    s->value = s->scale + n;
    s->no_value = s->value + n;
    s->distance = (int8_t *)(s->no_value + plane);
    s->no_distance = s->distance + n;
    s->symbol = (uint8_t *)s->no_distance + plane;
    s->table = s->symbol + n;
    s->sign = s->table + n;
    s->context = s->sign + n;
    memset(s->no_value, 0, plane * sizeof *s->no_value);
    memset(s->no_distance, 0, plane);
    return true;
}

void float_arrays_free(float_arrays *s) {
    float_scales_free(&s->scales);
    memory_free(s->memory);
}

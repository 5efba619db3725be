/* code/table.c - static tables over bytes.
 *
 * A table is written symbol by symbol: the bit length of its mass, in the context of the lengths before it (or of the
 * table before, where one is given), then the bits below the leading one. About 7 bits a symbol that occurs, 0.05
 * for one that does not. */
#include "code/table.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void table_count(uint32_t counts[256], const uint8_t *in, size_t n) {
    uint32_t part[8][256] = {{0}}; /* eight, so that runs of one byte do not wait for each other's stores */
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t v;
        memcpy(&v, in + i, 8);
        for (int k = 0; k < 8; k++) part[k][v >> (8 * k) & 0xff]++;
    }
    for (; i < n; i++) part[0][in[i]]++;
    for (int s = 0; s < 256; s++)
        for (int k = 0; k < 8; k++) counts[s] += part[k][s];
}

/* The symbol that loses least by giving up a mass of 1 (sign -1), or gains most by getting it (+1). */
static int best_change(const uint32_t counts[256], const uint32_t width[256], int sign) {
    int best = -1;
    double value = 0;
    for (int s = 0; s < 256; s++) {
        if (!counts[s] || (sign < 0 && width[s] < 2)) continue;
        double v = sign * (double)counts[s] / (width[s] + 0.5 * sign); /* slope of counts * log(width), halfway */
        if (best < 0 || v > value) {
            best = s;
            value = v;
        }
    }
    return best;
}

void table_fit(pith_table *t, const uint32_t counts[256], int bits) {
    uint64_t total = 0;
    uint32_t width[256] = {0}, full = 1u << bits, sum = 0;
    for (int s = 0; s < 256; s++) total += counts[s];
    assert(total > 0 && bits >= BULK_MIN_BITS && bits <= BULK_MAX_BITS);
    for (int s = 0; s < 256; s++) {
        if (!counts[s]) continue;
        width[s] = (uint32_t)(((uint64_t)counts[s] * full + total / 2) / total);
        if (!width[s]) width[s] = 1;
        sum += width[s];
    }
    for (; sum < full; sum++) width[best_change(counts, width, 1)]++;
    for (; sum > full; sum--) width[best_change(counts, width, -1)]--;
    t->bits = bits;
    for (int s = 0; s < 256; s++) t->width[s] = (uint16_t)width[s];
}

double table_cost(const pith_table *t, const uint32_t counts[256]) {
    double cost = 0, total = 0;
    for (int s = 0; s < 256; s++) {
        if (!counts[s]) continue;
        total += counts[s];
        if (t && !t->width[s]) return INFINITY;
        cost -= counts[s] * log2(t ? t->width[s] : counts[s]);
    }
    return total > 0 ? cost + total * (t ? t->bits : log2(total)) : 0;
}

static int length_of(uint32_t v) { return v ? 32 - __builtin_clz(v) : 0; }

enum { FAR = 16 }; /* a length is at most this far from its guess */

typedef struct lengths { /* adaptive bits that tell a symbol's length; [.][1]: there is a table before */
    binary_bit zero[16][3], same[3], above[3], more[3][FAR];
} lengths;

static void lengths_start(lengths *l) { binary_start((binary_bit *)l, sizeof *l / sizeof(binary_bit)); }

/* Whether the mass is zero depends on the two before it and on the mass before. */
static binary_bit *zero_bit(lengths *l, int one, int two, int kind) {
    return &l->zero[(one > 3 ? 3 : one) * 4 + (two > 3 ? 3 : two)][kind];
}

static int guess_length(int one, int two, int before) {
    int g = before ? before : one && two ? (one + two + 1) / 2 : one + two;
    return g ? g : 1;
}

void table_write(binary_encoder *e, const pith_table *t, const pith_table *before) {
    lengths l;
    lengths_start(&l);
    for (int s = 0, one = 0, two = 0; s < 256; s++) {
        int n = length_of(t->width[s]), b = before ? length_of(before->width[s]) : 0;
        int kind = !before ? 0 : b ? 2 : 1, guess = guess_length(one, two, b);
        two = one;
        one = n;
        binary_put(e, zero_bit(&l, two, s > 1 ? length_of(t->width[s - 2]) : 0, kind), n == 0);
        if (n == 0) continue;
        binary_put(e, &l.same[kind], n == guess);
        if (n != guess) {
            binary_put(e, &l.above[kind], n > guess);
            int far = n > guess ? n - guess : guess - n;
            for (int i = 1; i < far; i++) binary_put(e, &l.more[kind][i], 1);
            binary_put(e, &l.more[kind][far < FAR ? far : 0], 0);
        }
        for (int i = n - 2; i >= 0; i--) binary_put_at(e, 32768, t->width[s] >> i & 1);
    }
}

bool table_read(binary_decoder *d, pith_table *t, int bits, const pith_table *before) {
    lengths l;
    lengths_start(&l);
    uint32_t sum = 0;
    t->bits = bits;
    memset(t->width, 0, sizeof t->width);
    for (int s = 0, one = 0, two = 0; s < 256; s++) {
        int b = before ? length_of(before->width[s]) : 0, kind = !before ? 0 : b ? 2 : 1;
        int guess = guess_length(one, two, b), n = 0;
        two = one;
        if (!binary_get(d, zero_bit(&l, two, s > 1 ? length_of(t->width[s - 2]) : 0, kind))) {
            n = guess;
            if (!binary_get(d, &l.same[kind])) {
                int sign = binary_get(d, &l.above[kind]) ? 1 : -1, far = 1;
                while (far < FAR && binary_get(d, &l.more[kind][far])) far++;
                n += sign * far;
            }
            if (n < 1 || n > bits + 1) return false;
        }
        one = n;
        uint32_t width = n ? 1 : 0;
        for (int i = n - 2; i >= 0; i--) width = width << 1 | (uint32_t)binary_get_at(d, 32768);
        t->width[s] = (uint16_t)width;
        sum += width;
    }
    return sum == 1u << bits;
}

bool table_bank_new(bulk_bank *bank, const pith_table *tables, size_t count, bool decoding) {
    int bits = tables[0].bits;
    size_t points = count << bits, masses = count * 256 * sizeof(uint32_t);
    bool slots = bits <= BULK_SLOT_BITS;
    size_t extra = !decoding ? 0 : slots ? points * sizeof(uint32_t) : points + 3;
    uint8_t *memory = memory_aligned(masses + extra);
    *bank = (bulk_bank){bits, NULL, NULL, NULL};
    if (!memory) return false;
    uint32_t *m = (uint32_t *)(void *)memory, *slot = (uint32_t *)(void *)(memory + masses);
    uint8_t *symbol = memory + masses;
    bank->masses = m;
    if (decoding && slots) bank->slots = slot;
    if (decoding && !slots) {
        bank->symbols = symbol;
        memset(symbol + points, 0, 3);
    }
    for (size_t k = 0; k < count; k++) {
        uint32_t start = 0;
        for (uint32_t s = 0; s < 256; s++) {
            uint32_t width = tables[k].width[s];
            *m++ = width ? (width - 1) | start << 16 : 0;
            start += width;
            if (!decoding) continue;
            if (slots)
                for (uint32_t i = 0; i < width; i++) *slot++ = s | (width - 1) << 8 | i << 20;
            else symbol = (uint8_t *)memset(symbol, (int)s, width) + width;
        }
    }
    return true;
}

void table_bank_free(bulk_bank *bank) {
    memory_free((void *)(uintptr_t)bank->masses);
    *bank = (bulk_bank){0, NULL, NULL, NULL};
}

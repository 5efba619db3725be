/* code/factorized.c - tables of channels, their escapes, and how they are written: for each channel its first value in
 * 32 plain bits, then the table with the one before as hint. */
#include "code/factorized.h"

#include "base/memory.h"
#include "code/classes.h"

#include <string.h>

enum { ESCAPE = FACTORIZED_VALUES };

typedef struct factorized_channel {
    int32_t first; /* value of symbol 0 */
    pith_table table;
    uint16_t start[257];
} channel;

static void sum_up(channel *c) {
    uint32_t sum = 0;
    for (int s = 0; s < 256; s++) {
        c->start[s] = (uint16_t)sum;
        sum += c->table.width[s];
    }
    c->start[256] = (uint16_t)sum;
}

static pith_mass channel_mass(const void *self, uint32_t symbol) {
    const channel *c = self;
    return (pith_mass){c->start[symbol], c->table.width[symbol]};
}

static uint32_t channel_find(const void *self, uint32_t point, pith_mass *m) {
    const channel *c = self;
    uint32_t low = 0, high = 256; /* start[low] <= point < start[high] */
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (c->start[middle] <= point) low = middle;
        else high = middle;
    }
    *m = channel_mass(c, low);
    return low;
}

/* The 255 values around the mean. */
static int32_t best_first(const int32_t *values, size_t count, int channels) {
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++) sum += values[i * (size_t)channels];
    int64_t mean = count ? sum / (int64_t)count : 0, first = mean - FACTORIZED_VALUES / 2;
    return (int32_t)(first < INT32_MIN ? INT32_MIN : first);
}

static uint32_t symbol_of(const channel *c, int32_t value) {
    int64_t s = (int64_t)value - c->first;
    return s >= 0 && s < FACTORIZED_VALUES ? (uint32_t)s : ESCAPE;
}

static bool new_channels(factorized *f, int channels) {
    f->channels = channels;
    f->channel = memory_zero((size_t)channels, sizeof *f->channel);
    return f->channel != NULL;
}

pith_status factorized_fit(factorized *f, const int32_t *values, size_t count, int channels, pith_error *err) {
    if (!new_channels(f, channels)) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    for (int k = 0; k < channels; k++) {
        channel *c = &f->channel[k];
        uint32_t counts[256] = {0};
        c->first = best_first(values + k, count, channels);
        counts[ESCAPE] = 1; /* also for values to come */
        for (size_t i = 0; i < count; i++) counts[symbol_of(c, values[i * (size_t)channels + (size_t)k])]++;
        table_fit(&c->table, counts, FACTORIZED_BITS);
        sum_up(c);
    }
    return PITH_OK;
}

void factorized_free(factorized *f) {
    memory_free(f->channel);
    *f = (factorized){0, NULL};
}

/* Distance from the table's middle, small for near ones on both sides: 0, -1, 1, -2 ... */
static uint32_t turn_of(const channel *c, int32_t value) {
    uint32_t d = (uint32_t)value - (uint32_t)c->first - FACTORIZED_VALUES / 2;
    return d << 1 ^ (uint32_t) - (int32_t)(d >> 31);
}

static int32_t from_turn(const channel *c, uint32_t turn) {
    uint32_t d = turn >> 1 ^ (uint32_t) - (int32_t)(turn & 1);
    return (int32_t)(d + (uint32_t)c->first + FACTORIZED_VALUES / 2);
}

/* Classes of escapes are rare: all the same mass. */
static pith_mass flat_mass(const void *self, uint32_t symbol) {
    (void)self;
    return (pith_mass){symbol, 1};
}

static uint32_t flat_find(const void *self, uint32_t point, pith_mass *m) {
    (void)self;
    *m = (pith_mass){point, 1};
    return point < CLASSES ? point : CLASSES - 1;
}

static const pith_model flat = {7, flat_mass, flat_find, NULL};

void factorized_encode(const factorized *f, int k, pith_encoder *e, int32_t value) {
    const channel *c = &f->channel[k];
    uint32_t s = symbol_of(c, value);
    if (!c->table.width[s]) s = ESCAPE; /* a value inside that never came while fitting */
    pith_encode(e, channel_mass(c, s), FACTORIZED_BITS);
    if (s == ESCAPE) class_encode(e, &flat, NULL, turn_of(c, value));
}

int32_t factorized_decode(const factorized *f, int k, pith_decoder *d) {
    const channel *c = &f->channel[k];
    pith_mass m;
    uint32_t s = channel_find(c, pith_decode_point(d, FACTORIZED_BITS), &m);
    pith_decode_take(d, m, FACTORIZED_BITS);
    return s == ESCAPE ? from_turn(c, class_decode(d, &flat, NULL)) : (int32_t)((uint32_t)c->first + s);
}

bool factorized_write(const factorized *f, binary_encoder *e) {
    for (int k = 0; k < f->channels; k++) {
        for (int b = 31; b >= 0; b--) binary_put_at(e, 32768, (uint32_t)f->channel[k].first >> b & 1);
        table_write(e, &f->channel[k].table, k ? &f->channel[k - 1].table : NULL);
    }
    return !e->failed;
}

bool factorized_read(factorized *f, int channels, binary_decoder *d) {
    if (!new_channels(f, channels)) return false;
    for (int k = 0; k < channels; k++) {
        channel *c = &f->channel[k];
        uint32_t first = 0;
        for (int b = 0; b < 32; b++) first = first << 1 | (uint32_t)binary_get_at(d, 32768);
        c->first = (int32_t)first;
        if (!table_read(d, &c->table, FACTORIZED_BITS, k ? &f->channel[k - 1].table : NULL)) return false;
        sum_up(c);
    }
    return true;
}

/* fuzz_streams.c - every decoder of entropy-coded streams; the first byte of the input says which.
 *
 * Aims at: src/code/bulk.c src/code/bulk_chunk.c src/code/coder.c src/code/table.c src/code/planes.c
 * src/code/tensor_ways.c src/code/float_decode.c src/code/delta_way.c src/code/copy_way.c src/code/items.c
 * src/code/factorized.c src/code/distribution.c */
#include "seed.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "code/bulk.h"
#include "code/code.h"
#include "code/delta_way.h"
#include "code/distribution.h"
#include "code/factorized.h"
#include "code/items.h"
#include "code/planes.h"
#include "code/tensor_ways.h"
#include "tensor/types.h"

enum { BULK, PLANES, TENSORS, CODER, INDEX, PRIOR, MIXTURE, DELTA, KINDS, ROOM = 70000, CHANNELS = 3 };

static const int64_t matrix[] = {24, 40}, kernel[] = {6, 5, 3, 3}, row[] = {600};

/* Tensors of every kind over one block of memory, some with a base. */
static size_t make_items(tensor_item *item, uint8_t *memory, uint8_t *base) {
    static const struct {
        uint16_t type;
        int rank;
        const int64_t *shape;
        size_t size;
        bool based;
    } t[] = {{PITH_F32, 2, matrix, 3840, false}, {PITH_BF16, 4, kernel, 540, false}, {PITH_F16, 1, row, 1200, false},
             {PITH_F32, 2, matrix, 3840, false}, {PITH_I8, 1, row, 600, false},      {PITH_I64, 1, row, 4800, false},
             {PITH_BF16, 2, matrix, 1920, true}, {PITH_F32, 2, matrix, 3840, true},  {PITH_U8, 1, matrix, 24, false}};
    size_t count = sizeof t / sizeof *t;
    for (size_t i = 0; i < count; memory += t[i].size, base += t[i].size, i++)
        item[i] = (tensor_item){t[i].type,
                                t[i].rank,
                                t[i].shape,
                                {memory, t[i].size},
                                {t[i].based ? base : NULL, t[i].based ? t[i].size : 0}};
    return count;
}

/* Memory that the address sanitizer watches, of bytes with some order. */
static uint8_t *block(void) {
    static uint8_t bytes[ROOM];
    uint8_t *p = memory_alloc(ROOM);
    if (!p) exit(1);
    for (size_t i = 0; i < ROOM && !bytes[ROOM - 1]; i++)
        bytes[i] = (uint8_t)((i * 37 + i / 100) % 23 + (i % 4 == 3 ? 50 : 0));
    return memcpy(p, bytes, ROOM);
}

static void decode_symbols(pith_bytes in, int coder, int lanes) {
    pith_decoder *d;
    if (pith_decoder_open(&d, coder, lanes, in, NULL) != PITH_OK) return;
    for (uint32_t i = 0; i < 3000; i++) {
        int bits = (int)(i % 16) + 1;
        uint32_t point = pith_decode_point(d, bits), width = 1u << (i % (uint32_t)bits), start = point & ~(width - 1);
        if (point >= 1u << bits) abort();
        pith_decode_take(d, (pith_mass){start, width}, bits);
        if (i % 7 == 0) pith_decode_raw(d, 20);
        if (i % 500 == 499 && pith_decoder_mark(d, NULL) != PITH_OK) break;
    }
    pith_decoder_close(d, NULL);
}

static void read_index(pith_bytes in) {
    items_index x;
    if (items_read(&x, in, ROOM, NULL) != PITH_OK) return;
    for (size_t i = 0; i < x.count; i++)
        if (x.mark[i] > 8 * ROOM) abort();
    items_free(&x);
}

/* Tables, then values of the channels by turns from what follows them. */
static void read_prior(pith_bytes in) {
    factorized f = {0};
    binary_decoder side;
    pith_decoder *d;
    binary_decode_open(&side, in);
    if (factorized_read(&f, CHANNELS, &side) &&
        pith_decoder_open(&d, PITH_CODER_RANGE, 1, (pith_bytes){in.data + in.size / 2, in.size - in.size / 2}, NULL) ==
            PITH_OK) {
        for (int i = 0; i < 1000; i++) factorized_decode(&f, i % CHANNELS, d);
        pith_decoder_close(d, NULL);
    }
    factorized_free(&f);
}

static void read_mixture(pith_bytes in, uint8_t kind) {
    distribution x = {.parts = 2, .bits = 16, .low = -100, .high = 50 + kind};
    x.part[0] = (distribution_part){DISTRIBUTION_NORMAL, 1, 5 * kind, 1u + 100u * kind};
    x.part[1] = (distribution_part){kind % DISTRIBUTION_FAMILIES, 3, -kind, 700};
    pith_model m = distribution_model(&x);
    pith_decoder *d;
    if (pith_decoder_open(&d, PITH_CODER_RANS64, 1, in, NULL) != PITH_OK) return;
    for (int i = 0; i < 1000; i++) {
        pith_mass mass;
        uint32_t point = pith_decode_point(d, m.bits);
        if (m.find(&x, point, &mass) > (uint32_t)(x.high - x.low) || point - mass.start >= mass.width) abort();
        pith_decode_take(d, mass, m.bits);
    }
    pith_decoder_close(d, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3) return 0;
    parallel_set_threads(1);
    uint8_t *memory = block(), *base = block();
    pith_bytes in = {(uint8_t *)(uintptr_t)data + 3, size - 3}, planes[3];
    size_t n = (size_t)data[1] << 8 | data[2];
    switch (data[0] % KINDS) {
    case BULK: bulk_decode(in, (pith_bytes){memory, n}, NULL); break;
    case PLANES:
        for (size_t i = 0; i < 3; i++) planes[i] = (pith_bytes){memory + i * (n / 3), n / 3};
        planes_decode(in, planes, 3, NULL);
        break;
    case TENSORS: {
        tensor_item item[16];
        size_t count = make_items(item, memory, base);
        tensor_ways_decode(NULL, in, item, count, NULL);
        uint8_t ways[16];
        uint64_t sizes[16];
        tensor_ways_list(in, item, count, ways, sizes, NULL);
        break;
    }
    case INDEX: read_index(in); break;
    case PRIOR: read_prior(in); break;
    case MIXTURE: read_mixture(in, data[1]); break;
    case DELTA: {
        bool wide = data[1] & 1;
        delta_decode(in, base, wide ? 4 : 2, wide ? 23 : 7, (pith_bytes){memory, 3840}, NULL);
        break;
    }
    default: decode_symbols(in, data[1] % 3, data[1] % 3 ? data[2] % 64 + 1 : 1); break;
    }
    memory_free(memory);
    memory_free(base);
    return 0;
}

static size_t with_head(uint8_t kind, size_t n, pith_bytes coded, uint8_t **data) {
    *data = malloc(coded.size + 3);
    if (!*data) exit(1);
    (*data)[0] = kind;
    (*data)[1] = (uint8_t)(n >> 8);
    (*data)[2] = (uint8_t)n;
    if (coded.size) memcpy(*data + 3, coded.data, coded.size);
    memory_free(coded.data);
    return coded.size + 3;
}

static void seed_index(pith_bytes *out) {
    items_index x = {0};
    for (uint64_t i = 0; i < 500; i++) items_add(&x, i / 3 * 24);
    items_write(&x, out, NULL);
    items_free(&x);
}

static void seed_prior(const uint8_t *memory, pith_bytes *out) {
    int32_t value[600];
    factorized f;
    binary_encoder e;
    for (int i = 0; i < 600; i++) value[i] = memory[i] - memory[i + 600];
    if (factorized_fit(&f, value, 200, CHANNELS, NULL) != PITH_OK) exit(1);
    binary_encode_open(&e);
    if (!factorized_write(&f, &e) || !binary_encode_close(&e)) exit(1);
    *out = (pith_bytes){e.bytes, e.size};
    factorized_free(&f);
}

/* 0 to 2 bulk of three sizes, 3 planes, 4 tensors, 5 to 7 the coders, 8 an index, 9 a prior, 10 and 11 differences */
size_t fuzz_seed(int k, uint8_t **data) {
    static const size_t sizes[] = {5000, 40000, 65535};
    if (k > 11) return 0;
    uint8_t *memory = block(), *base = block();
    pith_bytes out = {NULL, 0};
    size_t n = k < 3 ? sizes[k] : 3000;
    static const uint8_t kinds[] = {BULK, BULK, BULK, PLANES, TENSORS, CODER, CODER, CODER, INDEX, PRIOR, DELTA, DELTA};
    uint8_t kind = kinds[k];
    if (k < 3) bulk_encode((pith_bytes){memory, n}, 12 + k, &out, NULL);
    if (k == 3) {
        pith_bytes planes[3] = {{memory, 1000}, {memory + 1000, 1000}, {memory + 2000, 1000}};
        planes_encode(planes, 3, &out, NULL);
    }
    if (k == 4) {
        tensor_item item[16];
        for (size_t i = 0; i < ROOM; i += 5) base[i] ^= 1;
        size_t count = make_items(item, memory, base);
        tensor_ways_encode(NULL, item, count, &out, NULL, NULL);
    }
    if (k == 8) seed_index(&out);
    if (k == 9) seed_prior(memory, &out);
    if (k > 9) {
        for (size_t i = 0; i < ROOM; i += 3) base[i] ^= 1;
        n = (size_t)(k - 10) << 8;
        delta_encode((pith_bytes){memory, 3840}, base, k == 11 ? 4 : 2, k == 11 ? 23 : 7, &out, NULL);
    }
    if (k > 4 && k < 8) {
        pith_encoder *e;
        n = (size_t)(k - 5) << 8 | 7;
        if (pith_encoder_open(&e, k - 5, k == 5 ? 1 : 8, NULL) != PITH_OK) exit(1);
        for (uint32_t i = 0; i < 3000; i++) pith_encode_raw(e, i * 2654435761u >> 24, 8);
        pith_encoder_close(e, &out, NULL);
    }
    memory_free(memory);
    memory_free(base);
    return with_head(kind, n, out, data);
}

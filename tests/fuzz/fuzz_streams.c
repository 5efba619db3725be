/* fuzz_streams.c - every decoder of entropy-coded streams; the first byte of the input says which. */
#include "seed.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "code/bulk.h"
#include "code/code.h"
#include "code/planes.h"
#include "code/tensor_ways.h"
#include "tensor/types.h"

enum { BULK, PLANES, TENSORS, CODER, KINDS, ROOM = 70000 };

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

static uint8_t *block(void) {
    uint8_t *p = memory_alloc(ROOM);
    if (!p) exit(1);
    for (size_t i = 0; i < ROOM; i++) p[i] = (uint8_t)((i * 37 + i / 100) % 23 + (i % 4 == 3 ? 50 : 0));
    return p;
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

/* 0 to 2 bulk of three sizes, 3 planes, 4 tensors, 5 to 7 the coders */
size_t fuzz_seed(int k, uint8_t **data) {
    static const size_t sizes[] = {5000, 40000, 65535};
    if (k > 7) return 0;
    uint8_t *memory = block(), *base = block();
    pith_bytes out = {NULL, 0};
    size_t n = k < 3 ? sizes[k] : 3000;
    uint8_t kind = k < 3 ? BULK : k == 3 ? PLANES : k == 4 ? TENSORS : CODER;
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
    if (k > 4) {
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

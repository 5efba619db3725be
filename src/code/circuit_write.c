/* code/circuit_write.c - a circuit's parameters as codes, each as fine as it is worth; see circuit_codes.h.
 *
 * A number p of a row that is used by a share w of the pictures costs w (p / q) log(p / q) when it is kept as q: the
 * error of sqrt(w p) squared, whatever p. So sqrt(w p / unit) is rounded, and what rounds to zero shares the floor that
 * keeps its sum. `unit` trades bytes for precision. */
#include "base/memory.h"
#include "base/hash.h"
#include "code/bulk.h"
#include "code/circuit_codes.h"

#include <string.h>

typedef struct code_writer {
    const circuit_tables *t;
    double unit;
    double *share;      /* of each node's states: [node][stride] */
    uint8_t class[256]; /* of codes */
    uint8_t above[256]; /* codes of the row before */
    uint8_t *data[STREAMS];
    size_t size[STREAMS], capacity[STREAMS], first[STREAMS][CODE_PARTS];
    bool failed;
} code_writer;

static void put_code(code_writer *w, uint32_t stream, uint8_t code) {
    if (w->size[stream] == w->capacity[stream] &&
        memory_reserve((void **)&w->data[stream], &w->capacity[stream], w->size[stream] + 1, 1) != 0) {
        w->failed = true;
        return;
    }
    w->data[stream][w->size[stream]++] = code;
}

/* Which floor keeps the sum of what has code 0, in the scale of the codes' squares. */
static uint8_t floor_of(double rest, int32_t zeros) {
    uint8_t best = CODE_FLOORS - 1;
    for (uint8_t f = 0; f < CODE_FLOORS && zeros; f++)
        if ((double)code_floor(f) * 0.85 <= rest / zeros) { /* between neighbors */
            best = f;
            break;
        }
    return best;
}

/* A row of n numbers, `step` apart, of a state that a share of the pictures use. */
static void put_row(code_writer *w, bool emission, const float *value, int32_t n, size_t step, double share) {
    uint8_t code[CIRCUIT_VALUES];
    double most = 1e-30, rest = 0;
    for (int32_t k = 0; k < n; k++) most = fmax(most, (double)value[k * step]);
    /* the largest number has a code of at least 2, so that rows of any use keep a shape, and at most 255 */
    double scale = fmin(fmax(share / w->unit, 4 / most), 255.0 * 255 / most);
    int32_t zeros = 0;
    for (int32_t k = 0; k < n; k++) {
        double squared = (double)value[k * step] * scale;
        code[k] = (uint8_t)lrint(sqrt(squared));
        if (!code[k]) rest += squared, zeros++;
    }
    put_code(w, emission ? STREAM_EMIT_FLOORS : STREAM_MOVE_FLOORS, floor_of(rest, zeros));
    for (int32_t k = 0, before = 0; k < n; k++) {
        uint32_t context = (uint32_t)w->class[before] * CODE_CLASSES + w->class[w->above[k]];
        put_code(w, (emission ? STREAM_EMIT : STREAM_MOVE) + context, code[k]);
        w->above[k] = code[k];
        before = code[k];
    }
}

static void put_node(code_writer *w, int32_t i) {
    const circuit_tables *t = w->t;
    const size_t stride = (size_t)t->stride, at = i * stride * stride;
    const double *share = w->share + i * stride, *above = i ? w->share + (size_t)t->tree->parent[i] * stride : NULL;
    memset(w->above, 0, CIRCUIT_VALUES);
    for (int32_t j = 0; j < (t->tree->bare[i] ? 0 : i ? t->own[t->tree->parent[i]] : 1); j++)
        put_row(w, false, t->move + at + (size_t)j * stride, t->own[i], 1, above ? above[j] : 1);
    memset(w->above, 0, CIRCUIT_VALUES);
    for (int32_t k = 0; k < t->own[i]; k++)
        put_row(w, true, t->emit + i * stride * CIRCUIT_VALUES + (size_t)k, CIRCUIT_VALUES, stride, share[k]);
}

/* How often each state is used: top down, nothing being known. */
static void find_shares(code_writer *w) {
    const circuit_tables *t = w->t;
    const size_t stride = (size_t)t->stride;
    for (int32_t i = 0; i < t->tree->nodes; i++) {
        double *to = w->share + i * stride;
        const double *from = i ? w->share + (size_t)t->tree->parent[i] * stride : NULL;
        const float *move = t->move + i * stride * stride;
        for (size_t k = 0; k < stride; k++) to[k] = !i ? (double)move[k] : t->tree->bare[i] ? from[k] : 0;
        for (int32_t j = 0; i && !t->tree->bare[i] && j < t->own[t->tree->parent[i]]; j++)
            for (size_t k = 0; k < stride; k++) to[k] += from[j] * (double)move[(size_t)j * stride + k];
    }
}

static size_t put_tree(uint8_t *p, const circuit_tables *t) {
    const int32_t nodes = t->tree->nodes;
    uint8_t *bare = p + 4 * (size_t)nodes, *own = bare + (nodes + 7) / 8;
    for (int32_t i = 0; i < nodes; i++) {
        put16(p + 2 * i, i ? (uint32_t)t->tree->parent[i] : 0xffff);
        put16(p + 2 * (nodes + i), (uint32_t)t->tree->pixel[i]);
        bare[i / 8] |= (uint8_t)(t->tree->bare[i] << (i & 7));
        put16(own + 2 * i, (uint32_t)t->own[i]);
    }
    return 6 * (size_t)nodes + ((size_t)nodes + 7) / 8;
}

static void put_header(uint8_t *p, const circuit_tables *t) {
    memcpy(p, code_magic, sizeof code_magic);
    p[4] = CODE_VERSION;
    put16(p + 6, (uint32_t)t->states), put16(p + 8, (uint32_t)t->tree->width), put16(p + 10, (uint32_t)t->tree->height);
    put16(p + 12, (uint32_t)t->tree->channels);
}

static pith_status put_file(const code_writer *w, pith_bytes *out, pith_error *err) {
    pith_bytes coded[STREAMS] = {0};
    const size_t nodes = (size_t)w->t->tree->nodes, table = CODE_HEADER + 6 * nodes + (nodes + 7) / 8;
    size_t total = table + STREAMS * CODE_STREAM_ENTRY + 8, at = total - 8;
    pith_status status = PITH_OK;
    for (int i = 0; i < STREAMS && !status; i++) {
        if (w->size[i] > UINT32_MAX)
            status = pith_fail(err, PITH_LIMIT, NULL, -1, "expected a circuit of fewer numbers");
        else if (w->size[i]) status = bulk_encode((pith_bytes){w->data[i], w->size[i]}, BULK_PRECISE, &coded[i], err);
        if (status) coded[i] = (pith_bytes){0};
        total += coded[i].size;
    }
    uint8_t *p = status ? NULL : memory_zero(total, 1);
    if (!status && !p) status = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for a model of %zu bytes", total);
    if (!status) {
        put_header(p, w->t);
        put_tree(p + CODE_HEADER, w->t);
        for (int i = 0; i < STREAMS; i++) {
            uint8_t *entry = p + table + i * CODE_STREAM_ENTRY;
            put32(entry, (uint32_t)w->size[i]), put32(entry + 4, (uint32_t)coded[i].size);
            for (int part = 1; part < CODE_PARTS; part++) put32(entry + 4 + 4 * part, (uint32_t)w->first[i][part]);
            if (coded[i].size) memcpy(p + at, coded[i].data, coded[i].size);
            at += coded[i].size;
        }
        put64(p + at, hash_bytes(p, total - 8));
        *out = (pith_bytes){p, total};
    }
    for (int i = 0; i < STREAMS; i++) memory_free((void *)coded[i].data);
    return status;
}

pith_status circuit_write(const circuit_tables *t, double unit, pith_bytes *out, pith_error *err) {
    code_writer *w = memory_zero(1, sizeof *w);
    if (!w) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for the codes of a model");
    w->t = t, w->unit = unit;
    w->share = memory_zero((size_t)t->tree->nodes * (size_t)t->stride, sizeof *w->share);
    w->failed = !w->share;
    for (uint32_t c = 0; c < 256; c++) w->class[c] = code_class(c);
    if (!w->failed) find_shares(w);
    for (int part = 0; part < CODE_PARTS && !w->failed; part++) {
        for (int i = 0; i < STREAMS; i++) w->first[i][part] = w->size[i];
        for (int32_t i = code_part(t->tree->nodes, part); i < code_part(t->tree->nodes, part + 1); i++) put_node(w, i);
    }
    pith_status status = w->failed ? pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for the codes of a model")
                                   : put_file(w, out, err);
    for (int i = 0; i < STREAMS; i++) memory_free(w->data[i]);
    memory_free(w->share);
    memory_free(w);
    return status;
}

/* code/circuit_file.c - a circuit's model file: tree, then parameters as small codes, entropy-coded in context.
 *
 * A parameter is kept as an exponent and up to three bits of mantissa, an exact float again when read (a step of 9 %
 * costs 0.0005 bit a value coded). Codes stand node by node, state by state; each goes to the stream of its context,
 * the code before it (of a move: its exponent), and every stream is coded in bulk. All little-endian:
 *
 *     0  "PCRC", u8 version 1, u8 precision, u16 states, u16 width, u16 height, u16 channels, u16 zero
 *    16  u16 parent of each node (0xffff: root), u16 pixel of each node, a bit per node: bare (first node lowest)
 *        u32 codes, u32 bytes of each stream: contexts of move, contexts of emit; the streams
 *        u64 XXH3 of all before
 */
#include "code/circuit.h"

#include "base/hash.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "code/bulk.h"

#include <math.h>
#include <string.h>

enum { HEADER = 16, EXPONENTS = 25, CONTEXTS = EXPONENTS + 1, STREAMS = CONTEXTS + 256, VERSION = 1 };

static const char magic[4] = {'P', 'C', 'R', 'C'};

static void put16(uint8_t *p, uint32_t v) { p[0] = (uint8_t)v, p[1] = (uint8_t)(v >> 8); }
static uint32_t get16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }
static void put32(uint8_t *p, uint32_t v) { put16(p, v & 0xffff), put16(p + 2, v >> 16); }
static uint32_t get32(const uint8_t *p) { return get16(p) | get16(p + 2) << 16; }
static void put64(uint8_t *p, uint64_t v) { put32(p, (uint32_t)v), put32(p + 4, (uint32_t)(v >> 32)); }
static uint64_t get64(const uint8_t *p) { return get32(p) | (uint64_t)get32(p + 4) << 32; }

/* Code 0 is the floor; code c has exponent (c - 1) >> precision, counted from 2^-24, below a leading one. */
static float code_value(uint32_t code, int precision) {
    if (code == 0) return 0x1p-26f;
    uint32_t steps = 1u << precision, mantissa = steps + ((code - 1) & (steps - 1));
    return ldexpf((float)mantissa, (int)((code - 1) >> precision) - (EXPONENTS - 1) - precision);
}

static uint32_t code_context(uint32_t code, int precision) { return code ? 1 + ((code - 1) >> precision) : 0; }

/* Codes in use: up to that of 1. */
static uint32_t code_limit(int precision) { return ((EXPONENTS - 1u) << precision) + 1; }

static uint8_t value_code(float value, int precision, float least) {
    if (!(value >= least) || value < 0x1p-24f) return 0;
    if (value >= 1) return (uint8_t)code_limit(precision);
    int exponent;
    float mantissa = 2 * frexpf(value, &exponent); /* value = mantissa * 2^(exponent - 1), mantissa in [1, 2) */
    uint32_t step = (uint32_t)lrintf((mantissa - 1) * (float)(1 << precision));
    return (uint8_t)(1 + ((uint32_t)(exponent - 1 + EXPONENTS - 1) << precision) + step);
}

typedef struct code_streams { /* per context, while writing */
    uint8_t *data[STREAMS];
    size_t size[STREAMS], capacity[STREAMS];
    bool failed;
} code_streams;

static void put_code(code_streams *s, uint32_t stream, uint8_t code) {
    if (s->size[stream] == s->capacity[stream] &&
        memory_reserve((void **)&s->data[stream], &s->capacity[stream], s->size[stream] + 1, 1) != 0) {
        s->failed = true;
        return;
    }
    s->data[stream][s->size[stream]++] = code;
}

static void split_codes(const circuit_tree *t, int32_t states, const float *move, const float *emit, int precision,
                        float least, code_streams *out) {
    size_t stride = (size_t)circuit_stride(states);
    for (int32_t i = 0; i < t->nodes; i++) {
        for (int32_t j = 0; j < (t->bare[i] ? 0 : i ? states : 1); j++)
            for (int32_t k = 0, before = 0; k < states; k++) {
                uint8_t code = value_code(move[(i * stride + (size_t)j) * stride + (size_t)k], precision, least);
                put_code(out, code_context((uint32_t)before, precision), code);
                before = code;
            }
        for (int32_t k = 0; k < states; k++)
            for (int32_t v = 0, before = 0; v < CIRCUIT_VALUES; v++) {
                float value = emit[((size_t)i * CIRCUIT_VALUES + (size_t)v) * stride + (size_t)k];
                uint8_t code = value_code(value, precision, least);
                put_code(out, CONTEXTS + (uint32_t)before, code);
                before = code;
            }
    }
}

static size_t tree_bytes(int32_t nodes) { return (size_t)nodes * 4 + ((size_t)nodes + 7) / 8; }

static void put_tree(uint8_t *p, const circuit_tree *t) {
    for (int32_t i = 0; i < t->nodes; i++) {
        put16(p + 2 * i, i ? (uint32_t)t->parent[i] : 0xffff);
        put16(p + 2 * (t->nodes + i), (uint32_t)t->pixel[i]);
        p[4 * t->nodes + i / 8] |= (uint8_t)(t->bare[i] << (i & 7));
    }
}

static pith_status put_streams(const circuit_tree *t, int32_t states, int precision, code_streams *s, pith_bytes *out,
                               pith_error *err) {
    pith_bytes coded[STREAMS] = {0};
    size_t head = HEADER + tree_bytes(t->nodes) + STREAMS * 8, total = head + 8;
    pith_status status = PITH_OK;
    for (int i = 0; i < STREAMS && !status; i++) {
        if (s->size[i]) status = bulk_encode((pith_bytes){s->data[i], s->size[i]}, BULK_PRECISE, &coded[i], err);
        if (status) coded[i] = (pith_bytes){0};
        total += coded[i].size;
    }
    uint8_t *p = status ? NULL : memory_zero(total, 1);
    if (!status && !p) status = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for a model of %zu bytes", total);
    if (!status) {
        memcpy(p, magic, 4);
        p[4] = VERSION, p[5] = (uint8_t)precision;
        put16(p + 6, (uint32_t)states), put16(p + 8, (uint32_t)t->width), put16(p + 10, (uint32_t)t->height);
        put16(p + 12, (uint32_t)t->channels);
        put_tree(p + HEADER, t);
        uint8_t *at = p + head;
        for (int i = 0; i < STREAMS; i++) {
            put32(p + head - STREAMS * 8 + 8 * i, (uint32_t)s->size[i]);
            put32(p + head - STREAMS * 8 + 8 * i + 4, (uint32_t)coded[i].size);
            if (coded[i].size) memcpy(at, coded[i].data, coded[i].size);
            at += coded[i].size;
        }
        put64(at, hash_bytes(p, total - 8));
        *out = (pith_bytes){p, total};
    }
    for (int i = 0; i < STREAMS; i++) memory_free((void *)coded[i].data);
    return status;
}

pith_status circuit_write(const circuit_tree *t, int32_t states, const float *move, const float *emit, int precision,
                          float least, pith_bytes *out, pith_error *err) {
    code_streams s = {0};
    split_codes(t, states, move, emit, precision, least, &s);
    pith_status status = s.failed ? pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for the codes of a model")
                                  : put_streams(t, states, precision, &s, out, err);
    for (int i = 0; i < STREAMS; i++) memory_free(s.data[i]);
    return status;
}

typedef struct code_reader { /* decoded streams, and how far each was used */
    uint8_t *data;
    const uint8_t *next[STREAMS], *end[STREAMS];
    uint8_t *code; /* all codes in order: per node move, then emit [state][value] */
    size_t *first; /* of each node in code */
    float value[256];
    int precision;
} code_reader;

static size_t node_codes(const circuit *c, int32_t i) {
    size_t states = (size_t)c->states;
    return (c->tree.bare[i] ? 0 : i ? states * states : states) + states * CIRCUIT_VALUES;
}

/* Brings the codes of rows of n back from their streams; false when a stream ends early or a code is none. */
static bool join_codes(code_reader *r, uint32_t base, uint8_t **to, size_t rows, size_t n) {
    uint8_t context[256];
    uint32_t limit = code_limit(r->precision);
    for (uint32_t v = 0; v < 256; v++) context[v] = (uint8_t)(base ? v : v > limit ? 0 : code_context(v, r->precision));
    for (; rows > 0; rows--)
        for (size_t k = 0, before = 0; k < n; k++) {
            uint32_t stream = base + context[before];
            if (r->next[stream] == r->end[stream] || *r->next[stream] > limit) return false;
            before = *(*to)++ = *r->next[stream]++;
        }
    return true;
}

static bool join_nodes(code_reader *r, const circuit *c) {
    uint8_t *to = r->code;
    size_t states = (size_t)c->states;
    for (int32_t i = 0; i < c->tree.nodes; i++) {
        r->first[i] = (size_t)(to - r->code);
        if (!c->tree.bare[i] && !join_codes(r, 0, &to, i ? states : 1, states)) return false;
        if (!join_codes(r, CONTEXTS, &to, states, CIRCUIT_VALUES)) return false;
    }
    for (int s = 0; s < STREAMS; s++)
        if (r->next[s] != r->end[s]) return false;
    return true;
}

typedef struct expansion {
    circuit *c;
    const code_reader *r;
} expansion;

/* Numbers of a row, divided by their sum: additions from left to right, the same everywhere. */
static void expand_row(const float *value, const uint8_t *code, int32_t n, float *row) {
    float sum = 0;
    for (int32_t k = 0; k < n; k++) sum += value[code[k]];
    for (int32_t k = 0; k < n; k++) row[k] = value[code[k]] / sum;
}

static void expand_node(const expansion *e, int32_t i) {
    circuit *c = e->c;
    const size_t stride = (size_t)c->stride, states = (size_t)c->states;
    const uint8_t *code = e->r->code + e->r->first[i];
    float *move = c->move + i * stride * stride, *back = c->back + i * stride * stride;
    float *emit = c->emit + i * stride * CIRCUIT_VALUES, *group = c->group + i * stride * CIRCUIT_LANES;
    for (size_t j = 0; j < (c->tree.bare[i] ? 0 : i ? states : 1); j++, code += states) {
        expand_row(e->r->value, code, c->states, move + j * stride);
        for (size_t k = 0; k < states; k++) back[k * stride + j] = move[j * stride + k];
    }
    for (size_t k = 0; k < states; k++, code += CIRCUIT_VALUES) {
        float row[CIRCUIT_VALUES];
        expand_row(e->r->value, code, CIRCUIT_VALUES, row);
        for (size_t g = 0; g < CIRCUIT_LANES; g++) {
            float sum = 0;
            for (size_t v = 0; v < CIRCUIT_LANES; v++) sum += row[g * CIRCUIT_LANES + v];
            group[k * CIRCUIT_LANES + g] = sum;
            memcpy(emit + (g * stride + k) * CIRCUIT_LANES, row + g * CIRCUIT_LANES, CIRCUIT_LANES * sizeof *row);
        }
    }
}

static void expand_nodes(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    for (int64_t i = begin; i < end; i++) expand_node(user, (int32_t)i);
}

static bool get_tree(const uint8_t *p, circuit_tree *t) {
    for (int32_t i = 0; i < t->nodes; i++) {
        uint32_t parent = get16(p + 2 * i);
        t->parent[i] = i || parent != 0xffff ? (int32_t)parent : -1;
        t->pixel[i] = (int32_t)get16(p + 2 * (t->nodes + i));
        t->bare[i] = p[4 * t->nodes + i / 8] >> (i & 7) & 1;
    }
    return circuit_tree_check(t);
}

static pith_status allocate(circuit *c, uint64_t limit, pith_error *err) {
    size_t rows = (size_t)c->tree.nodes * (size_t)c->stride, stride = (size_t)c->stride; /* < 2^24, <= 2^8 */
    uint64_t need = rows * (2 * stride + CIRCUIT_VALUES + CIRCUIT_LANES) * sizeof(float);
    if (need > limit)
        return pith_fail(err, PITH_LIMIT, NULL, -1, "expected a model of at most %llu bytes of memory, found %llu",
                         (unsigned long long)limit, (unsigned long long)need);
    c->move = memory_zero(rows, stride * sizeof *c->move);
    c->back = memory_zero(rows, stride * sizeof *c->back);
    c->emit = memory_zero(rows, CIRCUIT_VALUES * sizeof *c->emit);
    c->group = memory_zero(rows, CIRCUIT_LANES * sizeof *c->group);
    if (c->move && c->back && c->emit && c->group) return PITH_OK;
    return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for a model of %llu bytes", (unsigned long long)need);
}

static pith_status damaged(pith_error *err) {
    return pith_fail(err, PITH_CORRUPT, "circuit", -1, "expected a circuit model, found damaged data");
}

/* Decodes the streams behind the tree and expands them. */
static pith_status read_codes(circuit *c, pith_bytes in, size_t head, int precision, pith_error *err) {
    size_t total = 0, at = head, used = 0;
    const uint8_t *table = in.data + head - STREAMS * 8;
    for (int32_t i = 0; i < c->tree.nodes; i++) total += node_codes(c, i);
    code_reader r = {.precision = precision};
    r.data = memory_alloc(total);
    r.code = memory_alloc(total);
    r.first = memory_alloc((size_t)c->tree.nodes * sizeof *r.first);
    pith_status s = PITH_OK;
    if (!r.data || !r.code || !r.first) s = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for %zu codes", total);
    for (int i = 0; i < STREAMS && !s; i++) {
        size_t codes = get32(table + 8 * i), bytes = get32(table + 8 * i + 4);
        if (codes > total - used || bytes > in.size - 8 - at || (codes == 0) != (bytes == 0)) {
            s = damaged(err);
            break;
        }
        if (codes) s = bulk_decode((pith_bytes){in.data + at, bytes}, (pith_bytes){r.data + used, codes}, err);
        r.next[i] = r.data + used, r.end[i] = r.data + used + codes;
        at += bytes, used += codes;
    }
    if (!s && (at != in.size - 8 || used != total || !join_nodes(&r, c))) s = damaged(err);
    if (!s) {
        for (uint32_t v = 0; v <= code_limit(precision); v++) r.value[v] = code_value(v, precision);
        expansion e = {c, &r};
        parallel_for(c->tree.nodes, 16, expand_nodes, &e);
    }
    memory_free(r.data);
    memory_free(r.code);
    memory_free(r.first);
    return s;
}

uint64_t circuit_name(pith_bytes in) { return in.size > HEADER + 8 ? get64(in.data + in.size - 8) : 0; }

pith_status circuit_read(pith_bytes in, uint64_t memory_limit, circuit **out, pith_error *err) {
    *out = NULL;
    if (in.size < HEADER + 8 || memcmp(in.data, magic, 4) != 0)
        return pith_fail(err, PITH_CORRUPT, "circuit", 0, "expected a circuit model, found something else");
    if (in.data[4] != VERSION)
        return pith_fail(err, PITH_UNSUPPORTED, "circuit", 4, "expected version %d, found %d", VERSION, in.data[4]);
    if (hash_bytes(in.data, in.size - 8) != circuit_name(in)) return damaged(err);
    int precision = in.data[5];
    circuit *c = memory_zero(1, sizeof *c);
    if (!c) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for a circuit");
    c->states = (int32_t)get16(in.data + 6);
    c->stride = circuit_stride(c->states);
    c->hash = circuit_name(in);
    pith_status s = circuit_tree_new(&c->tree, (int32_t)get16(in.data + 8), (int32_t)get16(in.data + 10),
                                     (int32_t)get16(in.data + 12), err);
    size_t head = HEADER + tree_bytes(c->tree.nodes) + STREAMS * 8;
    if (!s && (c->states < 1 || c->states > CIRCUIT_MAX_STATES || precision < 1 || precision > 3 ||
               get16(in.data + 14) || head + 8 > in.size || !get_tree(in.data + HEADER, &c->tree)))
        s = damaged(err);
    if (!s) s = allocate(c, memory_limit, err);
    if (!s) s = read_codes(c, in, head, precision, err);
    if (s) circuit_free(c);
    else *out = c;
    return s;
}

void circuit_free(circuit *c) {
    if (!c) return;
    circuit_tree_free(&c->tree);
    memory_free(c->move);
    memory_free(c->back);
    memory_free(c->emit);
    memory_free(c->group);
    memory_free(c);
}

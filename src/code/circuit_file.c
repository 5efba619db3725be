/* code/circuit_file.c - reading a circuit's model file: tree, streams, codes; see circuit_codes.h.
 *
 * Dealing codes back from some three hundred streams takes three nanoseconds each, in CODE_PARTS parts at once. */
#include "base/hash.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "code/bulk.h"
#include "code/circuit_codes.h"
#include "code/circuit_expand.h"

#include <stdatomic.h>
#include <string.h>

enum { EXPONENTS = 25, OLD_EMIT = EXPONENTS + 1, OLD_STREAMS = OLD_EMIT + 256, MAX_STREAMS = STREAMS };
_Static_assert((int)OLD_STREAMS <= (int)MAX_STREAMS, "room for the streams of either version");

typedef struct row_kind { /* how the codes of moves, or of emissions, were dealt to streams */
    uint16_t first;       /* of their streams */
    int16_t floors;       /* stream of their floors; -1: none */
    uint16_t left[256];   /* by the code to the left, */
    uint8_t above[256];   /* and by that above */
} row_kind;

typedef struct code_reader {
    circuit *c;
    int streams, parts;
    uint32_t limit; /* the largest code there is */
    row_kind move, emit;
    uint8_t *data, *codes; /* streams one after the other; codes in order: see circuit_codes */
    const uint8_t *begin[CODE_PARTS + 1][MAX_STREAMS]; /* of each part in each stream, and the end */
    atomic_bool damaged;
} code_reader;

static pith_status damaged(pith_error *err) {
    return pith_fail(err, PITH_CORRUPT, "circuit", -1, "expected a circuit model, found damaged data");
}

/* Version 1: streams by the exponent of the code to the left, or by that code. */
static void set_old_kinds(code_reader *r, int precision) {
    r->streams = OLD_STREAMS, r->parts = 1;
    r->limit = ((EXPONENTS - 1u) << precision) + 1;
    r->move = (row_kind){.floors = -1};
    r->emit = (row_kind){.first = OLD_EMIT, .floors = -1};
    for (uint32_t code = 1; code < 256; code++) {
        r->move.left[code] = code <= r->limit ? (uint16_t)(1 + ((code - 1) >> precision)) : 0;
        r->emit.left[code] = (uint16_t)code;
    }
}

static void set_kinds(code_reader *r) {
    r->streams = STREAMS, r->parts = CODE_PARTS;
    r->limit = 255;
    r->move = (row_kind){.first = STREAM_MOVE, .floors = STREAM_MOVE_FLOORS};
    for (uint32_t code = 0; code < 256; code++) {
        r->move.left[code] = (uint16_t)(code_class(code) * CODE_CLASSES);
        r->move.above[code] = code_class(code);
    }
    r->emit = r->move;
    r->emit.first = STREAM_EMIT, r->emit.floors = STREAM_EMIT_FLOORS;
}

/* Brings back `rows` rows of n codes; false when a stream ends early or a code is none. */
static bool join_rows(const code_reader *r, const row_kind *kind, const uint8_t **next, const uint8_t *const *end,
                      uint8_t **to, int32_t rows, int32_t n) {
    uint8_t above[256] = {0};
    for (; rows > 0; rows--) {
        if (kind->floors >= 0) {
            if (next[kind->floors] == end[kind->floors] || *next[kind->floors] >= CODE_FLOORS) return false;
            *(*to)++ = *next[kind->floors]++;
        }
        for (int32_t k = 0, before = 0; k < n; k++) {
            uint32_t stream = (uint32_t)kind->first + kind->left[before] + kind->above[above[k]];
            if (next[stream] == end[stream] || *next[stream] > r->limit) return false;
            before = above[k] = *(*to)++ = *next[stream]++;
        }
    }
    return true;
}

static void join_part(code_reader *r, int part) {
    const circuit *c = r->c;
    const uint8_t *next[MAX_STREAMS];
    const uint8_t *const *end = r->begin[part + 1];
    int32_t last = r->parts == 1 ? c->tree.nodes : code_part(c->tree.nodes, part + 1);
    memcpy(next, r->begin[part], sizeof next);
    for (int32_t i = r->parts == 1 ? 0 : code_part(c->tree.nodes, part); i < last; i++) {
        uint8_t *to = r->codes + c->node[i].codes;
        int32_t above = c->tree.bare[i] ? 0 : i ? c->node[c->tree.parent[i]].states : 1;
        if (!join_rows(r, &r->move, next, end, &to, above, c->node[i].states) ||
            !join_rows(r, &r->emit, next, end, &to, c->node[i].states, CIRCUIT_VALUES)) {
            atomic_store(&r->damaged, true);
            return;
        }
    }
    for (int s = 0; s < r->streams; s++)
        if (next[s] != end[s]) atomic_store(&r->damaged, true);
}

static void join_parts(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    for (int64_t part = begin; part < end; part++) join_part(user, (int)part);
}

/* Decodes the streams, whose table begins at `head`, and finds where each part begins in them. */
static pith_status read_streams(code_reader *r, pith_bytes in, size_t head, size_t total, pith_error *err) {
    const size_t entry = 4 * (size_t)(2 + r->parts - 1);
    size_t at = head + (size_t)r->streams * entry, used = 0;
    for (int i = 0; i < r->streams; i++) {
        const uint8_t *table = in.data + head + (size_t)i * entry;
        size_t codes = get32(table), bytes = get32(table + 4);
        if (codes > total - used || bytes > in.size - 8 - at || (codes == 0) != (bytes == 0)) return damaged(err);
        uint8_t *data = r->data + used;
        pith_status s =
            codes ? bulk_decode((pith_bytes){in.data + at, bytes}, (pith_bytes){data, codes}, err) : PITH_OK;
        if (s) return s;
        r->begin[0][i] = data, r->begin[r->parts][i] = data + codes;
        for (int part = 1; part < r->parts; part++) {
            size_t first = get32(table + 4 + 4 * part);
            if (first > codes || data + first < r->begin[part - 1][i]) return damaged(err);
            r->begin[part][i] = data + first;
        }
        at += bytes, used += codes;
    }
    return at == in.size - 8 && used == total ? PITH_OK : damaged(err);
}

static pith_status read_codes(circuit *c, pith_bytes in, size_t head, int precision, pith_error *err) {
    size_t total = 0;
    code_reader *r = memory_zero(1, sizeof *r);
    if (!r) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for a circuit");
    r->c = c;
    if (precision) set_old_kinds(r, precision);
    else set_kinds(r);
    for (int32_t i = 0; i < c->tree.nodes; i++) {
        size_t states = (size_t)c->node[i].states, floor = r->move.floors >= 0, rows = i ? 0 : 1;
        if (i) rows = (size_t)c->node[c->tree.parent[i]].states;
        c->node[i].codes = total;
        total += (c->tree.bare[i] ? 0 : rows * (floor + states)) + states * (floor + CIRCUIT_VALUES);
    }
    r->data = memory_alloc(total);
    r->codes = memory_alloc(total);
    pith_status s = PITH_OK;
    if (!r->data || !r->codes) s = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for %zu codes", total);
    if (!s) s = read_streams(r, in, head, total, err);
    if (!s) {
        parallel_for(r->parts, 1, join_parts, r);
        if (atomic_load(&r->damaged)) s = damaged(err);
    }
    if (!s) s = circuit_expand(c, r->codes, precision, err);
    memory_free(r->data);
    memory_free(r->codes);
    memory_free(r);
    return s;
}

/* The tree, and how many states each node has: all the same in version 1. */
static bool get_tree(const uint8_t *p, int32_t states, bool each, circuit *c) {
    circuit_tree *t = &c->tree;
    const uint8_t *bare = p + 4 * (size_t)t->nodes, *own = bare + (t->nodes + 7) / 8;
    for (int32_t i = 0; i < t->nodes; i++) {
        uint32_t parent = get16(p + 2 * i);
        t->parent[i] = i || parent != 0xffff ? (int32_t)parent : -1;
        t->pixel[i] = (int32_t)get16(p + 2 * (t->nodes + i));
        t->bare[i] = bare[i / 8] >> (i & 7) & 1;
    }
    if (!circuit_tree_check(t)) return false;
    for (int32_t i = 0; i < t->nodes; i++) {
        circuit_node *n = &c->node[i];
        n->states = each ? (int32_t)get16(own + 2 * i) : states;
        if (n->states < 1 || n->states > states) return false;
        if (t->bare[i] && n->states != c->node[t->parent[i]].states) return false;
        n->width = circuit_stride(n->states);
        n->above = i ? c->node[t->parent[i]].width : CIRCUIT_LANES;
    }
    return true;
}

uint64_t circuit_name(pith_bytes in) { return in.size > CODE_HEADER + 8 ? get64(in.data + in.size - 8) : 0; }

/* Everything behind the magic and the version. */
static pith_status read_body(circuit *c, pith_bytes in, uint64_t memory_limit, pith_error *err) {
    const bool old = in.data[4] == 1;
    const int precision = in.data[5], states = (int)get16(in.data + 6);
    pith_status s = circuit_tree_new(&c->tree, (int32_t)get16(in.data + 8), (int32_t)get16(in.data + 10),
                                     (int32_t)get16(in.data + 12), err);
    if (s) return s;
    const size_t nodes = (size_t)c->tree.nodes, head = CODE_HEADER + (old ? 4 : 6) * nodes + (nodes + 7) / 8;
    const size_t table = old ? OLD_STREAMS * 8 : STREAMS * CODE_STREAM_ENTRY;
    c->node = memory_zero(nodes, sizeof *c->node);
    if (!c->node) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for a circuit of %zu nodes", nodes);
    if (states < 1 || states > CIRCUIT_MAX_STATES || (old ? precision < 1 || precision > 3 : precision != 0) ||
        get16(in.data + 14) || head + table + 8 > in.size || !get_tree(in.data + CODE_HEADER, states, !old, c))
        return damaged(err);
    c->stride = circuit_stride(states);
    s = circuit_allocate(c, memory_limit, err);
    return s ? s : read_codes(c, in, head, precision, err);
}

pith_status circuit_read(pith_bytes in, uint64_t memory_limit, circuit **out, pith_error *err) {
    *out = NULL;
    if (in.size < CODE_HEADER + 8 || memcmp(in.data, code_magic, sizeof code_magic) != 0)
        return pith_fail(err, PITH_CORRUPT, "circuit", 0, "expected a circuit model, found something else");
    if (in.data[4] < 1 || in.data[4] > CODE_VERSION)
        return pith_fail(err, PITH_UNSUPPORTED, "circuit", 4, "expected version 1 or %d, found %d", CODE_VERSION,
                         in.data[4]);
    if (hash_bytes(in.data, in.size - 8) != circuit_name(in)) return damaged(err);
    circuit *c = memory_zero(1, sizeof *c);
    if (!c) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for a circuit");
    c->hash = circuit_name(in);
    pith_status s = read_body(c, in, memory_limit, err);
    if (s) circuit_free(c);
    else *out = c;
    return s;
}

void circuit_free(circuit *c) {
    if (!c) return;
    circuit_tree_free(&c->tree);
    memory_free(c->node);
    pith_buffer_release(c->numbers);
    memory_free(c);
}

/* code/circuit.h - hidden Chow-Liu trees: the shape that learner and coder share.
 *
 * A picture of D values (a pixel's channel each) is a tree of D nodes. Node i sees one value x_i and has a hidden state
 * z_i of M; p(x) = sum_z prod_i A_i[z_parent][z_i] B_i[z_i][x_i]. Nodes stand in coding order: depth first, so that a
 * parent precedes its children and a subtree is a run of nodes. */
#ifndef CODE_CIRCUIT_H
#define CODE_CIRCUIT_H

#include "pith/status.h"
#include "tensor/tensor.h"

enum { CIRCUIT_VALUES = 256, CIRCUIT_LANES = 16, CIRCUIT_MAX_STATES = 256, CIRCUIT_MAX_NODES = 1 << 16 };

typedef struct circuit_tree {
    int32_t nodes;
    int32_t width, height, channels; /* nodes = width * height * channels */
    int32_t *parent;                 /* of node i, < i; -1 for the root, node 0 */
    int32_t *pixel;                  /* which value of the picture (rows first, channels last) node i sees */
    int32_t *size;                   /* nodes in the subtree of i, itself included */
    uint8_t *bare; /* node has no state of its own: it sees its parent's (a leaf of the paper's circuit) */
} circuit_tree;

/* All arrays zeroed. Free with circuit_tree_free, safe on zeroed. */
pith_status circuit_tree_new(circuit_tree *t, int32_t width, int32_t height, int32_t channels, pith_error *err);
void circuit_tree_free(circuit_tree *t);
/* Fills size from parent; true when parent describes a depth-first order, pixel a permutation and bare only leaves. */
bool circuit_tree_check(circuit_tree *t);

/* States rounded up to whole vectors: the stride of every array over states. */
static inline int32_t circuit_stride(int32_t states) {
    return (states + CIRCUIT_LANES - 1) / CIRCUIT_LANES * CIRCUIT_LANES;
}

/* A node as read from its file, in exact binary fractions, the same on every machine. Widths are numbers of states in
 * whole vectors; entries past a node's own states are zero. */
typedef struct circuit_node {
    int32_t states, width; /* of a bare node: its parent's */
    int32_t above;         /* width of its parent; of the root, which hangs on a single state: CIRCUIT_LANES */
    uint8_t common;        /* its likeliest value */
    size_t codes;          /* where its codes begin while the file is read */
    float *move;           /* [parent's state][own state]; NULL for a bare node */
    float *back;           /* the same transposed */
    float *often;          /* [state]: emission of the common value */
    float *emit;           /* [value / 16][state][value % 16], the common value's place being zero */
    float *group;          /* [state][value / 16]: sums of emit over 16 values */
    float *all;            /* [parent's state]: probability that its subtree has common values alone, at least 2^-100 */
} circuit_node;

typedef struct circuit {
    circuit_tree tree;
    int32_t stride; /* the largest width */
    uint64_t hash;  /* XXH3 of the file: the model's name */
    circuit_node *node;
    pith_buffer *numbers; /* what the nodes point into */
} circuit;

/* A model to write: every array over states has stride `stride`. */
typedef struct circuit_tables {
    const circuit_tree *tree;
    int32_t states, stride; /* states: the most a node has */
    const int32_t *own;     /* states of each node; of a bare node: its parent's */
    const float *move;      /* [node][parent's state][own state], rows summing to 1; the root uses row 0 */
    const float *emit;      /* [node][value][state], summing to 1 over values */
} circuit_tables;

/* Writes a model. unit: the share of all pictures that is the smallest one to be told from none, 0..1: numbers are kept
 * the finer, the more often they are used (code/circuit_write.c). out->data is the caller's to memory_free. */
pith_status circuit_write(const circuit_tables *t, double unit, pith_bytes *out, pith_error *err);
/* Refuses any changed byte. memory_limit: bytes the model may hold. */
pith_status circuit_read(pith_bytes in, uint64_t memory_limit, circuit **out, pith_error *err);
void circuit_free(circuit *c); /* safe on NULL */
/* The name a model has, without reading more than its last bytes; 0 when it cannot be one. */
uint64_t circuit_name(pith_bytes in);

/* Pictures are coded in segments of CIRCUIT_SEGMENT: the one entry of the index. Within a segment a picture follows the
 * other without a gap; segments go through the circuit side by side. */
enum { CIRCUIT_SEGMENT = 64 };
static inline int64_t circuit_segments(int64_t pictures) { return (pictures + CIRCUIT_SEGMENT - 1) / CIRCUIT_SEGMENT; }

/* Codes `count` pictures (rows of tree.nodes values). out->data and *sizes (bytes of each segment) are the caller's to
 * memory_free. The same bytes on every machine, instruction set and number of threads. */
pith_status circuit_encode(const circuit *c, const pith_context *context, const uint8_t *pictures, int64_t count,
                           pith_bytes *out, uint32_t **sizes, pith_error *err);
/* Decodes `count` pictures that stand in whole segments (the last may be short), whose bytes follow each other in `in`.
 * bits: what each picture cost, or NULL. TRUNCATED or CORRUPT where a segment does not end as the encoder ends it. */
pith_status circuit_decode(const circuit *c, const pith_context *context, pith_bytes in, const uint32_t *sizes,
                           int64_t count, uint8_t *pictures, float *bits, pith_error *err);

/* Exact conditionals: for each picture and each node i with missing[pixel of i], the distribution of its value given
 * all values that are not missing goes to `each` (256 numbers that sum to 1; the values under missing pixels are not
 * looked at). `user` is passed on; calls come from one thread, picture by picture. */
typedef void circuit_each(void *user, int64_t picture, int32_t pixel, const float *distribution);
pith_status circuit_conditionals(const circuit *c, const pith_context *context, const uint8_t *pictures, int64_t count,
                                 const uint8_t *missing, circuit_each *each, void *user, pith_error *err);

#endif

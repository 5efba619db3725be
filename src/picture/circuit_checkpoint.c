/* picture/circuit_checkpoint.c - what must agree for going on, how far it went, the parameters, a hash of all. Only
 * this machine and build read it. */
#include "picture/circuit_checkpoint.h"

#include "base/hash.h"
#include "base/memory.h"
#include "file/output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct checkpoint_head {
    char magic[8];
    int32_t states, epochs, batch, paper, grow; /* of the training */
    int32_t stage, epoch;
    int32_t nodes, now; /* of the parameters: now states at most */
    uint64_t seed, pictures;
} checkpoint_head;

static checkpoint_head head_of(const circuit_progress *at) {
    const circuit_training *t = at->training;
    checkpoint_head h;
    memset(&h, 0, sizeof h); /* compared byte by byte, padding too */
    memcpy(h.magic, "PCIRCHK2", 8);
    h.states = t->states, h.epochs = t->epochs, h.batch = t->batch, h.paper = t->paper, h.grow = t->grow;
    h.stage = at->stage, h.epoch = at->epoch;
    h.seed = t->seed, h.pictures = at->pictures;
    return h;
}

enum { PARTS = 3 };

/* The arrays of parameters, in the order of the file. */
static void parts_of(const circuit_parameters *p, void *part[PARTS], size_t size[PARTS]) {
    size_t rows = (size_t)p->nodes * (size_t)p->stride;
    part[0] = p->own, size[0] = (size_t)p->nodes * sizeof *p->own;
    part[1] = p->move, size[1] = rows * (size_t)p->stride * sizeof *p->move;
    part[2] = p->emit, size[2] = rows * CIRCUIT_VALUES * sizeof *p->emit;
}

static pith_status put(output *o, hash_state *hash, const void *data, size_t size, pith_error *err) {
    hash_update(hash, data, size);
    return output_write(o, data, size, err);
}

pith_status circuit_checkpoint_write(const char *path, const circuit_progress *at, const circuit_parameters *p,
                                     pith_error *err) {
    checkpoint_head h = head_of(at);
    hash_state *hash = hash_new();
    output *o = NULL;
    void *part[PARTS];
    size_t size[PARTS];
    if (!hash) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for a checkpoint");
    h.nodes = p->nodes, h.now = p->states;
    parts_of(p, part, size);
    pith_status status = output_open(&o, path, true, err);
    if (!status) status = put(o, hash, &h, sizeof h, err);
    for (int i = 0; i < PARTS && !status; i++) status = put(o, hash, part[i], size[i], err);
    uint64_t sum = hash_digest(hash);
    if (!status) status = output_write(o, &sum, sizeof sum, err);
    hash_free(hash);
    if (!status) return output_commit(o, err);
    output_abort(o);
    return status;
}

static bool get(FILE *f, hash_state *hash, void *p, size_t size) {
    if (fread(p, 1, size, f) != size) return false;
    hash_update(hash, p, size);
    return true;
}

static pith_status damaged(const char *path, pith_error *err) {
    return pith_fail(err, PITH_CORRUPT, path, -1, "expected a whole checkpoint, found a damaged one");
}

static pith_status read_parameters(FILE *f, const char *path, hash_state *hash, const checkpoint_head *h,
                                   circuit_parameters *p, pith_error *err) {
    void *part[PARTS];
    size_t size[PARTS];
    uint64_t sum;
    if (h->nodes < 1 || h->nodes > CIRCUIT_MAX_NODES || h->now < 1 || h->now > CIRCUIT_MAX_STATES)
        return damaged(path, err);
    pith_status status = circuit_parameters_new(p, h->nodes, h->now, err);
    if (status) return status;
    parts_of(p, part, size);
    bool whole = true;
    for (int i = 0; i < PARTS && whole; i++) whole = get(f, hash, part[i], size[i]);
    if (whole && fread(&sum, sizeof sum, 1, f) == 1 && sum == hash_digest(hash)) return PITH_OK;
    circuit_parameters_free(p);
    return damaged(path, err);
}

pith_status circuit_checkpoint_read(const char *path, circuit_progress *at, circuit_parameters *p, pith_error *err) {
    *p = (circuit_parameters){0};
    FILE *f = fopen(path, "rb");
    if (!f) return pith_fail_errno(err, path, errno, "opening the checkpoint");
    checkpoint_head h = {0}, expected = head_of(at);
    hash_state *hash = hash_new();
    pith_status status = PITH_OK;
    bool whole = hash && get(f, hash, &h, sizeof h);
    expected.nodes = h.nodes, expected.now = h.now, expected.stage = h.stage, expected.epoch = h.epoch;
    if (!hash) status = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for a checkpoint");
    else if (!whole) status = damaged(path, err);
    else if (memcmp(&h, &expected, sizeof h) != 0)
        status = pith_fail(err, PITH_MISMATCH, path, 0, "expected a checkpoint of this training, found one of another");
    if (!status) status = read_parameters(f, path, hash, &h, p, err);
    fclose(f);
    hash_free(hash);
    at->stage = h.stage, at->epoch = h.epoch;
    return status;
}

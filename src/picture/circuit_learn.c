/* picture/circuit_learn.c - training of a hidden Chow-Liu tree from pictures to parameters.
 *
 * The paper's way (the authors' notebook): 512 pictures a step, inertia rising linearly from 0.1 to 0.9 over the first
 * two sevenths of the epochs and to 0.95 over the rest, a pseudocount of 0.1 in every step, then one step over all
 * pictures. Our own way differs in three things: the pseudocount is that of all pictures, not of a batch (which drowns
 * rare states); neighboring values lend each other counts; inertia approaches 1 evenly in log(1 - inertia), so that
 * steps average over ever more pictures. It passes the authors' 100th epoch at its 8th. */
#include "picture/circuit_learn.h"

#include "base/hash.h"
#include "base/memory.h"
#include "base/rng.h"
#include "file/output.h"
#include "picture/circuit_em.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct session {
    const circuit_training *t;
    const circuit_images *images;
    const circuit_tree *tree;
    circuit_parameters *p;
    circuit_em *em;
    uint8_t *pictures; /* in node order */
    uint8_t *common;
    uint32_t *order;
    int32_t epoch; /* done */
} session;

void circuit_training_default(circuit_training *t) {
    *t = (circuit_training){.states = 32, .epochs = 50, .batch = 512, .seed = 1};
}

static double inertia_at(const circuit_training *t, double epoch) {
    double part = epoch / t->epochs;
    if (!t->paper) return 1 - 0.9 * pow(0.03 / 0.9, part);
    return part < 2.0 / 7 ? 0.1 + 0.8 * part * 3.5 : 0.9 + 0.05 * (part - 2.0 / 7) * 1.4;
}

static void step(session *s, double inertia, int64_t pictures) {
    double share = (double)pictures / (double)s->images->count;
    if (s->t->paper) circuit_em_step(s->em, inertia, 0.1, 0);
    else circuit_em_step(s->em, inertia, share, 120 * share);
}

static void arrange(session *s) {
    const int32_t nodes = s->tree->nodes;
    for (int64_t n = 0; n < s->images->count; n++)
        for (int32_t i = 0; i < nodes; i++)
            s->pictures[n * nodes + i] = s->images->values[n * nodes + s->tree->pixel[i]];
    for (int32_t i = 0; i < nodes; i++) {
        int64_t seen[CIRCUIT_VALUES] = {0};
        int best = 0;
        for (int64_t n = 0; n < s->images->count; n++) seen[s->pictures[n * nodes + i]]++;
        for (int v = 1; v < CIRCUIT_VALUES; v++)
            if (seen[v] > seen[best]) best = v;
        s->common[i] = (uint8_t)best;
    }
}

/* A checkpoint: what must agree for going on, the epochs done, the parameters, a hash of all. Only this machine and
 * build read it. */
typedef struct checkpoint_head {
    char magic[8];
    int32_t nodes, states, epochs, batch, paper, epoch;
    uint64_t seed, pictures;
} checkpoint_head;

static checkpoint_head describe(const session *s) {
    checkpoint_head h;
    memset(&h, 0, sizeof h); /* compared byte by byte, padding too */
    memcpy(h.magic, "PCIRCHK1", 8);
    h.nodes = s->p->nodes, h.states = s->p->states, h.epochs = s->t->epochs, h.batch = s->t->batch;
    h.paper = s->t->paper, h.epoch = s->epoch, h.seed = s->t->seed;
    h.pictures = hash_bytes(s->pictures, (size_t)s->images->count * (size_t)s->tree->nodes);
    return h;
}

static size_t move_bytes(const circuit_parameters *p) {
    return (size_t)p->nodes * (size_t)p->stride * (size_t)p->stride * sizeof *p->move;
}
static size_t emit_bytes(const circuit_parameters *p) {
    return (size_t)p->nodes * CIRCUIT_VALUES * (size_t)p->stride * sizeof *p->emit;
}

static pith_status save(session *s, pith_error *err) {
    checkpoint_head h = describe(s);
    hash_state *hash = hash_new();
    output *o = NULL;
    if (!hash) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for a checkpoint");
    pith_status status = output_open(&o, s->t->checkpoint, true, err);
    const void *part[] = {&h, s->p->move, s->p->emit};
    size_t size[] = {sizeof h, move_bytes(s->p), emit_bytes(s->p)};
    for (int i = 0; i < 3 && !status; i++) {
        hash_update(hash, part[i], size[i]);
        status = output_write(o, part[i], size[i], err);
    }
    uint64_t sum = hash_digest(hash);
    if (!status) status = output_write(o, &sum, sizeof sum, err);
    hash_free(hash);
    if (status) {
        output_abort(o);
        return status;
    }
    return output_commit(o, err);
}

static bool read_part(FILE *f, hash_state *hash, void *p, size_t size) {
    if (fread(p, 1, size, f) != size) return false;
    hash_update(hash, p, size);
    return true;
}

/* Goes on from the checkpoint; it must belong to this training. None is fine. */
static pith_status load(session *s, pith_error *err) {
    const char *path = s->t->checkpoint;
    FILE *f = fopen(path, "rb");
    if (!f && errno == ENOENT) return PITH_OK;
    if (!f) return pith_fail_errno(err, path, errno, "opening the checkpoint");
    checkpoint_head h, expected = describe(s);
    hash_state *hash = hash_new();
    uint64_t sum;
    pith_status status = PITH_OK;
    bool whole = hash && read_part(f, hash, &h, sizeof h);
    expected.epoch = whole ? h.epoch : 0;
    if (whole && memcmp(&h, &expected, sizeof h) != 0)
        status = pith_fail(err, PITH_MISMATCH, path, 0, "expected a checkpoint of this training, found one of another");
    whole = whole && !status && read_part(f, hash, s->p->move, move_bytes(s->p)) &&
            read_part(f, hash, s->p->emit, emit_bytes(s->p)) && fread(&sum, sizeof sum, 1, f) == 1 &&
            sum == hash_digest(hash);
    if (!whole && !status)
        status = pith_fail(err, PITH_CORRUPT, path, -1, "expected a whole checkpoint, found a damaged one");
    fclose(f);
    hash_free(hash);
    if (status) return status;
    s->epoch = h.epoch;
    circuit_parameters_turn(s->p);
    return PITH_OK;
}

static pith_status run_epoch(session *s, const pith_context *c, pith_error *err) {
    const circuit_training *t = s->t;
    const int64_t count = s->images->count;
    double sum = 0;
    rng r = rng_new(t->seed, (uint64_t)s->epoch + 1);
    for (int64_t n = 0; n < count; n++) s->order[n] = (uint32_t)n;
    rng_shuffle(&r, s->order, (uint32_t)count);
    for (int64_t at = 0; at < count; at += t->batch) {
        int64_t n = count - at < t->batch ? count - at : t->batch;
        double epoch = s->epoch + (double)at / (double)count;
        circuit_em_count(s->em, s->pictures, s->common, s->order + at, n);
        sum += circuit_em_likelihood_counted(s->em);
        step(s, inertia_at(t, epoch), n);
        pith_status status = pith_progress(c, epoch, t->epochs, "epochs", err);
        if (status) return status;
    }
    s->epoch++;
    if (t->report) t->report(t->user, s->epoch, sum / (double)count);
    return PITH_OK;
}

static pith_status run(session *s, const pith_context *c, pith_error *err) {
    pith_status status = PITH_OK;
    if (s->t->checkpoint && s->t->resume) status = load(s, err);
    while (!status && s->epoch < s->t->epochs) {
        status = run_epoch(s, c, err);
        if (!status && s->t->checkpoint) status = save(s, err);
    }
    if (status) return status;
    for (int64_t n = 0; n < s->images->count; n++) s->order[n] = (uint32_t)n;
    circuit_em_count(s->em, s->pictures, s->common, s->order, s->images->count);
    step(s, 0, s->images->count);
    if (s->t->checkpoint) unlink(s->t->checkpoint);
    return PITH_OK;
}

pith_status circuit_learn(const pith_context *c, const circuit_images *images, const circuit_training *t,
                          circuit_tree *tree, circuit_parameters *p, pith_error *err) {
    *tree = (circuit_tree){0};
    *p = (circuit_parameters){0};
    if (images->count < 1 || images->count > UINT32_MAX)
        return pith_fail(err, PITH_USAGE, NULL, -1, "expected pictures to learn from, found %lld",
                         (long long)images->count);
    session s = {.t = t, .images = images, .tree = tree, .p = p};
    pith_status status = circuit_structure(images, true, tree, err);
    if (!status) status = circuit_parameters_new(p, tree->nodes, t->states, err);
    if (!status) {
        circuit_parameters_start(p, t->seed);
        status = circuit_em_new(&s.em, tree, p, err);
    }
    if (!status) {
        s.pictures = memory_alloc((size_t)images->count * (size_t)tree->nodes);
        s.common = memory_alloc((size_t)tree->nodes);
        s.order = memory_alloc((size_t)images->count * sizeof *s.order);
        if (!s.pictures || !s.common || !s.order)
            status = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for %lld pictures", (long long)images->count);
    }
    if (!status) {
        arrange(&s);
        status = run(&s, c, err);
    }
    memory_free(s.pictures);
    memory_free(s.common);
    memory_free(s.order);
    circuit_em_free(s.em);
    if (status) {
        circuit_tree_free(tree);
        circuit_parameters_free(p);
    }
    return status;
}

/* picture/circuit_learn.c - training of a hidden Chow-Liu tree from pictures to parameters.
 *
 * The paper's way (the authors' notebook): 512 pictures a step, inertia rising linearly from 0.1 to 0.9 over the first
 * two sevenths of the epochs and to 0.95 over the rest, a pseudocount of 0.1 in every step, then one step over all
 * pictures. Our own way differs in three things: the pseudocount is that of all pictures, not of a batch (which drowns
 * rare states); neighboring values lend each other counts; inertia approaches 1 evenly in log(1 - inertia), so that
 * steps average over ever more pictures. It passes the authors' 100th epoch at its 8th.
 *
 * Growing: few states learn in a fraction of the time what many share. Stages of 8, 16, ... states, each with half the
 * epochs of the next, end at the number wanted; between two of them rare states go and others split. */
#include "picture/circuit_learn.h"

#include "base/hash.h"
#include "base/memory.h"
#include "base/rng.h"
#include "picture/circuit_checkpoint.h"
#include "picture/circuit_em.h"

#include <math.h>
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
    int32_t stage; /* 0 is the last, stage n has a 2^n-th of the states and of the epochs */
    int32_t epoch; /* of the stage, done */
} session;

enum { FIRST_STATES = 8, SHORTEST_STAGE = 3 };

void circuit_training_default(circuit_training *t) {
    *t = (circuit_training){.states = 32, .epochs = 50, .batch = 512, .seed = 1};
}

static int32_t stage_states(const session *s) { return s->t->states >> s->stage; }

static int32_t stage_epochs(const session *s) {
    int32_t epochs = s->t->epochs >> s->stage;
    return s->stage && epochs < SHORTEST_STAGE ? SHORTEST_STAGE : epochs;
}

/* Steps of more pictures where there are more states: turning counts into parameters has its price too. */
static int64_t stage_batch(const session *s) {
    int64_t batch = s->t->batch;
    return s->t->grow && stage_states(s) > 32 ? batch * stage_states(s) / 32 : batch;
}

static double inertia_at(const session *s, double epoch) {
    double part = epoch / stage_epochs(s);
    if (!s->t->paper) return 1 - 0.9 * pow(0.03 / 0.9, part);
    return part < 2.0 / 7 ? 0.1 + 0.8 * part * 3.5 : 0.9 + 0.05 * (part - 2.0 / 7) * 1.4;
}

static void step(session *s, double inertia, int64_t pictures) {
    double share = (double)pictures / (double)s->images->count;
    const circuit_prior paper = {.pseudocount = 0.1}, own = {.pseudocount = share, .smoothing = 120 * share};
    circuit_em_step(s->em, inertia, s->t->paper ? &paper : &own);
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

static pith_status keep_checkpoint(session *s, pith_error *err) {
    circuit_progress p = {.training = s->t, .stage = s->stage, .epoch = s->epoch};
    p.pictures = hash_bytes(s->pictures, (size_t)s->images->count * (size_t)s->tree->nodes);
    return s->t->checkpoint ? circuit_checkpoint_write(s->t->checkpoint, &p, s->p, err) : PITH_OK;
}

/* Goes on from the checkpoint; it must belong to this training. None is fine. */
static pith_status resume(session *s, pith_error *err) {
    circuit_progress p = {.training = s->t};
    p.pictures = hash_bytes(s->pictures, (size_t)s->images->count * (size_t)s->tree->nodes);
    circuit_parameters read;
    pith_status status = circuit_checkpoint_read(s->t->checkpoint, &p, &read, err);
    if (status == PITH_NOT_FOUND) return PITH_OK;
    if (status) return status;
    circuit_parameters_turn(&read);
    circuit_parameters_free(s->p);
    *s->p = read;
    s->stage = p.stage, s->epoch = p.epoch;
    return PITH_OK;
}

static pith_status run_epoch(session *s, const pith_context *c, pith_error *err) {
    const int64_t count = s->images->count, batch = stage_batch(s);
    double sum = 0;
    rng r = rng_new(s->t->seed, (uint64_t)s->stage << 32 | ((uint64_t)s->epoch + 1));
    for (int64_t n = 0; n < count; n++) s->order[n] = (uint32_t)n;
    rng_shuffle(&r, s->order, (uint32_t)count);
    for (int64_t at = 0; at < count; at += batch) {
        int64_t n = count - at < batch ? count - at : batch;
        double epoch = s->epoch + (double)at / (double)count;
        circuit_em_count(s->em, s->pictures, s->common, s->order + at, n);
        sum += circuit_em_likelihood_counted(s->em);
        step(s, inertia_at(s, epoch), n);
        pith_status status = pith_progress(c, epoch, stage_epochs(s), "epochs", err);
        if (status) return status;
    }
    s->epoch++;
    if (s->t->report) s->t->report(s->t->user, stage_states(s), s->epoch, sum / (double)count);
    return PITH_OK;
}

/* One step over all pictures. */
static void run_whole(session *s) {
    for (int64_t n = 0; n < s->images->count; n++) s->order[n] = (uint32_t)n;
    circuit_em_count(s->em, s->pictures, s->common, s->order, s->images->count);
    step(s, 0, s->images->count);
}

static pith_status grow(session *s, pith_error *err) {
    circuit_parameters grown;
    s->stage--, s->epoch = 0;
    circuit_growth g = {.states = stage_states(s), .noise = 0.6f, .seed = s->t->seed};
    g.least = 2 / (double)s->images->count;
    pith_status status = circuit_parameters_grow(s->p, s->tree, &g, &grown, err);
    if (status) return status;
    circuit_parameters_free(s->p);
    *s->p = grown;
    return PITH_OK;
}

static pith_status run(session *s, const pith_context *c, pith_error *err) {
    pith_status status = s->t->checkpoint && s->t->resume ? resume(s, err) : PITH_OK;
    while (!status) {
        status = circuit_em_new(&s->em, s->tree, s->p, err);
        while (!status && s->epoch < stage_epochs(s)) {
            status = run_epoch(s, c, err);
            if (!status) status = keep_checkpoint(s, err);
        }
        if (!status) run_whole(s);
        circuit_em_free(s->em);
        s->em = NULL;
        if (status || s->stage == 0) break;
        status = grow(s, err);
    }
    if (!status && s->t->checkpoint) unlink(s->t->checkpoint);
    return status;
}

pith_status circuit_learn(const pith_context *c, const circuit_images *images, const circuit_training *t,
                          circuit_tree *tree, circuit_parameters *p, pith_error *err) {
    *tree = (circuit_tree){0};
    *p = (circuit_parameters){0};
    if (images->count < 1 || images->count > UINT32_MAX)
        return pith_fail(err, PITH_USAGE, NULL, -1, "expected pictures to learn from, found %lld",
                         (long long)images->count);
    session s = {.t = t, .images = images, .tree = tree, .p = p};
    while (t->grow && stage_states(&s) >= 2 * FIRST_STATES) s.stage++;
    pith_status status = circuit_structure(images, true, tree, err);
    if (!status) status = circuit_parameters_new(p, tree->nodes, stage_states(&s), err);
    if (!status) {
        circuit_parameters_start(p, t->seed);
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
    if (status) {
        circuit_tree_free(tree);
        circuit_parameters_free(p);
    }
    return status;
}

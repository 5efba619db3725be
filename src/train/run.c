/* train/run.c - the loop: samples, loss, backward, optimizer; checkpoints and evaluations between steps.
 *
 * Nothing in it depends on time or on what ran before but the state a checkpoint holds, so a resumed run takes the same
 * steps, bit for bit, at the same number of threads. */
#include "train/run.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "file/output.h"
#include "train/checkpoint.h"
#include "train/curve.h"
#include "train/record.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

const train_task *const train_tasks[] = {&train_language, &train_classify, NULL};

typedef struct run {
    const recipe *r;
    const pith_values *v;
    const pith_context *c;
    const train_task *task;
    void *self;
    grad_params params;
    tape *tape;
    optimizer optimizer;
    checkpoint state;
    curve *curve;
    float *best; /* weights of the best evaluation; NULL when keep is "last" */
    const char *folder;
    char checkpoint_path[4096];
    uint64_t seed;
    int64_t steps, parts;
    double loss;
} run;

static void close_run(run *w) {
    tape_free(w->tape);
    if (w->task) w->task->close(w->self);
    curve_free(w->curve);
    memory_free(w->best);
    optimizer_close(&w->optimizer);
    params_free(&w->params);
}

static void read_optimizer(run *w) {
    const pith_values *v = w->v;
    optimizer *o = &w->optimizer;
    o->kind = pith_value_int(v, "optimizer.kind") ? OPTIMIZER_ADAM : OPTIMIZER_SGD;
    o->beta1 = (float)pith_value_real(v, "optimizer.beta1");
    o->beta2 = (float)pith_value_real(v, "optimizer.beta2");
    o->epsilon = (float)pith_value_real(v, "optimizer.epsilon");
    o->clip = (float)pith_value_real(v, "optimizer.clip");
    o->average = (float)pith_value_real(v, "optimizer.average");
    o->accumulate = w->parts;
    for (int g = 0; g < OPTIMIZER_GROUPS; g++) o->group[g].rate = 1;
    o->group[0].decay = (float)pith_value_real(v, "optimizer.decay");
    w->state.schedule = (schedule){.kind = (schedule_kind)pith_value_int(v, "schedule.kind"),
                                   .rate = pith_value_real(v, "optimizer.rate"),
                                   .last = pith_value_real(v, "schedule.last"),
                                   .warmup = pith_value_int(v, "schedule.warmup"),
                                   .steps = w->steps,
                                   .every = pith_value_int(v, "schedule.every"),
                                   .hold = pith_value_real(v, "schedule.hold")};
}

static pith_status open_run(run *w, const recipe *r, const pith_context *c, bool dry_run, pith_error *err) {
    w->r = r, w->c = c, w->v = recipe_values(r);
    const pith_values *v = w->v;
    if (pith_value_int(v, "threads") > 0 && c->threads == 0) parallel_set_threads((int)pith_value_int(v, "threads"));
    const char *name = pith_value_text(v, "task");
    for (const train_task *const *t = train_tasks; *t; t++)
        if (strcmp((*t)->name, name) == 0) w->task = *t;
    w->seed = (uint64_t)pith_value_int(v, "seed");
    w->steps = pith_value_int(v, "steps");
    w->parts = pith_value_int(v, "accumulate");
    read_optimizer(w);
    params_init(&w->params);
    pith_status s = w->task->open(&w->self, r, c, dry_run, &w->params, err);
    if (s == PITH_OK) s = params_commit(&w->params, true, optimizer_moments(&w->optimizer), err);
    if (s != PITH_OK) return s;
    w->task->start(w->self, &w->params, w->seed);
    s = optimizer_open(&w->optimizer, &w->params, err);
    if (s == PITH_OK) s = tape_new(&w->tape, &w->params, c->memory_limit, err);
    if (s != PITH_OK) return s;
    tape_bf16(w->tape, strcmp(pith_value_text(v, "precision"), "bf16") == 0);
    if (strcmp(pith_value_text(v, "keep"), "best") == 0) {
        w->best = memory_aligned(w->params.floats * sizeof *w->best);
        if (!w->best) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    }
    return PITH_OK;
}

/* --- one step -------------------------------------------------------------------------------------------------------
 */

static pith_status take_step(run *w, double *loss, double *norm, double *rate, pith_error *err) {
    params_zero_grads(&w->params);
    *loss = 0;
    for (int64_t part = 0; part < w->parts; part++) {
        tape_begin(w->tape, w->seed, (uint64_t)(w->state.step * w->parts + part));
        var l = w->task->loss(w->self, w->tape, w->seed, w->state.step, part);
        double value = grad_scalar(w->tape, l);
        grad_backward(w->tape, l);
        pith_status s = tape_status(w->tape, err);
        if (s != PITH_OK) return s;
        *loss += value / (double)w->parts;
    }
    *rate = schedule_rate(&w->state.schedule, w->state.step);
    *norm = isfinite(*loss) ? optimizer_step(&w->optimizer, &w->params, *rate) : NAN;
    if (!isfinite(*loss) || !isfinite(*norm))
        return pith_fail(
            err, PITH_NOT_FINITE, NULL, -1,
            "the %s is not a finite number at step %lld; the last checkpoint is kept (--trap-nan names the operation)",
            isfinite(*loss) ? "gradient" : "loss", (long long)w->state.step + 1);
    w->state.step++;
    return PITH_OK;
}

/* Evaluation sees the averaged weights where there are any. */
static void swap_averaged(run *w) {
    if (!w->optimizer.averaged) return;
    for (size_t i = 0; i < w->params.floats; i++) {
        float t = w->params.weights[i];
        w->params.weights[i] = w->optimizer.averaged[i];
        w->optimizer.averaged[i] = t;
    }
    params_changed(&w->params);
}

static pith_status evaluate(run *w, train_score *score, pith_error *err) {
    swap_averaged(w);
    bool was = tape_no_grad(w->tape, true);
    pith_status s = w->task->evaluate(w->self, w->tape, score, err);
    tape_no_grad(w->tape, was);
    if (s == PITH_OK && (w->state.best_step == 0 || score->loss < w->state.best)) {
        w->state.best = score->loss;
        w->state.best_step = w->state.step;
        w->state.waited = 0;
        if (w->best) memcpy(w->best, w->params.weights, w->params.floats * sizeof *w->best);
    } else if (s == PITH_OK) w->state.waited++;
    swap_averaged(w);
    if (s != PITH_OK) return s;
    schedule_observe(&w->state.schedule, score->loss);
    log_info("step %lld: held-out loss %.4f, %s %.4f", (long long)w->state.step, score->loss, score->metric,
             score->value);
    return curve_evaluation(w->curve, w->state.step, score->loss, score->value, err);
}

/* Weights can leave the finite numbers one step before the loss does: such ones replace no checkpoint. */
static pith_status save_checkpoint(run *w, pith_error *err) {
    for (size_t i = 0; i < w->params.floats; i++)
        if (!isfinite(w->params.weights[i]))
            return pith_fail(err, PITH_NOT_FINITE, NULL, -1,
                             "a weight is not a finite number after step %lld; the last checkpoint is kept "
                             "(--trap-nan names the operation)",
                             (long long)w->state.step);
    return checkpoint_write(w->checkpoint_path, &w->state, &w->params, &w->optimizer, w->best, curve_text(w->curve),
                            err);
}

/* --- the run --------------------------------------------------------------------------------------------------------
 */

static pith_status prepare_folder(run *w, const train_options *o, bool *resuming, pith_error *err) {
    if (mkdir(w->folder, 0777) != 0 && errno != EEXIST)
        return pith_fail_errno(err, w->folder, errno, "cannot make the folder");
    struct stat st;
    if (stat(w->folder, &st) != 0 || !S_ISDIR(st.st_mode))
        return pith_fail(err, PITH_USAGE, w->folder, -1, "expected a folder");
    if ((size_t)snprintf(w->checkpoint_path, sizeof w->checkpoint_path, "%s/checkpoint.pith", w->folder) >=
        sizeof w->checkpoint_path)
        return pith_fail(err, PITH_USAGE, w->folder, -1, "path too long");
    bool there = stat(w->checkpoint_path, &st) == 0;
    if (there && !o->resume && !o->replace)
        return pith_fail(err, PITH_USAGE, w->checkpoint_path, -1,
                         "a run's checkpoint stands here: --resume goes on with it, --force starts afresh");
    *resuming = there && o->resume;
    return PITH_OK;
}

static pith_status load_checkpoint(run *w, pith_error *err) {
    checkpoint was;
    char *text = NULL;
    pith_status s = checkpoint_read(w->checkpoint_path, &was, &w->params, &w->optimizer, w->best, &text, err);
    if (s != PITH_OK) return s;
    if (was.fingerprint != w->state.fingerprint)
        s = pith_fail(
            err, PITH_MISMATCH, w->checkpoint_path, -1,
            "the recipe differs from the one this run was started with: restore it, or --force starts afresh");
    else {
        schedule now = w->state.schedule; /* the settings are the recipe's, the memory the checkpoint's */
        w->state = was;
        now.best = was.schedule.best, now.waited = was.schedule.waited, now.drops = was.schedule.drops;
        w->state.schedule = now;
        curve_free(w->curve);
        w->curve = NULL;
        s = curve_new(&w->curve, w->steps, text, err);
    }
    memory_free(text);
    return s;
}

static pith_status between_steps(run *w, train_score *score, bool *stop, pith_error *err) {
    int64_t every = pith_value_int(w->v, "evaluate_every"), patience = pith_value_int(w->v, "patience");
    bool last = w->state.step == w->steps;
    pith_status s = PITH_OK;
    if (last || (every > 0 && w->state.step % every == 0)) s = evaluate(w, score, err);
    *stop = patience > 0 && w->state.waited >= patience;
    if (s == PITH_OK && (last || *stop || w->state.step % pith_value_int(w->v, "checkpoint_every") == 0))
        s = save_checkpoint(w, err);
    return s;
}

static pith_status loop(run *w, train_score *score, bool *stopped, pith_error *err) {
    double started = clock_seconds(), before = w->state.seconds;
    while (w->state.step < w->steps) {
        double norm, rate;
        pith_status s = take_step(w, &w->loss, &norm, &rate, err);
        w->state.seconds = before + clock_seconds() - started;
        if (s == PITH_OK) s = curve_step(w->curve, w->state.step, w->loss, rate, norm, err);
        if (s == PITH_OK) s = between_steps(w, score, stopped, err);
        if (s == PITH_OK) s = pith_progress(w->c, (double)w->state.step, (double)w->steps, "steps", err);
        if (s == PITH_INTERRUPTED) { /* nothing finished is lost */
            pith_error ignored = {0};
            save_checkpoint(w, &ignored);
        }
        if (s != PITH_OK) return s;
        if (*stopped) break;
    }
    return PITH_OK;
}

static pith_status save_model(run *w, const train_score *score, pith_error *err) {
    if (w->best && w->state.best_step) {
        memcpy(w->params.weights, w->best, w->params.floats * sizeof *w->best);
        params_changed(&w->params);
    } else swap_averaged(w);
    pith_status s = w->task->save(w->self, &w->params, w->folder, err);
    if (s == PITH_OK) s = curve_write(w->curve, w->folder, err);
    if (s == PITH_OK)
        s = record_write(w->folder, w->r, w->state.step, w->state.seconds, score, params_count(&w->params), err);
    return s;
}

pith_status train_run(const recipe *r, const pith_context *c, const train_options *o, const char *folder,
                      train_outcome *out, pith_error *err) {
    run w = {.folder = folder};
    bool resuming = false;
    memset(out, 0, sizeof *out);
    pith_status s = prepare_folder(&w, o, &resuming, err);
    if (s == PITH_OK) s = open_run(&w, r, c, false, err);
    if (s == PITH_OK) s = curve_new(&w.curve, w.steps, NULL, err);
    w.state.fingerprint = recipe_fingerprint(r);
    if (s == PITH_OK && resuming) s = load_checkpoint(&w, err);
    if (s == PITH_OK) tape_trap_nan(w.tape, o->trap_nan);
    out->resumed_step = w.state.step;
    double before = w.state.seconds;
    if (s == PITH_OK) s = loop(&w, &out->score, &out->stopped_early, err);
    if (s == PITH_OK && !out->score.metric) s = evaluate(&w, &out->score, err); /* resumed at its end */
    if (s == PITH_OK) s = save_model(&w, &out->score, err);
    if (s == PITH_OK) {
        train_cost cost = w.task->cost(w.self);
        int64_t taken = w.state.step - out->resumed_step;
        out->steps = w.state.step, out->loss = w.loss, out->seconds = w.state.seconds, out->unit = cost.unit;
        out->samples_per_s = taken ? cost.samples * (double)(w.parts * taken) / (w.state.seconds - before) : 0;
        out->score_step = w.best ? w.state.best_step : w.state.step;
        if (w.best) out->score.loss = w.state.best;
        out->high_water = tape_high_water(w.tape);
        if (o->plot) curve_print(w.curve);
    }
    close_run(&w);
    return s;
}

pith_status train_estimate(const recipe *r, const pith_context *c, train_plan *out, pith_error *err) {
    run w = {0};
    memset(out, 0, sizeof *out);
    pith_status s = open_run(&w, r, c, true, err);
    double loss, norm, rate;
    if (s == PITH_OK) s = take_step(&w, &loss, &norm, &rate, err); /* warms caches */
    double started = clock_seconds();
    if (s == PITH_OK) s = take_step(&w, &loss, &norm, &rate, err);
    if (s == PITH_OK) {
        out->seconds_a_step = clock_seconds() - started;
        out->parameters = params_count(&w.params);
        out->flops = w.task->cost(w.self).flops * (double)w.parts;
        int arrays = 2 + optimizer_moments(&w.optimizer) + (w.optimizer.averaged != NULL) + (w.best != NULL);
        out->step_bytes = (double)tape_high_water(w.tape);
        out->bytes = (double)w.params.floats * sizeof(float) * arrays + out->step_bytes;
    }
    close_run(&w);
    return s;
}

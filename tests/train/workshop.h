/* tests/train/workshop.h - a folder with sixteen kinds of 6x6 pictures to learn, recipes written beside them, and runs
 * of them in this process. */
#ifndef TESTS_TRAIN_WORKSHOP_H
#define TESTS_TRAIN_WORKSHOP_H

#include "harness.h"

#include "base/log.h"
#include "base/rng.h"
#include "file/idx.h"
#include "train/run.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WORKSHOP_PICTURES = 64, WORKSHOP_SIDE = 6, WORKSHOP_CLASSES = 4 };

typedef struct workshop {
    char folder[64];
    char path[512]; /* of workshop_path */
} workshop;

/* "folder/name", valid until the next call. */
static inline const char *workshop_path(workshop *w, const char *name) {
    snprintf(w->path, sizeof w->path, "%s/%s", w->folder, name);
    return w->path;
}

static inline void workshop_write(workshop *w, const char *name, const void *data, size_t size) {
    FILE *f = fopen(workshop_path(w, name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* A whole file; freed by the caller. */
static inline char *workshop_read(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s is missing", path);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(*size + 1);
    assert_int_equal(fread(data, 1, *size, f), *size);
    data[*size] = 0;
    fclose(f);
    return data;
}

static inline void workshop_pictures(workshop *w) {
    pith_tensor x, y;
    assert_int_equal(
        pith_tensor_new(&x, PITH_U8, 3, (int64_t[]){WORKSHOP_PICTURES, WORKSHOP_SIDE, WORKSHOP_SIDE}, NULL), PITH_OK);
    assert_int_equal(pith_tensor_new(&y, PITH_U8, 1, (int64_t[]){WORKSHOP_PICTURES}, NULL), PITH_OK);
    rng r = rng_new(5, 5);
    for (int i = 0; i < WORKSHOP_PICTURES; i++) {
        uint8_t *p = (uint8_t *)x.data + i * WORKSHOP_SIDE * WORKSHOP_SIDE;
        int kind = ((uint8_t *)y.data)[i] = (uint8_t)(i % WORKSHOP_CLASSES);
        for (int k = 0; k < WORKSHOP_SIDE * WORKSHOP_SIDE; k++)
            p[k] = (uint8_t)(rng_below(&r, 100) + (k % WORKSHOP_CLASSES == kind ? 150 : 0));
    }
    assert_int_equal(idx_write(workshop_path(w, "x-idx3"), true, &x, NULL), PITH_OK);
    assert_int_equal(idx_write(workshop_path(w, "y-idx1"), true, &y, NULL), PITH_OK);
    pith_tensor_release(&x);
    pith_tensor_release(&y);
}

/* Writes recipe.json: `keys` is JSON that follows the task, the network and the data. */
static inline void workshop_recipe(workshop *w, const char *keys) {
    char text[2048];
    int n =
        snprintf(text, sizeof text,
                 "{\n\"task\": \"classify\", \"threads\": 1, \"batch\": 8, \"evaluate_every\": 4, \"keep\": \"best\",\n"
                 "\"net\": {\"kind\": \"mlp\", \"width\": 16, \"blocks\": 1},\n"
                 "\"data\": {\"files\": [\"%s/x-idx3\", \"%s/y-idx1\"], \"held_out\": 0.25, \"shift\": 1},\n%s\n}\n",
                 w->folder, w->folder, keys);
    workshop_write(w, "recipe.json", text, (size_t)n);
}

/* A progress function: Ctrl-C at the step that `user`, a double, says. */
static inline bool workshop_stop_at(void *user, double done, double total, const char *unit) {
    (void)total, (void)unit;
    return done < *(double *)user;
}

static inline int workshop_open(void **state) {
    workshop *w = calloc(1, sizeof *w);
    log_set_level(LOG_QUIET);
    snprintf(w->folder, sizeof w->folder, "/tmp/pith-train-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    workshop_pictures(w);
    workshop_recipe(w, "\"steps\": 12, \"checkpoint_every\": 5, \"optimizer\": {\"rate\": 0.01, \"average\": 0.9}");
    *state = w;
    return 0;
}

static inline void workshop_remove(const char *folder) {
    DIR *d = opendir(folder);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        char path[512];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        assert_true(snprintf(path, sizeof path, "%s/%s", folder, e->d_name) < (int)sizeof path);
        if (unlink(path) != 0) workshop_remove(path);
    }
    closedir(d);
    rmdir(folder);
}

static inline int workshop_close(void **state) {
    workshop *w = *state;
    workshop_remove(w->folder);
    free(w);
    return 0;
}

/* Runs recipe.json with `set` (ends in NULL; may be NULL) into folder `out`. */
static inline pith_status workshop_train(workshop *w, const pith_context *c, const char *const *set,
                                         const train_options *o, const char *out, train_outcome *outcome,
                                         pith_error *err) {
    pith_context plain;
    recipe *r = NULL;
    size_t sets = 0;
    while (set && set[sets]) sets++;
    pith_context_default(&plain);
    pith_status s = recipe_open(&r, workshop_path(w, "recipe.json"), set, sets, err);
    if (s == PITH_OK) s = train_run(r, c ? c : &plain, o, workshop_path(w, out), outcome, err);
    recipe_free(r);
    return s;
}

#endif

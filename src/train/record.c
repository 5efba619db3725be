/* train/record.c - the run's record. */
#include "train/record.h"

#include "base/isa.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "file/output.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

pith_status record_write(const char *folder, const recipe *r, int64_t steps, double seconds, const train_score *score,
                         size_t parameters, pith_error *err) {
    const pith_values *v = recipe_values(r);
    char path[4096], when[32], fingerprint[24];
    time_t now = time(NULL);
    struct tm utc;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    snprintf(fingerprint, sizeof fingerprint, "%016llx", (unsigned long long)recipe_fingerprint(r));
    json_t *files = json_array();
    for (size_t i = 0; i < pith_value_count(v, "data.files"); i++)
        json_array_append_new(files, json_string(pith_value_item(v, "data.files", i)));
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:s, s:i, s:s, s:o}", "recipe", recipe_path(r),
        "fingerprint", fingerprint, "pith", PITH_VERSION, "finished", when, "steps", (json_int_t)steps, "seed",
        (json_int_t)pith_value_int(v, "seed"), "parameters", (json_int_t)parameters, "seconds", seconds,
        "held_out_loss", score->loss, score->metric ? score->metric : "metric", score->value, "precision",
        pith_value_text(v, "precision"), "threads", parallel_threads(), "isa", isa_name(isa_active()), "files", files);
    char *text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;
    json_decref(o);
    if (!text) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    snprintf(path, sizeof path, "%s/run.json", folder);
    pith_status s = output_file(path, true, text, strlen(text), err);
    memory_free(text);
    return s;
}

/* fuzz_paper.c - recipes of papers, and the expressions in them. The first byte chooses.
 *
 * Aims at: src/judge/expression.c src/judge/paper.c src/judge/verdict.c */
#include "fuzz.h"

#include "judge/expression.h"
#include "judge/paper.h"
#include "judge/paper_table.h"
#include "judge/verdict.h"

#include <stdlib.h>
#include <string.h>

static expression_found lookup(void *user, const char *name, int seed, double *value) {
    (void)user;
    *value = 3;
    if (strcmp(name, "a.b.c") == 0) return seed < 3 ? EXPRESSION_FOUND : EXPRESSION_NO_SEED;
    if (strcmp(name, "a.b.d") == 0) return EXPRESSION_MISSING;
    return name[0] == 'x' ? (seed ? EXPRESSION_NO_SEED : EXPRESSION_FOUND) : EXPRESSION_UNKNOWN;
}

static void recipe(const uint8_t *data, size_t size) {
    paper *p;
    json_t *claims, *empty = json_object();
    char *table;
    if (paper_parse(&p, (pith_bytes){(uint8_t *)data, size}, "papers/99-fuzz", NULL) == PITH_OK) {
        if (verdict_claims(p, empty, &claims, NULL) == PITH_OK) json_decref(claims);
        if (paper_table(p, empty, &table, NULL) == PITH_OK) free(table);
        paper_close(p);
    }
    json_decref(empty);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    double a, b;
    bool holds, missing;
    if (size < 1) return 0;
    if (data[0] & 1) {
        recipe(data + 1, size - 1);
        return 0;
    }
    char *text = calloc(size, 1);
    if (!text) abort();
    memcpy(text, data + 1, size - 1);
    (void)expression_value(text, lookup, NULL, &a, &missing, NULL);
    (void)expression_compare(text, lookup, NULL, &a, &b, &holds, &missing, NULL);
    free(text);
    return 0;
}

size_t fuzz_seed(int k, uint8_t **data) {
    static const char *const seeds[] = {
        "0max(a.b.c / (x - 2)) <= -apart(1.5, x) * a.b.d", "0min(a.b.c) > ((x)) + 1e3",
        "1{\"number\": 99, \"name\": \"fuzz\", \"title\": \"t\", \"source\": \"s\","
        "\"settings\": [{\"name\": \"n\", \"full\": 3, \"smoke\": 1}],"
        "\"inputs\": [{\"name\": \"i\", \"data\": \"d\", \"smoke\": {\"pictures\": 4, \"side\": 8}}],"
        "\"made\": [{\"name\": \"m\", \"run\": \"true\"}],"
        "\"arms\": [{\"name\": \"a\", \"uses\": [\"m\"], \"needs\": [\"sh\"], \"seeds\": 2, \"steps\": [{\"name\": \"s\","
        "\"run\": \"true\", \"bytes\": \"$out/x\", \"repeats\": 2, \"values\": {\"v\": \"a.0.b\"}}]}],"
        "\"claims\": [{\"text\": \"c\", \"holds\": \"a.s.v <= n\"}],"
        "\"tables\": [{\"title\": \"t\", \"columns\": [{\"head\": \"h\", \"digits\": 2, \"value\": \".s.v\"}],"
        "\"rows\": [\"a\", [\"l\", \"a.s.bytes\"]]}]}"};
    if (k < 0 || k >= (int)(sizeof seeds / sizeof *seeds)) return 0;
    *data = (uint8_t *)strdup(seeds[k]);
    return strlen(seeds[k]);
}

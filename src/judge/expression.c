/* judge/expression.c - recursive descent over the text, evaluating as it goes. */
#include "judge/expression.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64, MAX_NAME = 128, ALL_SEEDS = -1 };

typedef struct parser {
    const char *text, *at;
    expression_lookup *lookup;
    void *user;
    int seed;  /* ALL_SEEDS: names are means */
    bool more; /* a name has a seed after this one */
    bool missing;
    int depth;
    pith_status status;
    pith_error *err;
} parser;

static double sum(parser *p);

static double fail(parser *p, const char *expected) {
    if (p->status == PITH_OK)
        p->status =
            pith_fail(p->err, PITH_CORRUPT, p->text, p->at - p->text, "expected %s, found \"%.20s\"", expected, p->at);
    return NAN;
}

static void skip_space(parser *p) {
    while (*p->at == ' ') p->at++;
}

static bool take(parser *p, char c) {
    skip_space(p);
    if (*p->at != c) return false;
    p->at++;
    return true;
}

static double value_at(parser *p, const char *name, int seed) {
    double v = NAN, next;
    expression_found found = p->lookup(p->user, name, seed, &v);
    if (found == EXPRESSION_NO_SEED) found = p->lookup(p->user, name, 0, &v);
    else p->more |= p->lookup(p->user, name, seed + 1, &next) == EXPRESSION_FOUND;
    if (found == EXPRESSION_UNKNOWN) return fail(p, "a number or a name of this recipe");
    p->missing |= found == EXPRESSION_MISSING;
    return v;
}

static double mean(parser *p, const char *name) {
    double total = value_at(p, name, 0), v;
    int n = 1;
    for (; p->lookup(p->user, name, n, &v) == EXPRESSION_FOUND; n++) total += v;
    return total / n;
}

/* min(...) and max(...): the inner text once a seed, as long as a name in it has one more. A name without it repeats
 * its first. */
static double over_seeds(parser *p, double (*pick)(double, double)) {
    const char *start = p->at;
    double best = NAN;
    if (p->seed != ALL_SEEDS) return fail(p, "min and max not within each other");
    do {
        p->at = start, p->more = false, p->seed++;
        double v = sum(p);
        best = p->seed ? pick(best, v) : v;
    } while (p->more && p->status == PITH_OK);
    p->seed = ALL_SEEDS;
    if (p->status == PITH_OK && !take(p, ')')) return fail(p, "\")\"");
    return best;
}

static double least(parser *p) { return over_seeds(p, fmin); }
static double most(parser *p) { return over_seeds(p, fmax); }

static double apart(parser *p) {
    double a = sum(p);
    if (p->status == PITH_OK && !take(p, ',')) return fail(p, "\",\"");
    double b = sum(p);
    if (p->status == PITH_OK && !take(p, ')')) return fail(p, "\")\"");
    return fmax(a / b, b / a);
}

static const struct {
    const char *name;
    double (*call)(parser *p); /* after "(", up to and with ")" */
} functions[] = {{"min", least}, {"max", most}, {"apart", apart}};

static double name(parser *p) {
    char text[MAX_NAME];
    size_t n = 0;
    while (isalnum((unsigned char)p->at[n]) || p->at[n] == '_' || p->at[n] == '.') n++;
    if (n >= sizeof text) return fail(p, "a shorter name");
    memcpy(text, p->at, n);
    text[n] = 0;
    for (size_t i = 0; i < sizeof functions / sizeof *functions && p->at[n] == '('; i++) {
        if (strcmp(text, functions[i].name) != 0) continue;
        p->at += n + 1;
        return functions[i].call(p);
    }
    double v = p->seed == ALL_SEEDS ? mean(p, text) : value_at(p, text, p->seed);
    if (p->status == PITH_OK) p->at += n;
    return v;
}

static double atom(parser *p) {
    skip_space(p);
    if (take(p, '(')) {
        double v = ++p->depth > MAX_DEPTH ? fail(p, "fewer parentheses") : sum(p);
        p->depth--;
        if (p->status == PITH_OK && !take(p, ')')) return fail(p, "\")\"");
        return v;
    }
    if (isdigit((unsigned char)*p->at)) {
        char *end;
        double v = strtod(p->at, &end);
        p->at = end;
        return v;
    }
    return isalpha((unsigned char)*p->at) || *p->at == '.' ? name(p) : fail(p, "a number, a name or \"(\"");
}

static double sign(parser *p) { return take(p, '-') ? -atom(p) : atom(p); }

static double product(parser *p) {
    double v = sign(p);
    while (p->status == PITH_OK) {
        if (take(p, '*')) v *= sign(p);
        else if (take(p, '/')) v /= sign(p);
        else break;
    }
    return v;
}

static double sum(parser *p) {
    double v = product(p);
    while (p->status == PITH_OK) {
        if (take(p, '+')) v += product(p);
        else if (take(p, '-')) v -= product(p);
        else break;
    }
    return v;
}

static parser start(const char *text, expression_lookup *lookup, void *user, pith_error *err) {
    return (parser){.text = text, .at = text, .lookup = lookup, .user = user, .seed = ALL_SEEDS, .err = err};
}

static pith_status finish(parser *p, bool *missing) {
    skip_space(p);
    if (p->status == PITH_OK && *p->at) fail(p, "the end");
    *missing = p->missing;
    return p->status;
}

pith_status expression_value(const char *text, expression_lookup *lookup, void *user, double *value, bool *missing,
                             pith_error *err) {
    parser p = start(text, lookup, user, err);
    *value = sum(&p);
    pith_status s = finish(&p, missing);
    if (*missing) *value = NAN;
    return s;
}

pith_status expression_compare(const char *text, expression_lookup *lookup, void *user, double *left, double *right,
                               bool *holds, bool *missing, pith_error *err) {
    parser p = start(text, lookup, user, err);
    *left = sum(&p);
    skip_space(&p);
    char sense = *p.at;
    if (p.status == PITH_OK && sense != '<' && sense != '>') fail(&p, "<, <=, > or >=");
    bool equal = p.status == PITH_OK && p.at[1] == '=';
    if (p.status == PITH_OK) p.at += 1 + equal;
    *right = sum(&p);
    pith_status s = finish(&p, missing);
    double a = sense == '<' ? *left : *right, b = sense == '<' ? *right : *left;
    *holds = s == PITH_OK && !*missing && (equal ? a <= b : a < b);
    return s;
}

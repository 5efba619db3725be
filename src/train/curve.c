/* train/curve.c - text, terminal and SVG of the loss. */
#include "train/curve.h"

#include "base/memory.h"
#include "file/output.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINES = 1000, COLUMNS = 60, ROWS = 12, WIDTH = 720, HEIGHT = 360, MARGIN = 56 };

struct curve {
    char *text;
    size_t length, capacity;
    int64_t every; /* steps a line stands for */
    double sum, norm, latest;
    int64_t count;
};

pith_status curve_new(curve **out, int64_t steps, const char *text, pith_error *err) {
    curve *c = memory_zero(1, sizeof *c);
    if (c) c->text = memory_text(text ? text : "");
    if (!c || !c->text) {
        curve_free(c);
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    }
    c->length = strlen(c->text);
    c->capacity = c->length + 1;
    c->every = (steps + LINES - 1) / LINES;
    c->latest = NAN;
    *out = c;
    return PITH_OK;
}

void curve_free(curve *c) {
    if (!c) return;
    memory_free(c->text);
    memory_free(c);
}

const char *curve_text(const curve *c) { return c->text; }
double curve_latest(const curve *c) { return c->latest; }

static pith_status add_line(curve *c, pith_error *err, const char *fmt, ...) {
    char line[160];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (memory_reserve((void **)&c->text, &c->capacity, c->length + (size_t)n + 1, 1))
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    memcpy(c->text + c->length, line, (size_t)n + 1);
    c->length += (size_t)n;
    return PITH_OK;
}

/* Lines end at multiples of `every`, so that a resumed run draws the same curve. */
pith_status curve_step(curve *c, int64_t step, double loss, double rate, double norm, pith_error *err) {
    c->sum += loss, c->norm += norm, c->count++;
    if (step % c->every != 0) return PITH_OK;
    c->latest = c->sum / (double)c->count;
    pith_status s =
        add_line(c, err, "%lld\t%.6g\t%.4g\t%.4g\n", (long long)step, c->latest, rate, c->norm / (double)c->count);
    c->sum = c->norm = 0, c->count = 0;
    return s;
}

pith_status curve_evaluation(curve *c, int64_t step, double loss, double value, pith_error *err) {
    return add_line(c, err, "eval\t%lld\t%.6g\t%.6g\n", (long long)step, loss, value);
}

typedef struct points {
    double *x, *y;   /* training */
    double *ex, *ey; /* evaluations */
    int n, en;
    double last, low, high;
} points;

static void free_points(points *p) { memory_free(p->x); }

static bool read_points(const curve *c, points *p) {
    size_t lines = 0;
    for (const char *s = c->text; *s; s++) lines += *s == '\n';
    memset(p, 0, sizeof *p);
    p->x = memory_zero(4 * (lines + 1), sizeof *p->x);
    if (!p->x) return false;
    p->y = p->x + lines + 1, p->ex = p->y + lines + 1, p->ey = p->ex + lines + 1;
    p->low = INFINITY, p->high = -INFINITY;
    for (const char *s = c->text; *s; s += strcspn(s, "\n") + 1) {
        bool evaluation = strncmp(s, "eval", 4) == 0;
        char *end;
        double x = strtod(evaluation ? s + 5 : s, &end), y = strtod(end, NULL);
        if (evaluation) p->ex[p->en] = x, p->ey[p->en++] = y;
        else p->x[p->n] = x, p->y[p->n++] = y;
        if (x > p->last) p->last = x;
        if (y < p->low) p->low = y;
        if (y > p->high) p->high = y;
    }
    if (!(p->high > p->low)) p->high = p->low + 1;
    return p->n + p->en > 0 && p->last > 0;
}

void curve_print(const curve *c) {
    points p;
    if (read_points(c, &p)) {
        char grid[ROWS][COLUMNS + 1];
        memset(grid, ' ', sizeof grid);
        for (int i = 0; i < p.n + p.en; i++) {
            double x = i < p.n ? p.x[i] : p.ex[i - p.n], y = i < p.n ? p.y[i] : p.ey[i - p.n];
            int column = (int)((COLUMNS - 1) * x / p.last), row = (int)((ROWS - 1) * (p.high - y) / (p.high - p.low));
            grid[row][column] = i < p.n ? '.' : 'o';
        }
        for (int r = 0; r < ROWS; r++) {
            grid[r][COLUMNS] = 0;
            fprintf(stderr, "%9.4g |%s\n", p.high - (p.high - p.low) * r / (ROWS - 1), grid[r]);
        }
        fprintf(stderr, "          +%.*s %.0f steps (o: held-out data)\n", COLUMNS,
                "------------------------------------------------------------", p.last);
    }
    free_points(&p);
}

typedef struct text {
    char *data;
    size_t length, capacity;
    bool failed;
} text;

static void append(text *t, const char *fmt, ...) {
    char piece[256];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(piece, sizeof piece, fmt, args);
    va_end(args);
    if (t->failed || memory_reserve((void **)&t->data, &t->capacity, t->length + (size_t)n + 1, 1)) {
        t->failed = true;
        return;
    }
    memcpy(t->data + t->length, piece, (size_t)n + 1);
    t->length += (size_t)n;
}

static double across(const points *p, double x) { return MARGIN + (WIDTH - 2.0 * MARGIN) * x / p->last; }
static double down(const points *p, double y) {
    return MARGIN / 2.0 + (HEIGHT - 1.5 * MARGIN) * (p->high - y) / (p->high - p->low);
}

static void draw_svg(text *t, const points *p) {
    append(
        t,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n",
        WIDTH, HEIGHT);
    append(t, "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", WIDTH, HEIGHT);
    for (int i = 0; i <= 4; i++) {
        double y = p->low + (p->high - p->low) * i / 4, x = p->last * i / 4;
        append(t, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", MARGIN, down(p, y),
               WIDTH - MARGIN, down(p, y));
        append(t, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n", MARGIN - 6, down(p, y) + 4, y);
        append(t, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f</text>\n", across(p, x), HEIGHT - MARGIN + 18,
               x);
    }
    append(
        t,
        "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">step</text>\n<polyline fill=\"none\" stroke=\"#4477aa\" points=\"",
        WIDTH / 2, HEIGHT - 16);
    for (int i = 0; i < p->n; i++) append(t, "%.1f,%.1f ", across(p, p->x[i]), down(p, p->y[i]));
    append(t, "\"/>\n");
    for (int i = 0; i < p->en; i++)
        append(t, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"#cc6677\"/>\n", across(p, p->ex[i]),
               down(p, p->ey[i]));
    append(t, "<text x=\"%d\" y=\"%d\" fill=\"#4477aa\">training loss</text>\n", WIDTH - MARGIN - 170, MARGIN / 2 + 12);
    append(t, "<text x=\"%d\" y=\"%d\" fill=\"#cc6677\">held-out loss</text>\n</svg>\n", WIDTH - MARGIN - 85,
           MARGIN / 2 + 12);
}

pith_status curve_write(const curve *c, const char *folder, pith_error *err) {
    char path[4096];
    snprintf(path, sizeof path, "%s/curve.tsv", folder);
    pith_status s = output_file(path, true, c->text, c->length, err);
    if (s != PITH_OK) return s;
    points p;
    text t = {0};
    if (read_points(c, &p)) draw_svg(&t, &p);
    free_points(&p);
    snprintf(path, sizeof path, "%s/curve.svg", folder);
    if (t.failed) s = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    else if (t.data) s = output_file(path, true, t.data, t.length, err);
    memory_free(t.data);
    return s;
}

/* cli/papers.c - pith papers: what the papers behind pith claim, measured again. */
#include "cli/command.h"

#include "base/memory.h"
#include "file/json.h"
#include "file/output.h"
#include "judge/paper_check.h"
#include "judge/paper_table.h"
#include "judge/verdict.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH = 4096 };

static const pith_option options[] = {
    {.name = "papers", .unit = "FOLDER", .type = PITH_TEXT, .help = "where the papers are; else papers/ here"},
    {.name = "data",
     .unit = "FOLDER",
     .type = PITH_TEXT,
     .help = "run, check: data sets; else the environment's PITH_DATA"},
    {.name = "smoke", .type = PITH_FLAG, .help = "run: the same path in seconds, on drawn pictures, without data"},
    {.name = "work",
     .unit = "FOLDER",
     .type = PITH_TEXT,
     .help = "run, check: where to work and keep what takes long; else build/papers/NN-name"},
    {.name = "arm",
     .unit = "NAME",
     .type = PITH_LIST,
     .help = "run: this arm alone; check: measure it again; may be given again"},
    {.name = "rows",
     .unit = "N",
     .type = PITH_INT,
     .high = 1e6,
     .help = "check: measure so many rows again, drawn among those that need no training"},
    {.name = "seed", .unit = "N", .type = PITH_INT, .high = 1e9, .help = "check: another seed draws other rows"},
    {.name = "skip",
     .unit = "NAME",
     .type = PITH_LIST,
     .help = "run: leave this arm out; what is claimed of it stays open; may be given again"},
    {.name = "made",
     .unit = "NAME=FOLDER",
     .type = PITH_LIST,
     .help = "run, check: take what NAME's command makes from FOLDER; may be given again"},
    {.name = "seconds",
     .unit = "N",
     .type = PITH_REAL,
     .high = 1e9,
     .help = "run: start nothing more after so long; the same command goes on later"},
    {.name = "write", .type = PITH_FLAG, .help = "table: put it into the paper's README"},
};

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

/* ---- list ---- */

static int count_verdicts(const json_t *claims, const char *verdict) {
    const json_t *claim;
    size_t i;
    int n = 0;
    json_array_foreach(claims, i, claim) n += strcmp(json_get_text(claim, "verdict", ""), verdict) == 0;
    return n;
}

static pith_status list_one(command *c, const paper *p, json_t *list, pith_error *err) {
    json_t *result = NULL;
    pith_error why = {0};
    pith_status s = paper_result(p, &result, &why);
    if (s && s != PITH_NOT_FOUND) return pith_fail(err, s, why.where, why.offset, "%s", why.text);
    const json_t *claims = json_object_get(result, "claims");
    int holds = count_verdicts(claims, "holds"), falls = count_verdicts(claims, "falls short");
    int open = (int)p->claim_count - holds - falls;
    const char *when = json_get_text(result, "finished", NULL);
    if (!c->json)
        command_print("%2d  %-14s %2d claims: %2d hold, %2d fall short, %2d open; %s\n", p->number, p->name,
                      (int)p->claim_count, holds, falls, open, when ? when : "not measured yet");
    json_t *row = json_pack("{s:i, s:s, s:s, s:i, s:i, s:i, s:s?}", "paper", p->number, "name", p->name, "title",
                            p->title, "holds", holds, "falls_short", falls, "open", open, "measured", when);
    json_decref(result);
    return json_array_append_new(list, row) == 0 ? PITH_OK : no_memory(err);
}

static pith_status list(command *c, const char *papers, pith_error *err) {
    char **names = NULL;
    size_t count = 0;
    json_t *rows = json_array();
    pith_status s = rows ? paper_list(papers, &names, &count, err) : no_memory(err);
    for (size_t i = 0; i < count; i++) {
        char folder[PATH + 300];
        paper *p = NULL;
        snprintf(folder, sizeof folder, "%s/%s", papers, names[i]);
        if (!s) s = paper_open(&p, folder, err);
        if (!s) s = list_one(c, p, rows, err);
        paper_close(p);
        memory_free(names[i]);
    }
    memory_free(names);
    json_object_set_new(c->result, "papers", rows);
    return s;
}

/* ---- run ---- */

static pith_status print_plan(command *c, const paper *p) {
    for (size_t i = 0; i < p->made_count && !c->json; i++)
        command_print("make %s\n    %s\n", p->made[i].name, p->made[i].run);
    for (size_t i = 0; i < p->arm_count && !c->json; i++) {
        const paper_arm *a = &p->arms[i];
        command_print("arm %s, %d seed%s\n", a->name, a->seeds, a->seeds == 1 ? "" : "s");
        for (size_t k = 0; k < a->step_count; k++) command_print("    %s: %s\n", a->steps[k].name, a->steps[k].run);
    }
    return PITH_OK;
}

static pith_status print_result(command *c, const paper *p, json_t *result, bool complete, pith_error *err) {
    char *table = NULL;
    json_object_update(c->result, result);
    json_object_set_new(c->result, "complete", json_boolean(complete));
    if (c->json || c->quiet) return PITH_OK;
    if (!complete) {
        command_print("%s: not complete; the same command goes on\n", p->name);
        return PITH_OK;
    }
    pith_status s = paper_table(p, result, &table, err);
    if (s) return s;
    command_print("%s", table);
    free(table);
    return PITH_OK;
}

enum { NAMES = 64 };

static pith_status take_names(const pith_values *v, const char *option, const char **names, size_t *count,
                              pith_error *err) {
    *count = pith_value_count(v, option);
    if (*count > NAMES) return pith_fail(err, PITH_USAGE, option, -1, "expected at most %d of them", NAMES);
    for (size_t i = 0; i < *count; i++) names[i] = pith_value_item(v, option, i);
    return PITH_OK;
}

static pith_status find_self(char *path, size_t size, pith_error *err) {
    ssize_t n = readlink("/proc/self/exe", path, size - 1);
    path[n > 0 ? n : 0] = 0;
    return n > 0 ? PITH_OK : pith_fail_errno(err, "/proc/self/exe", errno, "cannot find this command");
}

static pith_status run_paper(command *c, const paper *p, pith_error *err) {
    const pith_values *v = c->values;
    const char *arms[NAMES], *skipped[NAMES], *made[NAMES], *given = pith_value_text(v, "work");
    char self[PATH], work[PATH + 300];
    bool smoke = pith_value_flag(v, "smoke"), complete = false;
    snprintf(work, sizeof work, "%s%s%s", given ? given : "build/papers", given ? "" : strrchr(p->folder, '/'),
             smoke ? "-smoke" : "");
    paper_run_options o = {.command = self,
                           .work = work,
                           .data = pith_value_text(v, "data"),
                           .arms = arms,
                           .skipped = skipped,
                           .made = made,
                           .smoke = smoke,
                           .fresh = c->force,
                           .seconds = pith_value_real(v, "seconds")};
    if (!o.data) o.data = getenv("PITH_DATA");
    if (c->dry_run) return print_plan(c, p);
    json_t *result = NULL;
    pith_status s = find_self(self, sizeof self, err);
    if (!s) s = take_names(v, "arm", arms, &o.arm_count, err);
    if (!s) s = take_names(v, "skip", skipped, &o.skipped_count, err);
    if (!s) s = take_names(v, "made", made, &o.made_count, err);
    if (!s) s = paper_run(&c->context, p, &o, &result, &complete, err);
    if (!s) s = print_result(c, p, result, complete, err);
    json_decref(result);
    return s;
}

/* ---- check ---- */

static void print_report(const json_t *report) {
    const json_t *row;
    size_t i;
    json_array_foreach(report, i, row) command_print("%-12s %-16s %s\n", json_get_text(row, "verdict", ""),
                                                     json_get_text(row, "check", ""), json_get_text(row, "text", ""));
}

static pith_status check_paper(command *c, const paper *p, pith_error *err) {
    const pith_values *v = c->values;
    const char *arms[NAMES], *made[NAMES], *given = pith_value_text(v, "work");
    char self[PATH], work[PATH + 300];
    snprintf(work, sizeof work, "%s%s%s", given ? given : "build/papers", given ? "" : strrchr(p->folder, '/'),
             given ? "" : "-check");
    paper_check_options o = {.run = {.command = self,
                                     .work = work,
                                     .data = pith_value_text(v, "data"),
                                     .arms = arms,
                                     .made = made,
                                     .fresh = true},
                             .seed = (uint64_t)pith_value_int(v, "seed"),
                             .rows = (size_t)pith_value_int(v, "rows")};
    if (!o.run.data) o.run.data = getenv("PITH_DATA");
    json_t *report = NULL;
    int differing;
    pith_status s = find_self(self, sizeof self, err);
    if (!s) s = take_names(v, "arm", arms, &o.run.arm_count, err);
    if (!s) s = take_names(v, "made", made, &o.run.made_count, err);
    if (!s) s = paper_check(&c->context, p, &o, &report, &differing, err);
    if (s) return s;
    if (!c->json && !c->quiet) print_report(report);
    json_object_set_new(c->result, "checks", report);
    if (!differing) return PITH_OK;
    return pith_fail(err, PITH_MISMATCH, p->name, -1, "expected a result that stands, found %d checks that differ",
                     differing);
}

/* ---- table ---- */

static pith_status write_readme(const paper *p, const char *table, pith_error *err) {
    char path[PATH + 16], *text;
    bool same;
    pith_status s = paper_readme(p, table, &text, &same, err);
    if (s) return s;
    snprintf(path, sizeof path, "%s/README.md", p->folder);
    if (!same) s = output_file(path, true, text, strlen(text), err);
    free(text);
    return s;
}

static pith_status print_table(command *c, const paper *p, pith_error *err) {
    json_t *result = NULL;
    char *table = NULL;
    pith_status s = paper_result(p, &result, err);
    if (!s) s = paper_table(p, result, &table, err);
    if (!s && pith_value_flag(c->values, "write") && !c->dry_run) s = write_readme(p, table, err);
    if (!s && !c->json && !pith_value_flag(c->values, "write")) command_print("%s", table);
    if (!s) json_object_set_new(c->result, "table", json_string(table));
    free(table);
    json_decref(result);
    return s;
}

static pith_status run(command *c, pith_error *err) {
    static const struct {
        const char *name;
        pith_status (*run)(command *c, const paper *p, pith_error *err);
    } actions[] = {{"run", run_paper}, {"table", print_table}, {"check", check_paper}};
    const char *what = pith_operand(c->values, 0), *which = pith_operand(c->values, 1);
    char papers[PATH], *end = NULL;
    pith_status s = paper_folder(pith_value_text(c->values, "papers"), papers, sizeof papers, err);
    if (s) return s;
    if (strcmp(what, "list") == 0 && !which) return list(c, papers, err);
    long number = which ? strtol(which, &end, 10) : 0;
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (strcmp(what, actions[i].name) != 0) continue;
        if (!which || *end || number < 1 || number > 99)
            return pith_fail(err, PITH_USAGE, NULL, -1, "expected the number of a paper, found %s",
                             which ? which : "none");
        paper *p = NULL;
        s = paper_find(&p, papers, (int)number, err);
        if (!s) s = actions[i].run(c, p, err);
        paper_close(p);
        return s;
    }
    return pith_fail(err, PITH_USAGE, NULL, -1, "expected list, run N, table N or check N, found %s", what);
}

const verb verb_papers = {
    .name = "papers",
    .summary = "measure again what the papers behind pith claim",
    .operands = "list | run N | table N | check N",
    .example = "PITH_DATA=~/pith-data pith papers run 3",
    .details =
        "run calls the commands in papers/NN-name/recipe.json, each in a process of its own, and writes result.json there when all are\n"
        "done: every number measured, with commit, machine, seeds and hashes. A run that was stopped goes on, and what nothing has changed\n"
        "for is not measured again; --force measures everything anew. --smoke takes seconds and leaves the paper's result alone. Programs\n"
        "that a comparison needs and that are not installed are passed over, and named.\n"
        "table prints result.json as Markdown. check asks whether a result still stands: are recipe and inputs those it was measured with,\n"
        "do its claims follow from its rows, does the README show it; with --rows N or --arm NAME it measures again and compares. docs/new-paper.md tells how to write a recipe.",
    .min_operands = 1,
    .max_operands = 2,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .run = run,
};

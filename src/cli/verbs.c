/* cli/verbs.c - the one list of verbs, in the order a newcomer meets them. */
#include "cli/command.h"

extern const verb verb_bench, verb_data, verb_eval, verb_run, verb_train;

const verb *const verbs[] = {
    &verb_run, &verb_eval, &verb_train, &verb_bench, &verb_data, NULL,
};

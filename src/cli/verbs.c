/* cli/verbs.c - the one list of verbs, in the order a newcomer meets them. */
#include "cli/command.h"

extern const verb verb_bench, verb_data, verb_eval, verb_info, verb_pack, verb_papers, verb_run, verb_train,
    verb_unpack, verb_verify;

const verb *const verbs[] = {
    &verb_pack,  &verb_unpack, &verb_info,   &verb_verify, &verb_run, &verb_eval,
    &verb_train, &verb_bench,  &verb_papers, &verb_data,   NULL,
};

/* cli/verbs.c - the one list of verbs, in the order a newcomer meets them. */
#include "cli/command.h"

extern const verb verb_data;

const verb *const verbs[] = {
    &verb_data,
    NULL,
};

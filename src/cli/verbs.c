/* cli/verbs.c - the one list of verbs, in the order a newcomer meets them. */
#include "cli/command.h"

const verb *const verbs[] = {
    NULL,
};

/* cli/train_circuit.h - pith train circuit: a trainer of cli/train.c. */
#ifndef CLI_TRAIN_CIRCUIT_H
#define CLI_TRAIN_CIRCUIT_H

#include "cli/command.h"

pith_status train_circuit(command *c, pith_error *err);

#endif

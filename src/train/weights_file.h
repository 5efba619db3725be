/* train/weights_file.h - the parameters of a network as one safetensors file. */
#ifndef TRAIN_WEIGHTS_FILE_H
#define TRAIN_WEIGHTS_FILE_H

#include "grad/params.h"

enum { WEIGHT_NAME = 128 }; /* bytes of a name in the file */
/* What parameter `own` is called in the file: at most WEIGHT_NAME - 1 bytes to `name`. */
typedef void (*weight_namer)(const char *own, char *name);

/* In the order of p; namer NULL: under their own names. metadata: a JSON object of strings, for "__metadata__". */
pith_status weights_write(const char *path, const grad_params *p, weight_namer namer, const char *metadata,
                          pith_error *err);

#endif

/* train/record.h - run.json: what was run, on what, with which outcome; beside the model it made. */
#ifndef TRAIN_RECORD_H
#define TRAIN_RECORD_H

#include "train/recipe.h"
#include "train/task.h"

pith_status record_write(const char *folder, const recipe *r, int64_t steps, double seconds, const train_score *score,
                         size_t parameters, pith_error *err);

#endif

/* train/classifier_file.h - a classifier as one safetensors file: its configuration stands in the file's metadata. */
#ifndef TRAIN_CLASSIFIER_FILE_H
#define TRAIN_CLASSIFIER_FILE_H

#include "net/classifier.h"

pith_status classifier_write(const char *path, const classifier *n, const grad_params *p, pith_error *err);

typedef struct classifier_model { /* opened for use */
    classifier net;
    grad_params params;
} classifier_model;

/* PITH_UNSUPPORTED when the file is no classifier of pith's; PITH_MISMATCH names a tensor that is missing or misshapen.
 */
pith_status classifier_read(classifier_model *m, const char *path, pith_error *err);
void classifier_model_close(classifier_model *m); /* safe on zeroed */

/* Share of pictures [n][height][wide][channels] (bytes) whose likeliest class is the label; loss (mean cross-entropy)
 * may be NULL. */
pith_status classifier_accuracy(const classifier *n, tape *t, const uint8_t *pictures, const uint8_t *labels,
                                int64_t count, double *accuracy, double *loss, pith_error *err);
/* A batch of bytes as the network's input: x / 127.5 - 1, in the tape's memory. */
var classifier_input(const classifier *n, tape *t, const uint8_t *pictures, int64_t batch);

#endif

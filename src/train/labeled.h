/* train/labeled.h - pictures with labels, from two IDX files or from a folder of folders, some held out. */
#ifndef TRAIN_LABELED_H
#define TRAIN_LABELED_H

#include "tensor/tensor.h"
#include "train/order.h"
#include "train/picture_folder.h"
#include "train/recipe.h"

typedef struct labeled {
    int64_t height, wide, channels, classes;    /* of samples: bytes [height][wide][channels] */
    int64_t trained, held;                      /* how many; without held-out ones all are judged */
    const uint8_t *held_pictures, *held_labels; /* [held] */
    int64_t batch;
    pith_tensor pictures, labels; /* all of the IDX files; of a folder the held-out ones */
    sample_order order;           /* IDX */
    picture_folder *folder;       /* NULL: IDX */
} labeled;

/* data.files is pictures and labels as IDX, or one folder (then data.crop and data.grey apply). Checks data.hashes;
 * errors name the recipe's line. c outlives it. Closed with labeled_close, also after a failure. */
pith_status labeled_open(labeled *l, const recipe *r, const pith_context *c, pith_error *err);
void labeled_close(labeled *l); /* safe on zeroed */
/* Samples first .. first + batch - 1 of the endless shuffled sequence: a function of (seed, first). */
pith_status labeled_batch(labeled *l, uint64_t seed, int64_t first, uint8_t *pictures, uint8_t *labels,
                          pith_error *err);

#endif

/* train/picture_folder.h - a folder whose subfolders are classes of pictures, larger than memory as may be: samples are
 * squares cut from them at random, decoded as they are needed. */
#ifndef TRAIN_PICTURE_FOLDER_H
#define TRAIN_PICTURE_FOLDER_H

#include "pith/status.h"

typedef struct picture_folder picture_folder;

typedef struct picture_folder_options {
    int64_t crop;     /* edge of a sample, pixels */
    int64_t channels; /* of a sample: 1 grey, 3 RGB; pictures of the other kind are converted, alpha is dropped */
    int64_t batch;    /* samples picture_folder_batch gives */
    double held_out;  /* share of the pictures kept for evaluation: every 1/held_out-th of each class */
} picture_folder_options;

/* Lists the pictures (PNG, JPEG, PNM); nothing is decoded. Classes are the subfolders that hold pictures, in the order
 * of their names' bytes; a folder with pictures of its own is one class. At most 256. c may be NULL, else outlives it.
 */
pith_status picture_folder_open(picture_folder **f, const char *path, const picture_folder_options *o,
                                const pith_context *c, pith_error *err);
void picture_folder_close(picture_folder *f); /* safe on NULL */
int64_t picture_folder_classes(const picture_folder *f);
int64_t picture_folder_trained(const picture_folder *f);
int64_t picture_folder_held(const picture_folder *f);
/* XXH3 of all pictures' names within the folder and contents. */
pith_status picture_folder_hash(const picture_folder *f, uint64_t *hash, pith_error *err);

/* Samples first .. first + batch - 1 of the endless shuffled sequence: pictures [batch][crop][crop][channels], labels
 * [batch]. The batch after it is decoded in a thread meanwhile. Errors name the picture. */
pith_status picture_folder_batch(picture_folder *f, uint64_t seed, int64_t first, uint8_t *pictures, uint8_t *labels,
                                 pith_error *err);
/* Picture i of those held out, or of the training ones: its middle. */
pith_status picture_folder_middle(const picture_folder *f, bool held, int64_t i, uint8_t *sample, uint8_t *label,
                                  pith_error *err);

#endif

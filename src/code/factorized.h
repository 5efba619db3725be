/* code/factorized.h - a factorized prior: each channel has a table of its own over the whole numbers.
 *
 * J. Balle and others, "Variational image compression with a scale hyperprior" (arXiv 1802.01436), what hyper-latents
 * are coded with; here the tables are fitted to counts and travel with the stream. A table holds 255 values around the
 * channel's mean; any other is an escape, a class and raw bits (classes.h). */
#ifndef CODE_FACTORIZED_H
#define CODE_FACTORIZED_H

#include "code/code.h"
#include "code/table.h"

enum { FACTORIZED_BITS = 14, FACTORIZED_VALUES = 255 };

typedef struct factorized {
    int channels;
    struct factorized_channel *channel;
} factorized;

/* values: [count][channels], innermost the channels. */
pith_status factorized_fit(factorized *f, const int32_t *values, size_t count, int channels, pith_error *err);
void factorized_free(factorized *f); /* safe on zeroed */

void factorized_encode(const factorized *f, int channel, pith_encoder *e, int32_t value);
int32_t factorized_decode(const factorized *f, int channel, pith_decoder *d);

/* Tables among other side information; false: out of memory (writing), no tables (reading). */
bool factorized_write(const factorized *f, binary_encoder *e);
bool factorized_read(factorized *f, int channels, binary_decoder *d);

#endif

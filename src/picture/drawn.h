/* picture/drawn.h - pictures drawn from a seed, for measurements that must not depend on data at hand. */
#ifndef PICTURE_DRAWN_H
#define PICTURE_DRAWN_H

#include "tensor/tensor.h"

/* count gray pictures of side x side, (count, side, side, 1) of u8, smooth: each value is the mean of those above and
 * to the left of it and some noise, so that near values depend on each other. The caller releases *out. */
pith_status pictures_draw(int64_t count, int32_t side, uint64_t seed, pith_tensor *out, pith_error *err);

#endif

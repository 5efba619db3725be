/* net/start.h - first weights of a parameter. Each parameter draws from its own stream, keyed by its name: adding one
 * changes no other. */
#ifndef NET_START_H
#define NET_START_H

#include "grad/params.h"

void start_fill(grad_params *p, int id, float value);
void start_normal(grad_params *p, int id, float deviation, uint64_t seed);
/* Normal of deviation sqrt(gain / fan_in), fan_in = elements of one output row (He et al., arXiv 1502.01852: gain 2).
 */
void start_scaled(grad_params *p, int id, float gain, uint64_t seed);

#endif

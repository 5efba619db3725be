/* measure/distribution.h - numbers about predicted distributions: surprise of the truth, divergence, agreement. */
#ifndef MEASURE_DISTRIBUTION_H
#define MEASURE_DISTRIBUTION_H

#include <stdint.h>

/* -ln of the probability that softmax(logits [n]) gives to `target`. */
double distribution_surprise(const float *logits, int64_t n, int64_t target);
/* KL(softmax(reference) || softmax(logits)) in nats, 0 or more. */
double distribution_divergence(const float *reference, const float *logits, int64_t n);
int64_t distribution_likeliest(const float *logits, int64_t n); /* the first of equals */
/* The q-quantile (0..1) of v [n], linear between neighbors; sorts v. 0 for n = 0. */
double distribution_quantile(double *v, int64_t n, double q);

#endif

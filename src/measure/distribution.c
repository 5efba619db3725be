/* measure/distribution.c - log-sum-exp in double from the largest logit, so that figures do not depend on offsets. */
#include "measure/distribution.h"

#include <math.h>
#include <stdlib.h>

static double log_sum(const float *logits, int64_t n, double *high) {
    double m = logits[0], sum = 0;
    for (int64_t i = 1; i < n; i++) m = logits[i] > m ? logits[i] : m;
    for (int64_t i = 0; i < n; i++) sum += exp(logits[i] - m);
    *high = m;
    return log(sum);
}

double distribution_surprise(const float *logits, int64_t n, int64_t target) {
    double m, l = log_sum(logits, n, &m);
    return l + m - logits[target];
}

double distribution_divergence(const float *reference, const float *logits, int64_t n) {
    double mp, mq, lp = log_sum(reference, n, &mp), lq = log_sum(logits, n, &mq), kl = 0;
    for (int64_t i = 0; i < n; i++) {
        double p = reference[i] - mp - lp, q = logits[i] - mq - lq;
        kl += exp(p) * (p - q);
    }
    return kl > 0 ? kl : 0;
}

int64_t distribution_likeliest(const float *logits, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double distribution_quantile(double *v, int64_t n, double q) {
    if (n <= 0) return 0;
    qsort(v, (size_t)n, sizeof *v, ascending);
    double at = q * (double)(n - 1);
    int64_t low = (int64_t)at, high = low + 1 < n ? low + 1 : low;
    return v[low] + (v[high] - v[low]) * (at - (double)low);
}

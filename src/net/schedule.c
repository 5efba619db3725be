/* net/schedule.c - learning rates. */
#include "net/schedule.h"

#include <math.h>

static double after_warmup(const schedule *s, int64_t step) {
    double span = (double)(s->steps - s->warmup), done = span > 0 ? (double)(step - s->warmup) / span : 1;
    if (done > 1) done = 1;
    switch (s->kind) {
    case SCHEDULE_COSINE: return s->last + (1 - s->last) * 0.5 * (1 + cos(3.141592653589793 * done));
    case SCHEDULE_LINEAR: return done <= s->hold ? 1 : 1 - (1 - s->last) * (done - s->hold) / (1 - s->hold);
    case SCHEDULE_STEP: return s->every > 0 ? pow(s->last, (double)(step / s->every)) : 1;
    case SCHEDULE_PLATEAU: return pow(s->last, (double)s->drops);
    default: return 1;
    }
}

double schedule_rate(const schedule *s, int64_t step) {
    if (step < s->warmup) return s->rate * (double)(step + 1) / (double)s->warmup;
    return s->rate * after_warmup(s, step);
}

void schedule_observe(schedule *s, double loss) {
    if (s->best == 0 || loss < s->best) {
        s->best = loss;
        s->waited = 0;
    } else if (++s->waited >= s->every) {
        s->drops++;
        s->waited = 0;
    }
}

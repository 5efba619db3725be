/* model/speed.h - how fast a model runs, against what the machine could do in the same moments. */
#ifndef MODEL_SPEED_H
#define MODEL_SPEED_H

#include "model/llama.h"

typedef struct speed_report {
    int64_t tokens, pairs; /* tokens of one measurement; measurements, each right after its probes */
    double tokens_per_s;   /* median, like all that follow */
    uint64_t bytes_per_token;
    double bytes_per_s;     /* bytes_per_token * tokens_per_s when decoding; prefill reads them once for all tokens */
    double bandwidth;       /* bytes/s all threads read from memory, going round a buffer of bytes_per_token */
    double bandwidth_share; /* bytes_per_s / bandwidth */
    double ops_per_s;       /* multiplications and additions with weights */
    double peak;            /* 8-bit multiplications and additions a second, all threads */
    double peak_share;      /* ops_per_s / peak */
} speed_report;

enum { SPEED_PAIRS = 9 };

/* One token after the other from an empty cache, drawn with the default sampler; PITH_INTERRUPTED through progress. */
pith_status speed_decode(const pith_context *c, const llama *m, int64_t tokens, speed_report *out, pith_error *err);
/* A prompt of `tokens` tokens at once, logits of the last. */
pith_status speed_prefill(const pith_context *c, const llama *m, int64_t tokens, speed_report *out, pith_error *err);

struct probe_kernels {
    uint64_t (*read)(const uint8_t *p, int64_t size);  /* size a multiple of 1024; reads every byte */
    int64_t (*multiply)(int64_t rounds, int32_t *out); /* 8-bit operations done; the result is stored to out */
};

#endif

/* pith/method.h - what pack and unpack know of a method.
 *
 * src/methods.c is the one list; --help, man pages, JSON and shell completion are generated from it. */
#ifndef PITH_METHOD_H
#define PITH_METHOD_H

#include "pith/options.h"
#include "pith/status.h"

typedef enum pith_kind {
    PITH_MODEL = 1,
    PITH_PICTURE = 2,
    PITH_VIDEO = 4,
    PITH_SOUND = 8,
    PITH_ARRAY = 16,
    PITH_TEXT_KIND = 32
} pith_kind;

typedef struct pith_source pith_source; /* pull: what a file/ reader gives (file/source.h) */
typedef struct pith_sink pith_sink;     /* push: to a file/ writer (file/sink.h) */
typedef struct pith_writer pith_writer; /* file/container.h */
typedef struct pith_reader pith_reader;

typedef struct pith_target {
    enum { PITH_FREE, PITH_BYTES, PITH_BPP, PITH_BPW, PITH_DB } unit;
    double value;
} pith_target;

typedef struct pith_stats {
    uint64_t in_bytes, out_bytes;
    double seconds, distortion;
    const char *measure;
} pith_stats;

typedef struct pith_range { /* which frames, images or tensors of a file: [first, first + count) */
    int64_t first, count;
} pith_range;

typedef struct pith_method {
    uint16_t id, version; /* version: newest payload written; all older ones are read, for ever */
    uint32_t kinds;
    const char *name, *summary;
    int paper; /* 1..48, 0: baseline or ours */
    const pith_option *options;
    size_t option_count;
    /* OK, or why not ("12-bit CMYK: convert first"); cheap, reads headers only; with an estimate of time and memory */
    pith_status (*accepts)(const pith_source *s, double *seconds, uint64_t *memory, pith_error *why);
    pith_status (*pack)(const pith_context *c, pith_source *s, const pith_values *v, pith_target t, pith_writer *w,
                        pith_stats *st, pith_error *err); /* the caller opens and commits w */
    /* only: frames, images or tensors; NULL = all. Methods that need no model take out NULL: decode and check. */
    pith_status (*unpack)(const pith_context *c, pith_reader *r, const pith_values *v, const pith_range *only,
                          pith_sink *out, pith_error *err);
    /* Appends members to a JSON object (json_t of jansson, kept out of this header). */
    pith_status (*describe)(pith_reader *r, void *json_object, pith_error *err);
    const char *needs_model; /* kind of shared weights the file refers to by hash; NULL: self-contained */
} pith_method;

extern const pith_method *const pith_methods[]; /* ends in NULL */
const pith_method *pith_method_by_name(const char *name);
const pith_method *pith_method_by_id(uint16_t id);

#endif

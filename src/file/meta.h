/* file/meta.h - what is known about a model besides its tensors: an ordered list of typed keys, in GGUF's terms.
 *
 * This is pith's one language for model metadata: every reader (GGUF, HuggingFace folder, llama2.c, .pith) produces
 * it, with GGUF's own key names ("general.architecture", "llama.block_count", "tokenizer.ggml.tokens"), and every
 * consumer reads it. A value is held in the byte form GGUF writes it in, so that what pith does not understand passes
 * through unchanged, bit for bit, in its place. Lookups are linear: lists are short, arrays inside them are not. */
#ifndef FILE_META_H
#define FILE_META_H

#include "pith/status.h"

typedef enum meta_type { /* numbers of the GGUF specification */
                         META_U8,
                         META_I8,
                         META_U16,
                         META_I16,
                         META_U32,
                         META_I32,
                         META_F32,
                         META_BOOL,
                         META_TEXT,
                         META_ARRAY,
                         META_U64,
                         META_I64,
                         META_F64,
                         META_TYPES
} meta_type;

typedef struct meta meta;

typedef struct meta_string { /* not terminated; may hold any bytes, zeros too */
    const char *data;
    size_t size;
} meta_string;

typedef struct meta_array { /* a view, valid until the key is set, removed or the list freed */
    meta_type type;         /* of the elements */
    uint64_t count;
    const uint8_t *bytes;  /* the elements in GGUF's byte form, unaligned */
    const uint64_t *start; /* texts: where in `bytes` each element begins (its length word); else NULL */
} meta_array;

pith_status meta_new(meta **m, pith_error *err);
void meta_free(meta *m); /* safe on NULL */
pith_status meta_copy(meta **out, const meta *m, pith_error *err);

size_t meta_count(const meta *m);
const char *meta_key(const meta *m, size_t i); /* terminated; keys hold no zero bytes */
meta_type meta_type_at(const meta *m, size_t i);
pith_bytes meta_bytes_at(const meta *m, size_t i); /* the value in GGUF's byte form; borrowed */
int64_t meta_find(const meta *m, const char *key); /* -1 if absent */
const char *meta_type_name(meta_type type);        /* "u32", "text" */
bool meta_has(const meta *m, const char *key);
void meta_remove(meta *m, const char *key);           /* absent: nothing happens */
void meta_remove_prefix(meta *m, const char *prefix); /* every key that begins so */

/* Getters: false (and *out untouched) when the key is absent or its value cannot be said in the type asked for. Numbers
 * convert between all integer types (and bool, as 0 and 1) when the value fits; f64 takes integers too. */
bool meta_u64(const meta *m, const char *key, uint64_t *out);
bool meta_i64(const meta *m, const char *key, int64_t *out);
bool meta_f64(const meta *m, const char *key, double *out);
bool meta_flag(const meta *m, const char *key, bool *out);
/* Terminated text of the list (it may hold zeros before the end; *size, if not NULL, tells). NULL if absent. */
const char *meta_text(const meta *m, const char *key, size_t *size);
bool meta_get_array(const meta *m, const char *key, meta_array *out);
/* Element i < count of an array. Numbers convert as above; false when they do not. */
bool meta_array_u64(const meta_array *a, uint64_t i, uint64_t *out);
bool meta_array_i64(const meta_array *a, uint64_t i, int64_t *out);
bool meta_array_f64(const meta_array *a, uint64_t i, double *out);
meta_string meta_array_text(const meta_array *a, uint64_t i); /* empty when the array holds no texts */

/* The same for the keys of the model's own architecture: "block_count" is looked up as "llama.block_count". */
bool meta_model_u64(const meta *m, const char *key, uint64_t *out);
bool meta_model_f64(const meta *m, const char *key, double *out);
bool meta_model_flag(const meta *m, const char *key, bool *out);
const char *meta_model_text(const meta *m, const char *key);
bool meta_model_array(const meta *m, const char *key, meta_array *out);

/* Setters replace in place, else append. Fail with PITH_NO_MEMORY only. */
pith_status meta_set_u32(meta *m, const char *key, uint32_t value, pith_error *err);
pith_status meta_set_u64(meta *m, const char *key, uint64_t value, pith_error *err);
pith_status meta_set_i32(meta *m, const char *key, int32_t value, pith_error *err);
pith_status meta_set_f32(meta *m, const char *key, float value, pith_error *err);
pith_status meta_set_flag(meta *m, const char *key, bool value, pith_error *err);
pith_status meta_set_text(meta *m, const char *key, const char *value, pith_error *err);
pith_status meta_set_text_n(meta *m, const char *key, const char *value, size_t size, pith_error *err);
pith_status meta_set_texts(meta *m, const char *key, const meta_string *values, uint64_t count, pith_error *err);
pith_status meta_set_i32s(meta *m, const char *key, const int32_t *values, uint64_t count, pith_error *err);
pith_status meta_set_f32s(meta *m, const char *key, const float *values, uint64_t count, pith_error *err);
/* Any value in GGUF's byte form; PITH_CORRUPT when `bytes` is not exactly one value of the type. */
pith_status meta_set_bytes(meta *m, const char *key, meta_type type, const void *bytes, size_t size, pith_error *err);

/* `count` key-value pairs in GGUF's byte form at the start of `bytes`; *used tells where they end. Nothing is trusted:
 * lengths, counts, nesting (at most 8 deep), bools, keys (1 to 65535 bytes, no zeros) and duplicates are checked.
 * `where` and `offset` (of bytes in the file) are for the error text. */
pith_status meta_parse(meta **m, const uint8_t *bytes, size_t size, uint64_t count, size_t *used, const char *where,
                       uint64_t offset, pith_error *err);
/* All pairs in that form; the caller frees out->data with memory_free. */
pith_status meta_serialize(const meta *m, pith_bytes *out, pith_error *err);

#endif

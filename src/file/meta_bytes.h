/* file/meta_bytes.h - the byte form of metadata values, for meta.c, meta_bytes.c and gguf_read.c only. */
#ifndef FILE_META_BYTES_H
#define FILE_META_BYTES_H

#include "base/bytes.h"
#include "file/meta.h"

enum { META_ARRAY_HEAD = 12, META_KEY_MAX = 65535, META_DEPTH_MAX = 8 };

/* Bytes of a number or bool; 0 for texts, arrays and unknown types. */
size_t meta_type_size(meta_type type);

/* Where one value that starts at p ends, checked against `size` bytes. NULL and *used, or what is wrong with it. */
const char *meta_value_end(const uint8_t *p, size_t size, meta_type type, int depth, size_t *used);

/* Appends without looking for the key; takes nothing over. The value must have passed meta_value_end. */
pith_status meta_append(meta *m, const char *key, size_t key_size, meta_type type, const uint8_t *bytes, size_t size,
                        pith_error *err);
/* A key that stands in the list twice, NULL if there is none; *failed without memory. */
const char *meta_duplicate(const meta *m, bool *failed);

#endif

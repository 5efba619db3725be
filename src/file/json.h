/* file/json.h - JSON by jansson, with pith's errors and pith's heap (so that tests can make its allocations fail). */
#ifndef FILE_JSON_H
#define FILE_JSON_H

#include "pith/status.h"

#include <jansson.h>

/* A whole document; duplicate keys are refused: PITH_CORRUPT with line and byte. The caller drops it with json_decref.
 */
pith_status json_parse(json_t **out, const void *bytes, size_t size, const char *where, pith_error *err);
/* Text of a document, terminated, reals with 15 digits; the caller frees it with memory_free. indent 0: one line. NULL
 * without memory. */
char *json_print(const json_t *value, int indent);
void memory_adopt_jansson(void); /* idempotent; the two above call it. To be called before building values by hand */

/* Allocations jansson was refused in this thread so far. Its functions do not all say so: who builds a value by hand
 * compares before and after. */
uint64_t json_refusals(void);

/* Members of an object; the fallback when `object` is NULL, the member is absent, null or of another kind. */
const char *json_get_text(const json_t *object, const char *key, const char *fallback);
int64_t json_get_int(const json_t *object, const char *key, int64_t fallback);
double json_get_real(const json_t *object, const char *key, double fallback); /* integers too */
bool json_get_flag(const json_t *object, const char *key, bool fallback);

#endif

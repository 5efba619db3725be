/* methods.c - the one list of methods of pack and unpack. */
#include "pith/method.h"
#include "picture/circuit_codec.h"
#include "picture/photo_codec.h"

#include <strings.h>

const pith_method *const pith_methods[] = {
    &circuit_method,
    &photo_method,
    NULL,
};

const pith_method *pith_method_by_name(const char *name) {
    for (const pith_method *const *m = pith_methods; *m; m++)
        if (strcasecmp((*m)->name, name) == 0) return *m;
    return NULL;
}

const pith_method *pith_method_by_id(uint16_t id) {
    for (const pith_method *const *m = pith_methods; *m; m++)
        if ((*m)->id == id) return *m;
    return NULL;
}

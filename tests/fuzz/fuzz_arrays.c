/* fuzz_arrays.c - npy and IDX, the latter plain and gzipped.
 *
 * Aims at: src/file/npy.c src/file/idx.c */
#include "seed.h"

#include "base/hash.h"
#include "file/idx.h"
#include "file/npy.h"

static void use(pith_status s, pith_tensor *t) {
    if (s == PITH_OK && pith_tensor_bytes(t)) (void)hash_bytes(t->data, pith_tensor_bytes(t));
    pith_tensor_release(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pith_context c;
    pith_context_default(&c);
    c.memory_limit = 1 << 20;
    pith_tensor t;
    use(idx_parse((pith_bytes){(uint8_t *)data, size}, "fuzz", &c, &t, NULL), &t);
    pith_buffer *b;
    if (pith_buffer_wrap(&b, (void *)data, size, NULL, NULL, NULL) != PITH_OK) return 0;
    use(npy_parse(b, "fuzz", &c, &t, NULL), &t);
    pith_buffer_release(b);
    return 0;
}

/* 0 npy, 1 IDX, 2 gzipped IDX, 3 npy of rank 0 */
size_t fuzz_seed(int k, uint8_t **data) {
    static const char *const endings[] = {".npy", ".idx", ".gz", ".npy"};
    if (k > 3) return 0;
    char path[64];
    seed_path(path, sizeof path, endings[k]);
    pith_tensor t;
    if (pith_tensor_new(&t, k == 3 ? PITH_F64 : PITH_U8, k == 3 ? 0 : 3, (int64_t[]){2, 5, 3}, NULL) != PITH_OK)
        abort();
    bool npy = k == 0 || k == 3;
    if ((npy ? npy_write(path, false, &t, NULL) : idx_write(path, false, &t, NULL)) != PITH_OK) abort();
    pith_tensor_release(&t);
    return seed_take(path, data);
}

/* fuzz_safetensors.c - safetensors files: whatever opens can be loaded in full.
 *
 * Aims at: src/file/safetensors_read.c */
#include "seed.h"

#include "base/hash.h"
#include "file/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    safetensors s;
    pith_error err = {0};
    if (safetensors_open(&s, seed_file(data, size), &err) != PITH_OK) return 0;
    for (size_t i = 0; i < s.count; i++) {
        pith_tensor t;
        if (safetensors_find(&s, s.entries[i].name) != (int64_t)i) abort();
        if (safetensors_load(&s, i, &t, NULL) != PITH_OK) abort();
        if (pith_tensor_bytes(&t)) (void)hash_bytes(t.data, pith_tensor_bytes(&t));
        pith_tensor_release(&t);
    }
    safetensors_close(&s);
    return 0;
}

size_t fuzz_seed(int k, uint8_t **data) {
    static const struct {
        const char *header;
        size_t bytes;
    } seeds[] = {
        {"{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
         "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[24,28]}}",
         28},
        {"{\"x\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
         "\"y\":{\"dtype\":\"U8\",\"shape\":[0,4],\"data_offsets\":[8,8]}}   ",
         8},
        {"{}", 0}};
    uint8_t file[512] = {0};
    if (k >= (int)(sizeof seeds / sizeof seeds[0])) return 0;
    size_t n = strlen(seeds[k].header);
    file[0] = (uint8_t)n;
    memcpy(file + 8, seeds[k].header, n);
    return seed_bytes(file, 8 + n + seeds[k].bytes, data);
}

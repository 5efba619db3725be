/* fuzz_container.c - the frame of .pith: the input as it is, and once more with its hashes made right, since behind
 * them are the checks that a careful liar meets.
 *
 * Aims at: src/file/container_read.c */
#include "seed.h"

#include "base/hash.h"
#include "file/container.h"
#include "file/container_layout.h"

static void read_all(const char *path) {
    pith_context c;
    pith_context_default(&c);
    c.memory_limit = 1 << 20;
    pith_error err = {0};
    pith_reader *r = NULL;
    if (pith_reader_open(&r, path, &c, &err) != PITH_OK) return;
    for (size_t i = 0; i < pith_reader_count(r); i++) {
        pith_bytes view;
        const pith_section *s = pith_reader_section(r, i);
        if (pith_reader_find(r, s->kind, s->name) != (int64_t)i) abort();
        if (pith_reader_view(r, i, &view, NULL) == PITH_OK && view.size) (void)hash_bytes(view.data, view.size);
    }
    pith_reader_verify(r, &c, NULL);
    pith_reader_close(r);
}

/* One frame (header or trailer): the hash of the index it points at, then its own. */
static void mend_frame(uint8_t *file, size_t size, size_t at) {
    uint64_t from = get64(file + at + 24), bytes = get64(file + at + 32);
    if (from < size && bytes <= size - from) put64(file + at + 40, hash_bytes(file + from, bytes));
    put64(file + at + 56, hash_bytes(file + at, 56));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    read_all(seed_file(data, size));
    if (size < 2 * FRAME) return 0;
    uint8_t *copy = malloc(size);
    if (!copy) return 0;
    memcpy(copy, data, size);
    mend_frame(copy, size, 0);
    mend_frame(copy, size, size - FRAME);
    read_all(seed_file(copy, size));
    free(copy);
    return 0;
}

/* k 0: three sections; k 1: none; k 2: the first as a stream has it, with an empty header. */
size_t fuzz_seed(int k, uint8_t **data) {
    char path[64];
    if (k > 2) return 0;
    seed_path(path, sizeof path, ".pith");
    pith_writer *w = NULL;
    pith_status s = pith_writer_open(&w, path, false, NULL);
    for (int i = 0; s == PITH_OK && k != 1 && i < 3; i++) {
        pith_section section = {
            .kind = "TENS", .method = 1, .raw = 50 * (uint64_t)i, .name = i ? i > 1 ? "b" : "a" : ""};
        uint8_t bytes[100] = {7};
        s = pith_writer_begin(w, &section, NULL);
        if (s == PITH_OK) s = pith_writer_write(w, bytes, 50 * (size_t)i, NULL);
        if (s == PITH_OK) s = pith_writer_end(w, NULL);
    }
    if (s != PITH_OK || pith_writer_commit(w, NULL) != PITH_OK) abort();
    size_t n = seed_take(path, data);
    if (k == 2) {
        memset(*data + 16, 0, 32);
        put64(*data + 56, hash_bytes(*data, 56));
    }
    return n;
}

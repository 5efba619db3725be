/* fuzz_payload.c - packed models behind hashes made right: their description, groups, block planes and files.
 *
 * Aims at: src/model/pack_reader.c src/model/pack_head.c src/model/pack_section.c src/model/pack_group.c
 * src/model/pack_base.c */
#include "seed.h"

#include "base/hash.h"
#include "base/memory.h"
#include "cli/command.h"
#include "file/container_layout.h"
#include "file/safetensors.h"
#include "model/pack.h"
#include "model/pack_reader.h"

/* Every section's hash, as far as the index can be followed. */
static void mend_sections(uint8_t *file, size_t size, uint64_t at, uint64_t bytes) {
    uint64_t end = at + bytes;
    while (at + ENTRY <= end) {
        uint8_t *e = file + at;
        uint64_t offset = get64(e + 16), stored = get64(e + 24);
        if (offset <= size && stored <= size - offset) put64(e + 40, hash_bytes(file + offset, stored));
        at += ENTRY + round_up(get32(e + 12), NAME_ALIGNMENT);
    }
}

static void mend_frame(uint8_t *file, size_t size, size_t at) {
    uint64_t from = get64(file + at + 24), bytes = get64(file + at + 32);
    if (from < size && bytes <= size - from) {
        mend_sections(file, size, from, bytes);
        put64(file + at + 40, hash_bytes(file + from, bytes));
    }
    put64(file + at + 56, hash_bytes(file + at, 56));
}

static void use(model_source *s, const pith_context *c) {
    pack_coding *coding = memory_zero(s->count, sizeof *coding);
    if (coding) (void)model_codings(s, coding, NULL);
    memory_free(coding);
    if (strcmp(s->format, "pith") == 0) (void)pack_check(s, c, NULL); /* the bytes may be another kind of file */
    for (size_t i = 0; i < s->count; i++) {
        pith_tensor t = {0};
        if (model_source_load(s, i, &t, NULL) != PITH_OK) continue;
        if (pith_tensor_bytes(&t)) (void)hash_bytes(t.data, pith_tensor_bytes(&t));
        pith_tensor_release(&t);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pith_context c;
    model_source *s = NULL;
    pith_error err = {0};
    if (size < 2 * FRAME) return 0;
    uint8_t *copy = malloc(size);
    if (!copy) return 0;
    memcpy(copy, data, size);
    mend_frame(copy, size, 0);
    mend_frame(copy, size, size - FRAME);
    pith_context_default(&c);
    c.memory_limit = 1 << 24;
    model_options o = {.context = &c};
    if (model_source_open(&s, seed_file(copy, size), &o, &err) == PITH_OK) use(s, &c);
    model_source_close(s);
    free(copy);
    return 0;
}

static void write_model(const char *path) {
    static float w[16 * 256];
    safetensors_entry e[2] = {{.name = "blk.0.attn_q.weight"}, {.name = "b"}};
    uint64_t bytes;
    pith_bytes header;
    safetensors_writer *out;
    for (int i = 0; i < 16 * 256; i++) w[i] = (float)((i * 7919) % 1013 - 506) / 4096;
    pith_tensor_layout(&e[0].layout, PITH_F32, 2, (int64_t[]){16, 256}, &bytes, NULL);
    pith_tensor_layout(&e[1].layout, PITH_F32, 1, (int64_t[]){5}, &bytes, NULL);
    if (safetensors_header(e, 2, NULL, &header, NULL) != PITH_OK ||
        safetensors_writer_open(&out, path, true, header, NULL) != PITH_OK ||
        safetensors_write(out, w, sizeof w, NULL) != PITH_OK || safetensors_write(out, w, 20, NULL) != PITH_OK ||
        safetensors_writer_commit(out, NULL) != PITH_OK)
        exit(1);
    memory_free(header.data);
}

size_t fuzz_seed(int k, uint8_t **data) {
    static char *const types[] = {"lossless", "q8_0", "q4_k", "q2_k", "iq4_nl"};
    char in[128], out[128];
    if (k > 4) return 0;
    seed_path(in, sizeof in, ".safetensors");
    seed_path(out, sizeof out, ".pith");
    write_model(in);
    char *argv[] = {"pith", "pack", in, "-o", out, "--type", types[k], "-q", NULL};
    if (command_main(8, argv) != 0) exit(1);
    unlink(in);
    *strrchr(in, '/') = 0;
    rmdir(in);
    return seed_take(out, data);
}

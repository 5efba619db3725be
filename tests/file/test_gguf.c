/* GGUF and its metadata: byte-exact round trips, hostile heads, memory running out. */
#include "harness.h"

#include "base/memory.h"
#include "base/rng.h"
#include "file/gguf.h"
#include "file/meta_bytes.h"

#include <sys/stat.h>
#include <unistd.h>

static char folder[64], path[128];

static int set_up(void **state) {
    (void)state;
    strcpy(folder, "/tmp/pith-gguf-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/a.gguf", folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static uint8_t *read_all(const char *name, size_t *size) {
    FILE *f = fopen(name, "rb");
    struct stat st;
    if (!f || fstat(fileno(f), &st) != 0) fail_msg("cannot read %s", name);
    uint8_t *bytes = malloc((size_t)st.st_size + 1);
    *size = fread(bytes, 1, (size_t)st.st_size, f);
    fclose(f);
    return bytes;
}

static pith_status parse(const uint8_t *bytes, size_t size, pith_error *err) {
    pith_buffer *b;
    gguf *g = NULL;
    pith_status s = pith_buffer_wrap(&b, (void *)bytes, size, NULL, NULL, err);
    if (s != PITH_OK) return s;
    s = gguf_open_buffer(&g, b, "test", err);
    pith_buffer_release(b);
    if (s == PITH_OK) gguf_close(g);
    return s;
}

/* ---- metadata ---- */

/* One value of a random type in GGUF's byte form; returns its size. */
static size_t random_value(rng *r, meta_type *type, int depth, uint8_t *out) {
    *type = (meta_type)(rng_u64(r) % META_TYPES);
    if (*type == META_ARRAY && depth == 3) *type = META_U16;
    size_t size = meta_type_size(*type);
    if (size) {
        for (size_t i = 0; i < size; i++) out[i] = (uint8_t)(rng_u64(r) >> 13);
        if (*type == META_BOOL) out[0] &= 1;
        return size;
    }
    if (*type == META_TEXT) {
        size = rng_u64(r) % 9;
        put64(out, size);
        for (size_t i = 0; i < size; i++) out[8 + i] = (uint8_t)rng_u64(r);
        return 8 + size;
    }
    uint64_t count = rng_u64(r) % 4;
    size_t at = 12;
    meta_type element, other;
    uint8_t scratch[4096];
    random_value(r, &element, depth + 1, scratch);
    for (uint64_t i = 0; i < count;) {
        size_t n = random_value(r, &other, depth + 1, scratch);
        if (other != element) continue;
        memcpy(out + at, scratch, n);
        at += n;
        i++;
    }
    put32(out, element);
    put64(out + 4, count);
    return at;
}

static void metadata_of_any_kind_comes_back(void **state) {
    (void)state;
    rng r = rng_new(5, 0);
    for (int round = 0; round < 200; round++) {
        meta *m, *back;
        pith_bytes a, b;
        size_t used;
        uint8_t value[8192];
        char key[32];
        assert_int_equal(meta_new(&m, NULL), PITH_OK);
        int keys = (int)(rng_u64(&r) % 12);
        for (int i = 0; i < keys; i++) {
            meta_type type;
            size_t n = random_value(&r, &type, 0, value);
            snprintf(key, sizeof key, "k.%d", i);
            assert_int_equal(meta_set_bytes(m, key, type, value, n, NULL), PITH_OK);
        }
        assert_int_equal(meta_serialize(m, &a, NULL), PITH_OK);
        assert_int_equal(meta_parse(&back, a.data, a.size, (uint64_t)keys, &used, "test", 0, NULL), PITH_OK);
        assert_int_equal(used, a.size);
        assert_int_equal(meta_serialize(back, &b, NULL), PITH_OK);
        assert_int_equal(a.size, b.size);
        assert_memory_equal(a.data, b.data, a.size);
        for (size_t cut = 0; cut < a.size; cut++) {
            meta *none;
            assert_int_not_equal(meta_parse(&none, a.data, cut, (uint64_t)keys, &used, "test", 0, NULL), PITH_OK);
        }
        memory_free(a.data);
        memory_free(b.data);
        meta_free(m);
        meta_free(back);
    }
}

static void numbers_convert_where_they_fit(void **state) {
    (void)state;
    meta *m;
    uint64_t u = 7;
    int64_t i = 7;
    double d = 7;
    bool flag = false;
    assert_int_equal(meta_new(&m, NULL), PITH_OK);
    meta_set_i32(m, "minus", -3, NULL);
    meta_set_u64(m, "large", UINT64_MAX, NULL);
    meta_set_f32(m, "half", 0.5f, NULL);
    meta_set_flag(m, "yes", true, NULL);
    meta_set_text(m, "general.architecture", "llama", NULL);
    meta_set_u32(m, "llama.block_count", 5, NULL);
    assert_false(meta_u64(m, "minus", &u));
    assert_true(meta_i64(m, "minus", &i) && i == -3);
    assert_true(meta_f64(m, "minus", &d) && d == -3);
    assert_false(meta_i64(m, "large", &i));
    assert_true(meta_u64(m, "large", &u) && u == UINT64_MAX);
    assert_false(meta_u64(m, "half", &u));
    assert_true(meta_f64(m, "half", &d) && d == 0.5);
    assert_true(meta_flag(m, "yes", &flag) && flag);
    assert_true(meta_model_u64(m, "block_count", &u) && u == 5);
    assert_false(meta_u64(m, "absent", &u));
    assert_null(meta_text(m, "half", NULL));
    meta_set_text(m, "minus", "now a text", NULL); /* keeps its place */
    assert_string_equal(meta_text(m, "minus", NULL), "now a text");
    assert_int_equal(meta_find(m, "minus"), 0);
    meta_remove_prefix(m, "llama.");
    assert_false(meta_has(m, "llama.block_count"));
    meta_free(m);
}

/* ---- files ---- */

static void write_small(const char *name) {
    meta *m;
    gguf_writer *w;
    pith_tensor a, b, empty;
    uint64_t bytes;
    uint8_t data[144 * 2];
    meta_string words[2] = {{"one", 3}, {"", 0}};
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 7);
    assert_int_equal(meta_new(&m, NULL), PITH_OK);
    meta_set_text(m, "general.architecture", "llama", NULL);
    meta_set_u32(m, "general.alignment", 64, NULL);
    meta_set_texts(m, "tokenizer.ggml.tokens", words, 2, NULL);
    pith_tensor_layout(&a, PITH_Q4_K, 2, (int64_t[]){2, 256}, &bytes, NULL);
    pith_tensor_layout(&empty, PITH_F32, 2, (int64_t[]){0, 4}, &bytes, NULL);
    pith_tensor_layout(&b, PITH_BF16, 3, (int64_t[]){1, 3, 5}, &bytes, NULL);
    assert_int_equal(gguf_writer_open(&w, name, true, m, NULL), PITH_OK);
    assert_int_equal(gguf_writer_declare(w, "empty", &empty, NULL), PITH_OK);
    assert_int_equal(gguf_writer_declare(w, "a", &a, NULL), PITH_OK);
    assert_int_equal(gguf_writer_declare(w, "b", &b, NULL), PITH_OK);
    assert_int_equal(gguf_writer_write(w, data, 100, NULL), PITH_OK);
    assert_int_equal(gguf_writer_write(w, data + 100, 188, NULL), PITH_OK);
    assert_int_equal(gguf_writer_write(w, data, 30, NULL), PITH_OK);
    assert_int_equal(gguf_writer_commit(w, NULL), PITH_OK);
    meta_free(m);
}

static void tensors_come_back(void **state) {
    (void)state;
    gguf *g;
    pith_tensor t;
    write_small(path);
    assert_int_equal(gguf_open(&g, path, NULL), PITH_OK);
    assert_int_equal(gguf_count(g), 3);
    assert_int_equal(gguf_load(g, 1, &t, NULL), PITH_OK);
    gguf_close(g); /* a loaded tensor outlives its file */
    assert_int_equal(t.type, PITH_Q4_K);
    assert_int_equal(t.shape[0], 2);
    assert_int_equal(t.shape[1], 256);
    assert_int_equal((uintptr_t)t.data % 64, 0);
    for (size_t i = 0; i < 288; i++) assert_int_equal(((uint8_t *)t.data)[i], (uint8_t)(i * 7));
    pith_tensor_release(&t);
}

static void wrong_use_of_the_writer_is_refused(void **state) {
    (void)state;
    meta *m;
    gguf_writer *w;
    pith_tensor t;
    uint64_t bytes;
    char longest[65];
    memset(longest, 'n', 64);
    longest[64] = 0;
    unlink(path);
    assert_int_equal(meta_new(&m, NULL), PITH_OK);
    pith_tensor_layout(&t, PITH_F32, 1, (int64_t[]){2}, &bytes, NULL);
    assert_int_equal(gguf_writer_open(&w, path, false, m, NULL), PITH_OK);
    assert_int_equal(gguf_writer_declare(w, longest, &t, NULL), PITH_UNSUPPORTED);
    t.type = PITH_U8;
    assert_int_equal(gguf_writer_declare(w, "u8", &t, NULL), PITH_UNSUPPORTED);
    t.type = PITH_F32;
    assert_int_equal(gguf_writer_declare(w, "x", &t, NULL), PITH_OK);
    assert_int_equal(gguf_writer_write(w, "1234", 4, NULL), PITH_OK);
    assert_int_equal(gguf_writer_commit(w, NULL), PITH_USAGE); /* four bytes are missing */
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(gguf_writer_open(&w, path, false, m, NULL), PITH_OK);
    assert_int_equal(gguf_writer_declare(w, "x", &t, NULL), PITH_OK);
    assert_int_equal(gguf_writer_declare(w, "x", &t, NULL), PITH_OK);
    assert_int_equal(gguf_writer_write(w, "1234", 4, NULL), PITH_USAGE); /* twice the name */
    gguf_writer_abort(w);
    meta_free(m);
}

/* ---- hostile files ---- */

static void every_cut_and_flip_ends_cleanly(void **state) {
    (void)state;
    size_t size;
    write_small(path);
    uint8_t *bytes = read_all(path, &size);
    for (size_t cut = 0; cut < size; cut++) {
        pith_error err = {0};
        /* The last padding may be missing altogether: files of other writers end so. */
        pith_status s = parse(bytes, cut, &err);
        if (s == PITH_OK && cut != size - 34) fail_msg("accepted when cut at %zu of %zu", cut, size);
        if (s != PITH_OK) assert_true(err.status == s && err.text[0]);
    }
    for (size_t i = 0; i < size * 8; i++) {
        bytes[i / 8] ^= (uint8_t)(1 << i % 8);
        (void)parse(bytes, size, NULL);
        bytes[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t at = 0; at + 8 <= size; at++) { /* lengths near 2^63 everywhere */
        uint8_t kept[8];
        memcpy(kept, bytes + at, 8);
        memcpy(bytes + at, "\xff\xff\xff\xff\xff\xff\xff\x7f", 8);
        (void)parse(bytes, size, NULL);
        memcpy(bytes + at, kept, 8);
    }
    free(bytes);
}

/* A file of f32 vectors without metadata: name, type, offset and size in bytes of each. */
static size_t forge(uint8_t *out, const char *const *names, const uint32_t *types, const uint64_t *offsets, int n,
                    size_t data) {
    size_t at = 24;
    memset(out, 0, 1024);
    memcpy(out, "GGUF", 4);
    put32(out + 4, 3);
    put64(out + 8, (uint64_t)n);
    for (int i = 0; i < n; i++) {
        size_t length = strlen(names[i]);
        put64(out + at, length);
        memcpy(out + at + 8, names[i], length);
        put32(out + at + 8 + length, 1);
        put64(out + at + 12 + length, 256);
        put32(out + at + 20 + length, types[i]);
        put64(out + at + 24 + length, offsets[i]);
        at += 32 + length;
    }
    return (at + 31) / 32 * 32 + data;
}

static void contradictions_are_refused(void **state) {
    (void)state;
    static uint8_t file[8192];
    static const char *const names[] = {"a", "b"}, *const twice[] = {"a", "a"};
    const uint32_t f32[] = {0, 0}, iq2[] = {16, 0}, unknown[] = {4000, 0};
    pith_error err = {0};
    size_t size = forge(file, names, f32, (uint64_t[]){0, 1024}, 2, 2048);
    assert_int_equal(parse(file, size, NULL), PITH_OK);
    size = forge(file, twice, f32, (uint64_t[]){0, 1024}, 2, 2048);
    assert_int_equal(parse(file, size, NULL), PITH_CORRUPT);
    size = forge(file, names, f32, (uint64_t[]){0, 992}, 2, 2048); /* over one another */
    assert_int_equal(parse(file, size, NULL), PITH_CORRUPT);
    size = forge(file, names, f32, (uint64_t[]){0, 1025}, 2, 2080); /* not aligned */
    assert_int_equal(parse(file, size, NULL), PITH_CORRUPT);
    size = forge(file, names, f32, (uint64_t[]){0, UINT64_MAX - 31}, 2, 2048);
    assert_int_not_equal(parse(file, size, NULL), PITH_OK);
    size = forge(file, names, unknown, (uint64_t[]){0, 1024}, 2, 2048);
    assert_int_equal(parse(file, size, NULL), PITH_CORRUPT);
    size = forge(file, names, iq2, (uint64_t[]){0, 1024}, 2, 2048);
    assert_int_equal(parse(file, size, &err), PITH_UNSUPPORTED);
    assert_non_null(strstr(err.text, "IQ2_XXS"));
}

static void every_type_number_has_its_name(void **state) {
    (void)state;
    for (int i = 0; i < PITH_TYPES; i++)
        if (pith_types[i].gguf >= 0)
            assert_int_equal(strcasecmp(gguf_type_name((uint32_t)pith_types[i].gguf), pith_types[i].name), 0);
    assert_string_equal(gguf_type_name(29), "IQ1_M");
    assert_null(gguf_type_name(43));
}

/* ---- splits ---- */

static void write_part(const char *name, int number, int count, const char *tensor) {
    meta *m;
    gguf_writer *w;
    pith_tensor t;
    uint64_t bytes;
    float value = (float)number;
    uint8_t u16[2] = {(uint8_t)number, 0}, of[2] = {(uint8_t)count, 0};
    assert_int_equal(meta_new(&m, NULL), PITH_OK);
    meta_set_text(m, "general.name", "whole", NULL);
    meta_set_bytes(m, "split.no", META_U16, u16, 2, NULL);
    meta_set_bytes(m, "split.count", META_U16, of, 2, NULL);
    meta_set_i32(m, "split.tensors.count", count, NULL);
    pith_tensor_layout(&t, PITH_F32, 1, (int64_t[]){1}, &bytes, NULL);
    assert_int_equal(gguf_writer_open(&w, name, true, m, NULL), PITH_OK);
    assert_int_equal(gguf_writer_declare(w, tensor, &t, NULL), PITH_OK);
    assert_int_equal(gguf_writer_write(w, &value, 4, NULL), PITH_OK);
    assert_int_equal(gguf_writer_commit(w, NULL), PITH_OK);
    meta_free(m);
}

static void a_split_reads_as_one(void **state) {
    (void)state;
    char part[3][160];
    gguf *g;
    pith_tensor t;
    for (int i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i), 0};
        snprintf(part[i], sizeof part[i], "%s/m-%05d-of-00003.gguf", folder, i + 1);
        write_part(part[i], i, 3, name);
    }
    assert_int_equal(gguf_open(&g, part[0], NULL), PITH_OK);
    assert_int_equal(gguf_count(g), 3);
    assert_false(meta_has(gguf_meta(g), "split.count"));
    assert_int_equal(gguf_load(g, 2, &t, NULL), PITH_OK);
    assert_true(*(float *)t.data == 2.0f);
    pith_tensor_release(&t);
    gguf_close(g);
    assert_int_equal(gguf_open(&g, part[1], NULL), PITH_USAGE); /* the second does not stand for all */
    write_part(part[2], 1, 3, "c");                             /* says it is another */
    assert_int_equal(gguf_open(&g, part[0], NULL), PITH_MISMATCH);
    write_part(part[2], 2, 3, "a"); /* a name twice over all files */
    assert_int_equal(gguf_open(&g, part[0], NULL), PITH_CORRUPT);
    unlink(part[2]);
    assert_int_equal(gguf_open(&g, part[0], NULL), PITH_NOT_FOUND);
    unlink(part[0]);
    unlink(part[1]);
}

static void memory_may_end_anywhere(void **state) {
    (void)state;
    size_t size;
    write_small(path);
    uint8_t *bytes = read_all(path, &size);
    for (int64_t n = 1;; n++) {
        pith_error err = {0};
        memory_fail_at(n);
        pith_status s = parse(bytes, size, &err);
        memory_fail_at(0);
        if (s == PITH_OK) break;
        assert_int_equal(s, PITH_NO_MEMORY);
    }
    free(bytes);
}

static void published_files_come_back_byte_for_byte(void **state) {
    (void)state;
    static const char *const names[] = {"bert-bge", "gpt-2", "llama-spm", "phi-3", "starcoder"};
    const char *data = harness_data("lm/ggml-vocab");
    if (!data) skip();
    for (int i = 0; i < 5; i++) {
        char in[4400];
        gguf *g;
        gguf_writer *w;
        size_t a, b;
        snprintf(in, sizeof in, "%s/ggml-vocab-%s.gguf", data, names[i]);
        assert_int_equal(gguf_open(&g, in, NULL), PITH_OK);
        assert_int_equal(gguf_writer_open(&w, path, true, gguf_meta(g), NULL), PITH_OK);
        assert_int_equal(gguf_writer_commit(w, NULL), PITH_OK);
        gguf_close(g);
        uint8_t *one = read_all(in, &a), *two = read_all(path, &b);
        assert_int_equal(a, b);
        assert_memory_equal(one, two, a);
        free(one);
        free(two);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata_of_any_kind_comes_back),
        cmocka_unit_test(numbers_convert_where_they_fit),
        cmocka_unit_test(tensors_come_back),
        cmocka_unit_test(wrong_use_of_the_writer_is_refused),
        cmocka_unit_test(every_cut_and_flip_ends_cleanly),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(every_type_number_has_its_name),
        cmocka_unit_test(a_split_reads_as_one),
        cmocka_unit_test(memory_may_end_anywhere),
        cmocka_unit_test(published_files_come_back_byte_for_byte),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

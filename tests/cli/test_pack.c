/* pack, unpack, verify, info as commands: exact bytes back, no byte overwritten, every flipped bit refused. */
#include "harness.h"

#include "base/memory.h"
#include "cli/command.h"
#include "file/safetensors.h"

#include <unistd.h>

static char folder[64];

static char *at(const char *name) {
    static char path[4][128];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static int call(const char *const *words) {
    char *argv[16];
    int argc = 0;
    while (words[argc]) argv[argc] = (char *)words[argc], argc++;
    argv[argc] = NULL;
    return command_main(argc, argv);
}
#define CALL(...) call((const char *const[]){"pith", __VA_ARGS__, "-q", NULL})

/* step: a checkpoint some steps on, weights a little different */
static void write_model(const char *path, int step) {
    static float w[64 * 96];
    safetensors_entry e[2] = {{.name = "a.weight"}, {.name = "b"}};
    uint64_t bytes;
    pith_bytes header;
    safetensors_writer *out;
    for (int i = 0; i < 64 * 96; i++)
        w[i] = (float)((i * 7919) % 1013 - 506) / 4096 * (1 + (float)(i * 2654435761u >> 16) / 65536) +
               (float)(step * (i * 31 % 17 - 8)) / 65536;
    assert_int_equal(pith_tensor_layout(&e[0].layout, PITH_F32, 2, (int64_t[]){64, 96}, &bytes, NULL), PITH_OK);
    assert_int_equal(pith_tensor_layout(&e[1].layout, PITH_F32, 1, (int64_t[]){5}, &bytes, NULL), PITH_OK);
    assert_int_equal(safetensors_header(e, 2, "{\"k\":\"v\"}", &header, NULL), PITH_OK);
    assert_int_equal(safetensors_writer_open(&out, path, true, header, NULL), PITH_OK);
    assert_int_equal(safetensors_write(out, w, sizeof w, NULL), PITH_OK);
    assert_int_equal(safetensors_write(out, w, 20, NULL), PITH_OK);
    assert_int_equal(safetensors_writer_commit(out, NULL), PITH_OK);
    memory_free(header.data);
}

static size_t slurp(const char *path, uint8_t *bytes, size_t room) {
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(bytes, 1, room, f) : 0;
    if (f) fclose(f);
    return n;
}

static void gives_the_same_bytes_back(void **state) {
    (void)state;
    static uint8_t a[1 << 16], b[1 << 16];
    assert_int_equal(CALL("pack", at("m.safetensors"), "-o", at("m.pith"), "--force"), 0);
    assert_int_equal(CALL("verify", at("m.pith")), 0);
    assert_int_equal(CALL("unpack", at("m.pith"), "-o", at("back.safetensors"), "--force"), 0);
    size_t n = slurp(at("m.safetensors"), a, sizeof a);
    assert_true(n > 64 * 96 * 4);
    assert_int_equal(slurp(at("back.safetensors"), b, sizeof b), n);
    assert_memory_equal(a, b, n);
    assert_int_equal(CALL("pack", at("m.safetensors"), "-o", at("m.pith")), 2);
    assert_int_equal(CALL("pack", at("m.safetensors"), "-o", at("m.safetensors"), "--force"), 2);
}

static void refuses_flipped_bits(void **state) {
    (void)state;
    static uint8_t a[1 << 16];
    assert_int_equal(CALL("pack", at("m.safetensors"), "-o", at("q.pith"), "--type", "q8_0", "--force"), 0);
    size_t n = slurp(at("q.pith"), a, sizeof a);
    for (size_t k = 0; k < n; k += 97) {
        a[k] ^= (uint8_t)(1 << k % 8);
        FILE *f = fopen(at("x.pith"), "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(a, 1, n, f), n);
        fclose(f);
        assert_int_equal(CALL("unpack", at("x.pith"), "-o", at("x.safetensors")), 1);
        assert_int_not_equal(access(at("x.safetensors"), F_OK), 0);
        a[k] ^= (uint8_t)(1 << k % 8);
    }
}

/* A file with one small tensor of every type that safetensors has. */
static void write_every_type(const char *path) {
    static const char *const dtypes[] = {"BOOL",    "F4",      "F6_E2M3", "F6_E3M2",     "U8",          "I8",
                                         "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I16",
                                         "U16",     "F16",     "BF16",    "I32",         "U32",         "F32",
                                         "C64",     "F64",     "I64",     "U64"};
    static const int bits[] = {8, 4, 6, 6, 8, 8, 8, 8, 8, 8, 8, 16, 16, 16, 16, 32, 32, 32, 64, 64, 64, 64};
    char header[4096] = "{";
    size_t n = 1, at = 0;
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
        size_t bytes = 3 * 40 * (size_t)bits[i] / 8;
        n += (size_t)sprintf(header + n, "%s\"t%d\":{\"dtype\":\"%s\",\"shape\":[3,40],\"data_offsets\":[%d,%d]}",
                             i ? "," : "", (int)i, dtypes[i], (int)at, (int)(at + bytes));
        at += bytes;
    }
    n += (size_t)sprintf(header + n, "}");
    uint64_t length = n;
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(&length, 8, 1, f);
    fwrite(header, 1, n, f);
    for (size_t i = 0; i < at; i++) fputc((int)(i * i * 2654435761u >> 13), f);
    fclose(f);
}

static void every_type_passes(void **state) {
    (void)state;
    static uint8_t a[1 << 16], b[1 << 16];
    write_every_type(at("e.safetensors"));
    size_t n = slurp(at("e.safetensors"), a, sizeof a);
    static const char *const types[] = {"lossless", "q8_0"}; /* 40 columns: the floats fall back to f16 */
    for (int k = 0; k < 2; k++) {
        assert_int_equal(CALL("pack", at("e.safetensors"), "-o", at("e.pith"), "--type", types[k], "--force"), 0);
        assert_int_equal(CALL("unpack", at("e.pith"), "-o", at("back.safetensors"), "--force"), 0);
        size_t m = slurp(at("back.safetensors"), b, sizeof b);
        if (k == 0) assert_int_equal(m, n);
        if (k == 0) assert_memory_equal(a, b, n);
    }
    safetensors s = {0};
    pith_tensor t;
    assert_int_equal(safetensors_open(&s, at("back.safetensors"), NULL), PITH_OK);
    assert_int_equal(s.count, 22);
    assert_int_equal(safetensors_load(&s, (size_t)safetensors_find(&s, "t1"), &t, NULL), PITH_OK); /* F4 stays */
    assert_int_equal(t.type, PITH_F4);
    pith_tensor_release(&t);
    safetensors_close(&s);
    assert_int_equal(CALL("pack", at("e.safetensors"), "-o", at("e.gguf"), "--type", "q8_0"), 1); /* has no F4 */
}

static int shell(const char *format, ...) {
    char line[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    return system(line);
}

static void streams(void **state) {
    (void)state;
    static uint8_t a[1 << 16], b[1 << 16];
    int code = shell("cd %s && cat m.safetensors | %s pack - -o - | %s unpack - -o - > back.safetensors", folder,
                     PITH_COMMAND, PITH_COMMAND);
    assert_int_equal(code, 0);
    size_t n = slurp(at("m.safetensors"), a, sizeof a);
    assert_int_equal(slurp(at("back.safetensors"), b, sizeof b), n);
    assert_memory_equal(a, b, n);
    assert_int_equal(shell("cd %s && %s pack m.safetensors -o - | %s verify - -q", folder, PITH_COMMAND, PITH_COMMAND),
                     0);
    assert_int_equal(CALL("unpack", at("m.safetensors"), "-o", "-", "--json"), 2);
}

static void dry_runs_write_nothing(void **state) {
    (void)state;
    static const char *const outs[] = {"d.pith", "d.gguf", "d.safetensors"};
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    assert_non_null(freopen("/dev/null", "w", stdout));
    int codes[6];
    for (int k = 0; k < 3; k++) {
        codes[k] = k == 2 ? 0 : CALL("pack", at("m.safetensors"), "-o", at(outs[k]), "--type", "q8_0", "--dry-run");
        codes[3 + k] = k == 0 ? 0 : CALL("unpack", at("m.safetensors"), "-o", at(outs[k]), "--dry-run");
    }
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    for (int k = 0; k < 6; k++) assert_int_equal(codes[k], 0);
    for (int k = 0; k < 3; k++) assert_int_not_equal(access(at(outs[k]), F_OK), 0);
}

/* Importance from a text, kept in a file, gives the same bytes from that file; none gives others. */
static void calibrates(void **state) {
    (void)state;
    static uint8_t a[1 << 22], b[1 << 22];
    const char *lm = PITH_SOURCE_DIR "/share/lm-s.pith";
    char text[128];
    snprintf(text, sizeof text, "%s", at("text"));
    FILE *f = fopen(text, "w");
    assert_non_null(f);
    for (int i = 0; i < 30; i++) fprintf(f, "%d sheep. ", i);
    fclose(f);
    assert_int_equal(
        CALL("pack", lm, "-o", at("c1.gguf"), "--type", "q4_0", "--calib", text, "--imatrix-out", at("i.gguf")), 0);
    assert_int_equal(CALL("pack", lm, "-o", at("c2.gguf"), "--type", "q4_0", "--imatrix", at("i.gguf")), 0);
    assert_int_equal(CALL("pack", lm, "-o", at("c3.gguf"), "--type", "q4_0"), 0);
    size_t n = slurp(at("c1.gguf"), a, sizeof a);
    assert_int_equal(slurp(at("c2.gguf"), b, sizeof b), n);
    assert_memory_equal(a, b, n);
    assert_int_equal(slurp(at("c3.gguf"), b, sizeof b), n);
    assert_true(memcmp(a, b, n) != 0);
    assert_int_equal(CALL("pack", lm, "-o", at("c4.pith"), "--calib", text), 2); /* lossless */
    assert_int_equal(CALL("pack", lm, "-o", at("c4.gguf"), "--type", "q4_0", "--imatrix-out", at("i.gguf")), 2);
    assert_int_equal(CALL("pack", at("m.safetensors"), "-o", at("c4.gguf"), "--type", "q4_0", "--calib", text), 1);
    assert_int_not_equal(access(at("c4.gguf"), F_OK), 0);
}

static size_t size_of(const char *path) {
    static uint8_t bytes[1 << 16];
    return slurp(path, bytes, sizeof bytes);
}

static void packs_the_difference_to_a_base(void **state) {
    (void)state;
    static uint8_t a[1 << 16], b[1 << 16];
    assert_int_equal(CALL("pack", at("next.safetensors"), "-o", at("f.pith"), "--force"), 0);
    assert_int_equal(CALL("pack", at("next.safetensors"), "--base", at("m.safetensors"), "-o", at("d.pith"), "--force"),
                     0);
    assert_true(4 * size_of(at("d.pith")) < 3 * size_of(at("f.pith")));
    assert_int_equal(CALL("unpack", at("d.pith"), "--base", at("m.safetensors"), "-o", at("x.safetensors"), "--force"),
                     0);
    size_t n = slurp(at("next.safetensors"), a, sizeof a);
    assert_int_equal(slurp(at("x.safetensors"), b, sizeof b), n);
    assert_memory_equal(a, b, n);
    unlink(at("x.safetensors"));
    /* a lossless .pith of the base is as good as the base */
    assert_int_equal(CALL("pack", at("m.safetensors"), "-o", at("m.pith"), "--force"), 0);
    assert_int_equal(CALL("verify", at("d.pith"), "--base", at("m.pith")), 0);
    /* no base, another model, one too many */
    assert_int_equal(CALL("info", at("d.pith"), "--json"), 0);
    assert_int_equal(CALL("verify", at("d.pith")), 1);
    assert_int_equal(CALL("unpack", at("d.pith"), "-o", at("x.safetensors")), 1);
    assert_int_equal(CALL("unpack", at("d.pith"), "-o", at("x.safetensors"), "--base", at("next.safetensors")), 1);
    assert_int_equal(CALL("verify", at("m.pith"), "--base", at("m.pith")), 2);
    assert_int_equal(CALL("pack", at("next.safetensors"), "--base", at("m.pith"), "-o", at("x.gguf")), 2);
    assert_int_not_equal(access(at("x.safetensors"), F_OK), 0);
}

static void packs_equal_models_into_nothing(void **state) {
    (void)state;
    static const char *const types[] = {"q4_0", "bf16"};
    assert_int_equal(CALL("pack", at("m.safetensors"), "--base", at("m.safetensors"), "-o", at("d.pith"), "--force"),
                     0);
    assert_true(size_of(at("d.pith")) < 1024);
    for (int k = 0; k < 2; k++) {
        assert_int_equal(CALL("pack", at("m.safetensors"), "-o", at("m.gguf"), "--type", types[k], "--force"), 0);
        assert_int_equal(CALL("pack", at("m.gguf"), "--base", at("m.gguf"), "-o", at("d.pith"), "--force"), 0);
        assert_true(size_of(at("d.pith")) < 1024);
        assert_int_equal(CALL("pack", at("next.safetensors"), "-o", at("next.gguf"), "--type", types[k], "--force"), 0);
        assert_int_equal(CALL("pack", at("next.gguf"), "--base", at("m.gguf"), "-o", at("d.pith"), "--force"), 0);
        assert_int_equal(CALL("verify", at("d.pith"), "--base", at("m.gguf")), 0);
    }
}

static void ends_cleanly_without_memory(void **state) {
    (void)state;
    for (int64_t n = 1; n < 4000; n += n < 60 ? 1 : 29) {
        memory_fail_at(n);
        int code = CALL("pack", at("m.safetensors"), "-o", at("f.pith"), "--force", "--threads", "1");
        memory_fail_at(0);
        if (code != 0 && code != 1) fail_msg("pack, allocation %d: exit code %d", (int)n, code);
        if (code == 0) break;
    }
    for (int64_t n = 1; n < 4000; n += n < 120 ? 1 : 29) {
        memory_fail_at(n);
        int code = CALL("pack", at("next.safetensors"), "--base", at("m.safetensors"), "-o", at("f.pith"), "--force",
                        "--threads", "1");
        memory_fail_at(0);
        if (code != 0 && code != 1) fail_msg("pack --base, allocation %d: exit code %d", (int)n, code);
        if (code == 0) break;
    }
}

static int set_up(void **state) {
    (void)state;
    strcpy(folder, "/tmp/pith-pack-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    write_model(at("m.safetensors"), 0);
    write_model(at("next.safetensors"), 1);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    static const char *const names[] = {"m.safetensors",    "m.pith",        "back.safetensors", "q.pith",
                                        "x.pith",           "x.safetensors", "f.pith",           "text",
                                        "i.gguf",           "c1.gguf",       "c2.gguf",          "c3.gguf",
                                        "next.safetensors", "d.pith",        "m.gguf",           "next.gguf"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(at(names[i]));
    return rmdir(folder);
}

int main(void) {
    if (!freopen("/dev/null", "w", stderr)) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(gives_the_same_bytes_back),
                                       cmocka_unit_test(refuses_flipped_bits),
                                       cmocka_unit_test(calibrates),
                                       cmocka_unit_test(every_type_passes),
                                       cmocka_unit_test(streams),
                                       cmocka_unit_test(dry_runs_write_nothing),
                                       cmocka_unit_test(packs_the_difference_to_a_base),
                                       cmocka_unit_test(packs_equal_models_into_nothing),
                                       cmocka_unit_test(ends_cleanly_without_memory)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

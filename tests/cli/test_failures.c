/* Commands that are let down: without memory at any allocation, without disk at any step of writing, interrupted. They
 * end with the exit code documented, under the output's name stands what stood there before or the whole new file (when
 * only the report failed), and nothing is left beside. */
#include "harness.h"

#include "base/memory.h"
#include "base/progress.h"
#include "cli/command.h"
#include "file/output.h"
#include "file/safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char folder[64]; /* where waiting for the disk costs nothing, if there is such a place */
static const char old_bytes[] = "what was here before";

static const char *const roads[][12] = {
    {"pith", "info", "m.safetensors", "--json"},
    {"pith", "info", "m.pith", "--json"},
    {"pith", "info", "m.gguf", "--json"},
    {"pith", "pack", "m.safetensors", "-o", "out.pith"},
    {"pith", "pack", "m.safetensors", "-o", "out.gguf", "--type", "q8_0"},
    {"pith", "pack", "m.gguf", "-o", "out.pith", "--type", "q4_0"},
    {"pith", "unpack", "m.pith", "-o", "out.safetensors"},
    {"pith", "unpack", "m.pith", "-o", "out.gguf"},
    {"pith", "unpack", "m.gguf", "-o", "out.folder"},
    {"pith", "verify", "m.pith", "--json"},
};
enum { ROADS = sizeof roads / sizeof *roads };

/* What the command says goes nowhere. */
static int call(const char *const *words) {
    char *argv[24];
    int argc = 0;
    for (; words[argc]; argc++) argv[argc] = (char *)words[argc];
    argv[argc++] = "--force", argv[argc++] = "-q", argv[argc++] = "--threads", argv[argc++] = "1";
    argv[argc] = NULL;
    fflush(stdout);
    int kept[2] = {dup(STDOUT_FILENO), dup(STDERR_FILENO)}, nowhere = open("/dev/null", O_WRONLY);
    for (int i = 0; i < 2; i++) dup2(nowhere, STDOUT_FILENO + i);
    int code = command_main(argc, argv);
    fflush(stdout);
    for (int i = 0; i < 2; i++) dup2(kept[i], STDOUT_FILENO + i), close(kept[i]);
    close(nowhere);
    return code;
}
#define CALL(...) call((const char *const[]){"pith", __VA_ARGS__, NULL})

static int entries(const char *path) {
    DIR *d = opendir(path);
    int n = 0;
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n;
}

static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

typedef struct content {
    size_t size;
    uint8_t bytes[1 << 17];
} content;
static content wanted, found;

static const content *read_file(content *c, const char *path) {
    FILE *f = fopen(path, "r");
    c->size = f ? fread(c->bytes, 1, sizeof c->bytes, f) : 0;
    assert_true(f && c->size < sizeof c->bytes);
    fclose(f);
    return c;
}

static bool holds(const char *path, const void *bytes, size_t size) {
    read_file(&found, path);
    return found.size == size && memcmp(found.bytes, bytes, size) == 0;
}

/* The file that shows whether the output is the old one: in a folder its config.json. */
static const char *place_old(const char *out) {
    if (!strstr(out, ".folder")) {
        write_text(out, old_bytes);
        return out;
    }
    mkdir(out, 0777);
    write_text("out.folder/config.json", old_bytes);
    return "out.folder/config.json";
}

static void remove_output(const char *out) {
    if (unlink(out) == 0 || !strstr(out, ".folder")) return;
    DIR *d = opendir(out);
    char path[512];
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        snprintf(path, sizeof path, "%s/%s", out, e->d_name);
        unlink(path);
    }
    if (d) closedir(d);
    rmdir(out);
}

/* Runs a road with every n-th step failing until it succeeds; returns how many steps it has. */
static int64_t fail_everywhere(const char *const *road, void (*fail_at)(int64_t n), const char *what) {
    const char *out = road[3] && strcmp(road[3], "-o") == 0 ? road[4] : NULL, *old = NULL;
    assert_int_equal(call(road), 0);
    if (out) read_file(&wanted, strstr(out, ".folder") ? "out.folder/config.json" : out);
    for (int64_t n = 1;; n++) {
        if (out) old = place_old(out);
        int before = entries(".");
        fail_at(n);
        int code = call(road);
        fail_at(0);
        if (entries(".") != before) fail_msg("%s %s, %s %d: files are left behind", road[1], road[2], what, (int)n);
        bool new = old &&holds(old, wanted.bytes, wanted.size);
        if (code == 0 && old && !new) fail_msg("%s %s -o %s: not what it should be", road[1], road[2], out);
        if (code == 0 && out) remove_output(out);
        if (code == 0) return n;
        if (code != 1) fail_msg("%s %s, %s %d: exit code %d", road[1], road[2], what, (int)n, code);
        if (old && !new && !holds(old, old_bytes, strlen(old_bytes)))
            fail_msg("%s %s, %s %d: neither the old output nor the new", road[1], road[2], what, (int)n);
    }
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    for (size_t i = 0; i < ROADS; i++) {
        int64_t n = fail_everywhere(roads[i], memory_fail_at, "allocation");
        if (n < 20) fail_msg("%s %s: only %d allocations", roads[i][1], roads[i][2], (int)n);
    }
}

static void every_write_may_fail(void **state) {
    (void)state;
    for (size_t i = 0; i < ROADS; i++) {
        int64_t n = fail_everywhere(roads[i], output_fail_at, "write");
        bool writes = roads[i][3] && strcmp(roads[i][3], "-o") == 0;
        if (writes ? n < 5 : n != 1) fail_msg("%s %s: %d steps on disk", roads[i][1], roads[i][2], (int)n);
    }
    if (access("/dev/full", W_OK) != 0) return;
    assert_int_equal(CALL("pack", "m.safetensors", "-o", "/dev/full"), 2); /* no name says what to write */
    assert_int_equal(symlink("/dev/full", "full.gguf"), 0);
    assert_int_equal(CALL("pack", "m.safetensors", "-o", "full.gguf", "--type", "q8_0"), 1);
    assert_int_equal(unlink("full.gguf"), 0);
}

/* Starts the command, waits for its temporary file, interrupts. */
static int interrupted(const char *const *words, int number, int before) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execv(PITH_COMMAND, (char *const *)words);
        _exit(127);
    }
    for (int i = 0; i < 20000 && entries(".") == before; i++) nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    kill(child, number);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void ends_when_interrupted(void **state) {
    (void)state;
    static const char *const words[] = {
        "pith", "pack", PITH_SOURCE_DIR "/share/pith-tales.pith", "-o", "i.gguf", "--type", "q3_k", "-q", "--threads",
        "1",    NULL};
    static const int numbers[] = {SIGINT, SIGTERM};
    for (int i = 0; i < 2; i++) {
        int before = entries("."), code = interrupted(words, numbers[i], before);
        if (code != 130) fail_msg("signal %d: expected exit code 130, found %d", numbers[i], code);
        assert_int_equal(entries("."), before);
    }
}

static void write_model(const char *path) {
    static float w[32 * 64];
    safetensors_entry e[2] = {{.name = "blk.0.attn_q.weight"}, {.name = "b"}};
    uint64_t bytes;
    pith_bytes header;
    safetensors_writer *out;
    for (int i = 0; i < 32 * 64; i++) w[i] = (float)((i * 7919) % 1013 - 506) / 4096;
    pith_tensor_layout(&e[0].layout, PITH_F32, 2, (int64_t[]){32, 64}, &bytes, NULL);
    pith_tensor_layout(&e[1].layout, PITH_F32, 1, (int64_t[]){5}, &bytes, NULL);
    assert_int_equal(safetensors_header(e, 2, "{\"k\":\"v\"}", &header, NULL), PITH_OK);
    assert_int_equal(safetensors_writer_open(&out, path, true, header, NULL), PITH_OK);
    assert_int_equal(safetensors_write(out, w, sizeof w, NULL), PITH_OK);
    assert_int_equal(safetensors_write(out, w, 20, NULL), PITH_OK);
    assert_int_equal(safetensors_writer_commit(out, NULL), PITH_OK);
    memory_free(header.data);
}

static int set_up(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "%s/pith-failures-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(folder) || chdir(folder) != 0) return -1;
    write_model("m.safetensors");
    if (CALL("pack", "m.safetensors", "-o", "m.pith") != 0) return -1;
    return CALL("pack", PITH_SOURCE_DIR "/tests/model/fixtures/llama", "-o", "m.gguf", "--type", "q8_0");
}

static int tear_down(void **state) {
    (void)state;
    static const char *const names[] = {"m.safetensors", "m.pith", "m.gguf"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(names[i]);
    return chdir("/") == 0 ? rmdir(folder) : -1;
}

static int end_of_child_writing_to(int fd) {
    int state;
    pid_t child = fork();
    if (child == 0) {
        dup2(fd, STDOUT_FILENO), dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        interrupt_install();
        _exit(command_main(3, (char *[]){"pith", "info", "m.gguf", NULL}));
    }
    assert_int_equal(waitpid(child, &state, 0), child);
    return state;
}

static void a_reader_that_left_ends_the_command_silently(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    int how = end_of_child_writing_to(ends[1]);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGPIPE);
    close(ends[1]);
    int full = open("/dev/full", O_WRONLY);
    if (full < 0) return;
    how = end_of_child_writing_to(full);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 1);
    close(full);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail),
                                       cmocka_unit_test(every_write_may_fail), cmocka_unit_test(ends_when_interrupted),
                                       cmocka_unit_test(a_reader_that_left_ends_the_command_silently)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

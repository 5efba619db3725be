/* judge/process.c - fork, exec, wait. The command gets a process group of its own, so that all of it can be told to
 * stop. */
#include "judge/process.h"

#include "base/memory.h"
#include "base/progress.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- environment ---- */

static size_t find(const environment *e, const char *name) {
    size_t n = strlen(name), i = 0;
    while (i < e->count && !(strncmp(e->rows[i], name, n) == 0 && e->rows[i][n] == '=')) i++;
    return i;
}

const char *environment_get(const environment *e, const char *name) {
    size_t i = find(e, name);
    return i < e->count ? e->rows[i] + strlen(name) + 1 : NULL;
}

pith_status environment_set(environment *e, const char *name, const char *value, pith_error *err) {
    size_t i = find(e, name), room = strlen(name) + strlen(value) + 2;
    char *row = memory_alloc(room);
    if (!row || memory_reserve((void **)&e->rows, &e->capacity, e->count + 2, sizeof *e->rows) != 0) {
        memory_free(row);
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    }
    snprintf(row, room, "%s=%s", name, value);
    if (i < e->count) memory_free(e->rows[i]);
    else e->rows[++e->count] = NULL;
    e->rows[i] = row;
    return PITH_OK;
}

pith_status environment_start(environment *e, const char *command, pith_error *err) {
    static const char *const kept[] = {"HOME", "TMPDIR", "PITH_SHARE", "PITH_ISA"};
    char path[8192];
    const char *slash = strrchr(command, '/'), *old = getenv("PATH");
    int n = slash ? (int)(slash - command) : 1;
    snprintf(path, sizeof path, "%.*s:%s", n, slash ? command : ".", old ? old : "/usr/local/bin:/usr/bin:/bin");
    pith_status s = environment_set(e, "PATH", path, err);
    if (!s) s = environment_set(e, "LC_ALL", "C", err);
    for (size_t i = 0; i < sizeof kept / sizeof *kept && !s; i++)
        if (getenv(kept[i])) s = environment_set(e, kept[i], getenv(kept[i]), err);
    return s;
}

void environment_free(environment *e) {
    for (size_t i = 0; i < e->count; i++) memory_free(e->rows[i]);
    memory_free(e->rows);
    *e = (environment){0};
}

bool environment_expand(const environment *e, const char *text, char *out, size_t size) {
    char name[64];
    size_t n = strcspn(text + 1, "/");
    if (text[0] != '$' || n >= sizeof name) return false;
    memcpy(name, text + 1, n);
    name[n] = 0;
    const char *value = environment_get(e, name);
    return value && snprintf(out, size, "%s%s", value, text + 1 + n) < (int)size;
}

bool process_exists(const environment *e, const char *program) {
    const char *path = environment_get(e, "PATH");
    char file[4096];
    while (path && *path) {
        int n = (int)strcspn(path, ":");
        if (snprintf(file, sizeof file, "%.*s/%s", n, path, program) < (int)sizeof file && access(file, X_OK) == 0)
            return true;
        path += n + (path[n] == ':');
    }
    return false;
}

/* ---- running ---- */

static bool redirect(const char *path, int flags, int to) {
    int fd = open(path, flags, 0666);
    return fd >= 0 && dup2(fd, to) >= 0;
}

/* In the child: never returns. 127 is what shells say when they cannot run something. */
static void become(const char *line, const environment *e, const char *folder, const char *output, const char *errors,
                   const sigset_t *mask) {
    setpgid(0, 0);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    int create = O_WRONLY | O_CREAT | O_TRUNC;
    if (redirect("/dev/null", O_RDONLY, STDIN_FILENO) && redirect(output, create, STDOUT_FILENO) &&
        (!errors || redirect(errors, create, STDERR_FILENO)) && chdir(folder) == 0)
        execve("/bin/sh", (char *[]){"sh", "-e", "-c", (char *)line, NULL}, e->rows);
    _exit(127);
}

static void on_child(int number) { (void)number; }

/* Waits with signals blocked but while it sleeps, so that none slips in between looking and sleeping. */
static bool wait_for(pid_t child, const sigset_t *mask, int *status, struct rusage *use) {
    bool told = false;
    for (;;) {
        pid_t done = wait4(child, status, WNOHANG, use);
        if (done == child) return true;
        if (done < 0 && errno != EINTR) return false;
        if (interrupt_requested() && !told) {
            kill(-child, SIGINT);
            told = true;
        }
        ppoll(NULL, 0, &(struct timespec){.tv_nsec = 100000000}, mask);
    }
}

pith_status process_run(const char *line, const environment *e, const char *folder, const char *output,
                        const char *errors, process_end *end, pith_error *err) {
    sigset_t block, before;
    struct sigaction child_action = {.sa_handler = on_child}, old_action;
    struct rusage use;
    int status;
    sigemptyset(&block);
    sigaddset(&block, SIGCHLD);
    sigaddset(&block, SIGINT);
    sigaddset(&block, SIGTERM);
    sigaction(SIGCHLD, &child_action, &old_action);
    sigprocmask(SIG_BLOCK, &block, &before);
    double started = clock_seconds();
    pid_t child = fork();
    if (child == 0) become(line, e, folder, output, errors, &before);
    int failure = errno;
    bool ended = child > 0 && wait_for(child, &before, &status, &use);
    double seconds = clock_seconds() - started;
    sigprocmask(SIG_SETMASK, &before, NULL);
    sigaction(SIGCHLD, &old_action, NULL);
    if (!ended) return pith_fail_errno(err, "sh", child > 0 ? errno : failure, "cannot run a command");
    if (interrupt_requested()) kill(-child, SIGTERM); /* those the shell had told to ignore Ctrl-C */
    if (interrupt_requested()) return pith_fail(err, PITH_INTERRUPTED, NULL, -1, "interrupted");
    *end = (process_end){.code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status),
                         .seconds = seconds,
                         .peak_kib = use.ru_maxrss};
    return PITH_OK;
}

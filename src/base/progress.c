/* base/progress.c - the bar, the clock, and Ctrl-C. */
#include "base/progress.h"

#include "base/log.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int number) {
    if (interrupted && number == SIGINT) _exit(130); /* the user insists */
    interrupted = 1;
}

void interrupt_install(void) {
    struct sigaction act;
    memset(&act, 0, sizeof act);
    act.sa_handler = on_signal; /* no SA_RESTART: a blocked read returns */
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    act.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &act, NULL);
    sigaction(SIGXFSZ, &act, NULL);
}

bool interrupt_requested(void) { return interrupted != 0; }
void interrupt_clear(void) { interrupted = 0; }

static double clock_of(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double clock_seconds(void) { return clock_of(CLOCK_MONOTONIC); }
double cpu_seconds(void) { return clock_of(CLOCK_PROCESS_CPUTIME_ID); }

long memory_peak_kib(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

void progress_begin(progress *p, const char *label) {
    memset(p, 0, sizeof *p);
    p->label = label;
    p->started = clock_seconds();
}

static void draw(progress *p, double done, double total, const char *unit, double now) {
    enum { WIDTH = 30 };
    double share = total > 0 ? done / total : 0;
    if (share > 1) share = 1;
    char bar[WIDTH + 1];
    for (int i = 0; i < WIDTH; i++) bar[i] = i < (int)(share * WIDTH + 0.5) ? '#' : '.';
    bar[WIDTH] = 0;
    double elapsed = now - p->started, left = share > 0 ? elapsed / share - elapsed : 0;
    fprintf(stderr, "\r\033[K%s [%s] %3.0f %%  %.6g/%.6g %s  %d:%02d left", p->label, bar, share * 100, done, total,
            unit ? unit : "", (int)(left / 60), (int)left % 60);
    fflush(stderr);
    p->visible = true;
    p->drawn = now;
}

bool progress_report(void *progress_ptr, double done, double total, const char *unit) {
    progress *p = progress_ptr;
    double now = clock_seconds();
    if (now - p->started > 2.0 && now - p->drawn > 0.2 && log_get_level() != LOG_QUIET && isatty(STDERR_FILENO))
        draw(p, done, total, unit, now);
    return !interrupt_requested();
}

void progress_end(progress *p) {
    if (p->visible) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    p->visible = false;
}

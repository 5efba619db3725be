/* base/progress.h - the progress bar, and Ctrl-C.
 *
 * progress_report fits pith_context.progress: it draws a bar with the time left on standard error (only on a terminal,
 * only after two seconds, unless log level is quiet) and returns false once the user has asked to stop. */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdbool.h>

typedef struct progress {
    const char *label; /* "packing"; static text */
    double started;    /* seconds, clock_seconds() */
    double drawn;      /* when last drawn, 0: never */
    bool visible;      /* a bar is on the screen */
} progress;

void progress_begin(progress *p, const char *label);
bool progress_report(void *progress_ptr, double done, double total, const char *unit);
void progress_end(progress *p); /* clears the bar */

/* SIGINT and SIGTERM set a flag; a second SIGINT ends the process at once. SIGPIPE and SIGXFSZ are ignored, so that a
 * full disk or a closed pipe arrives as a write error. */
void interrupt_install(void);
bool interrupt_requested(void);
void interrupt_clear(void);

double clock_seconds(void); /* monotonic */
double cpu_seconds(void);   /* user + system of this process */
long memory_peak_kib(void); /* largest resident set so far */

#endif

/* base/log.c - standard error. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static log_level level = LOG_NORMAL;

void log_set_level(log_level l) { level = l; }
log_level log_get_level(void) { return level; }

static void line(const char *prefix, const char *fmt, va_list args) {
    char text[1024];
    vsnprintf(text, sizeof text, fmt, args);
    fprintf(stderr, "%s%s\n", prefix, text);
}

void log_info(const char *fmt, ...) {
    if (level == LOG_QUIET) return;
    va_list args;
    va_start(args, fmt);
    line("", fmt, args);
    va_end(args);
}

void log_warn(const char *fmt, ...) {
    if (level == LOG_QUIET) return;
    va_list args;
    va_start(args, fmt);
    line("warning: ", fmt, args);
    va_end(args);
}

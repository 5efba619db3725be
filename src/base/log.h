/* base/log.h - words for the person at the terminal: standard error only, never standard output. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

typedef enum log_level { LOG_QUIET, LOG_NORMAL, LOG_VERBOSE } log_level;

void log_set_level(log_level level);
log_level log_get_level(void);
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
void log_info(const char *fmt, ...); /* one line; silent under LOG_QUIET */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
void log_warn(const char *fmt, ...); /* one line with "warning: "; silent under LOG_QUIET */

#endif

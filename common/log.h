/* log: one line per event on standard error: `level tag key=value ...`, with a UTC time stamp in
 * front.
 *
 *   2026-01-31T12:00:00.123Z warn storage.append_failed topic=orders partition=3 err="disk is full"
 *
 * tag is a stable dotted name, `<service>.<event>`; operators grep for it. Values with spaces,
 * quotes or control characters are quoted and escaped. An error is logged once, where it stops
 * travelling.
 */
#pragma once

#include "common/base.h"

/* clang-format off */
#define RIA_LOG_LEVELS(X) X(DEBUG, "debug") X(INFO, "info") X(WARN, "warn") X(ERROR, "error")
/* clang-format on */

#define RIA_LOG_ENUM_(name, text) RIA_LOG_##name,
typedef enum ria_log_level { RIA_LOG_LEVELS(RIA_LOG_ENUM_) } ria_log_level;

struct ria_log {
    ria_log_level level; /* the least severe level that is written */
    /* Where lines go; NULL = standard error. line ends with '\n'. */
    void (*write)(void *arg, const char *line, size_t size);
    void *arg;
};

/* fmt gives the `key=value` part; strings from outside go through ria_log_quote(). A line longer
 * than 2 KiB is cut. log may be NULL (nothing is written). */
void ria_log_write(
    const struct ria_log *log, ria_log_level level, const char *tag, const char *fmt, ...
) RIA_PRINTF(4, 5);

#define ria_log_debug(log, ...) ria_log_write(log, RIA_LOG_DEBUG, __VA_ARGS__)
#define ria_log_info(log, ...)  ria_log_write(log, RIA_LOG_INFO, __VA_ARGS__)
#define ria_log_warn(log, ...)  ria_log_write(log, RIA_LOG_WARN, __VA_ARGS__)
#define ria_log_error(log, ...) ria_log_write(log, RIA_LOG_ERROR, __VA_ARGS__)

/* A value made safe for a line: quoted and escaped if it needs to be. Returns out. */
const char *ria_log_quote(char *out, size_t out_size, const char *text, size_t text_size);

/* "debug"... -> level. False if the name is unknown. */
bool ria_log_level_parse(const char *name, ria_log_level *out_level);

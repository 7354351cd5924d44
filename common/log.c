#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/assert.h"

enum { LOG_LINE_SIZE_MAX = 2048 };

static const char *level_name(ria_log_level level)
{
#define CASE(name, text) \
    case RIA_LOG_##name: \
        return text;
    switch (level) {
        RIA_LOG_LEVELS(CASE)
    }
#undef CASE
    return "unknown";
}

bool ria_log_level_parse(const char *name, ria_log_level *out_level)
{
#define TRY(level, text)              \
    if (strcmp(name, text) == 0) {    \
        *out_level = RIA_LOG_##level; \
        return true;                  \
    }
    RIA_LOG_LEVELS(TRY)
#undef TRY
    return false;
}

/* `2026-01-31T12:00:00.123Z level tag`, without a NUL's place to spare for what follows. */
static size_t write_head(char *line, size_t size, ria_log_level level, const char *tag)
{
    struct timespec now;
    struct tm utc;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &utc);
    int more = snprintf(
        line + n, size - n, ".%03dZ %s %s", (int)(now.tv_nsec / 1000000), level_name(level), tag
    );
    RIA_ASSERT(more > 0);
    return ria_min_size(n + (size_t)more, size - 1);
}

static void write_stderr(const char *line, size_t size)
{
    while (size > 0) {
        ssize_t n = write(STDERR_FILENO, line, size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return; /* nowhere left to complain to */
        }
        line += n;
        size -= (size_t)n;
    }
}

void ria_log_write(
    const struct ria_log *log, ria_log_level level, const char *tag, const char *fmt, ...
)
{
    if (log == NULL || level < log->level) {
        return;
    }
    char line[LOG_LINE_SIZE_MAX + 1]; /* one more: vsnprintf's NUL, where '\n' goes */
    size_t size = write_head(line, LOG_LINE_SIZE_MAX, level, tag);

    if (fmt[0] != '\0' && size + 2 < LOG_LINE_SIZE_MAX) {
        va_list args;
        line[size++] = ' ';
        va_start(args, fmt);
        int more = vsnprintf(line + size, LOG_LINE_SIZE_MAX - size, fmt, args);
        va_end(args);
        if (more > 0) {
            size = ria_min_size(size + (size_t)more, LOG_LINE_SIZE_MAX - 1);
        }
    }
    line[size++] = '\n';
    if (log->write != NULL) {
        log->write(log->arg, line, size);
    } else {
        write_stderr(line, size);
    }
}

static bool needs_quotes(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c >= 0x7f) {
            return true;
        }
    }
    return size == 0;
}

/* The escaped form of one byte, NUL-terminated. */
static void escape(unsigned char c, char out[5])
{
    static const char hex[] = "0123456789abcdef";

    if (c == '"' || c == '\\') {
        memcpy(out, (char[]){'\\', (char)c, '\0'}, 3);
    } else if (c == '\n') {
        memcpy(out, "\\n", 3);
    } else if (c == '\t') {
        memcpy(out, "\\t", 3);
    } else if (c < ' ' || c >= 0x7f) {
        memcpy(out, (char[]){'\\', 'x', hex[c >> 4], hex[c & 15], '\0'}, 5);
    } else {
        memcpy(out, (char[]){(char)c, '\0'}, 2);
    }
}

const char *ria_log_quote(char *out, size_t out_size, const char *text, size_t text_size)
{
    size_t n = 0;

    RIA_ASSERT(out_size >= 3); /* the two quotes and NUL */

    if (!needs_quotes(text, text_size) && text_size < out_size) {
        memcpy(out, text, text_size);
        out[text_size] = '\0';
        return out;
    }
    out[n++] = '"';
    for (size_t i = 0; i < text_size; i++) {
        char escaped[5];
        escape((unsigned char)text[i], escaped);
        size_t size = strlen(escaped);
        if (n + size + 2 > out_size) {
            break; /* cut */
        }
        memcpy(out + n, escaped, size);
        n += size;
    }
    out[n++] = '"';
    out[n] = '\0';
    return out;
}

#include "services/storage/log_path.h"

#include <stdio.h>
#include <string.h>

#include "common/assert.h"

enum { OFFSET_DIGITS = 20 };

static const char *const SUFFIXES[] = {
    [LOG_PATH_LOG] = ".log",
    [LOG_PATH_INDEX] = ".index",
    [LOG_PATH_TIME_INDEX] = ".timeindex",
    [LOG_PATH_PRODUCERS] = ".producers",
    [LOG_PATH_DISCARDED] = ".log.discarded",
    [LOG_PATH_REPAIR] = ".log.tmp",
};

void log_path_of(char out_path[LOG_PATH_MAX], const char *dir, int64_t offset, log_path_kind kind)
{
    RIA_ASSERT(offset >= 0);
    RIA_ASSERT((size_t)kind < RIA_COUNT(SUFFIXES));

    int n =
        snprintf(out_path, LOG_PATH_MAX, "%s/%020lld%s", dir, (long long)offset, SUFFIXES[kind]);
    RIA_ASSERT(n > 0 && n < LOG_PATH_MAX);
}

void log_path_join(char out_path[LOG_PATH_MAX], const char *dir, const char *name)
{
    int n = snprintf(out_path, LOG_PATH_MAX, "%s/%s", dir, name);
    RIA_ASSERT(n > 0 && n < LOG_PATH_MAX);
}

static bool ends_with(const char *name, const char *suffix)
{
    size_t size = strlen(name);
    size_t suffix_size = strlen(suffix);

    return size >= suffix_size && strcmp(name + size - suffix_size, suffix) == 0;
}

/* Twenty digits that fit an int64. */
static bool parse_offset(const char *name, int64_t *out_offset)
{
    int64_t offset = 0;

    for (int i = 0; i < OFFSET_DIGITS; i++) {
        int digit = name[i] - '0';
        if (digit < 0 || digit > 9 || offset > (INT64_MAX - digit) / 10) {
            return false;
        }
        offset = offset * 10 + digit;
    }
    *out_offset = offset;
    return true;
}

log_path_kind log_path_parse(const char *name, int64_t *out_offset)
{
    for (size_t kind = 0; kind < RIA_COUNT(SUFFIXES); kind++) {
        if (strlen(name) == OFFSET_DIGITS + strlen(SUFFIXES[kind]) &&
            strcmp(name + OFFSET_DIGITS, SUFFIXES[kind]) == 0 && parse_offset(name, out_offset)) {
            return (log_path_kind)kind;
        }
    }
    return ends_with(name, ".tmp") ? LOG_PATH_TEMP : LOG_PATH_OTHER;
}

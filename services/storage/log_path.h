/* log_path: names of the files in a partition's folder (docs/formats/partition.md).
 *
 * Thread: any; pure.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"

enum {
    LOG_PATH_MAX = 1024,    /* bytes of a path, with its NUL */
    LOG_PATH_NAME_MAX = 48, /* of the longest name in the folder, with '/' and ".tmp" */
    LOG_PATH_DIR_MAX = LOG_PATH_MAX - LOG_PATH_NAME_MAX,
};

typedef enum log_path_kind {
    LOG_PATH_LOG,
    LOG_PATH_INDEX,
    LOG_PATH_TIME_INDEX,
    LOG_PATH_PRODUCERS,
    LOG_PATH_DISCARDED,
    LOG_PATH_REPAIR, /* a segment that a repair is building */
    LOG_PATH_TEMP,   /* another replacement that was interrupted */
    LOG_PATH_OTHER,  /* fixed names, and what is not ours */
} log_path_kind;

/* "<dir>/<offset><suffix of the kind>". dir is shorter than LOG_PATH_DIR_MAX; kind has an offset.
 */
void log_path_of(char out_path[LOG_PATH_MAX], const char *dir, int64_t offset, log_path_kind kind);

/* "<dir>/<name>". name is shorter than LOG_PATH_NAME_MAX. */
void log_path_join(char out_path[LOG_PATH_MAX], const char *dir, const char *name);

/* What a name says. *out_offset is written for kinds that have one. */
log_path_kind log_path_parse(const char *name, int64_t *out_offset);

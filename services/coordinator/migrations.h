/* migrations: the numbered SQL files of schemas/sql/coordinator, inside the program.
 *
 * Number n brings a database from schema n - 1 to n. A file is never changed once it was released.
 */
#pragma once

#include "common/base.h"

struct migration {
    const char *name; /* of the file */
    const char *sql;  /* NUL-terminated */
};

/* Migration number index + 1. */
extern const struct migration migrations[];
extern const size_t migrations_count;

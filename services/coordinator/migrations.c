#include "services/coordinator/migrations.h"

/* The assembler copies the file into the program, so there is no generated source that could
 * differ from it. module.mk names the files as prerequisites. */
#define MIGRATION_EMBED(symbol, file)                        \
    extern const char symbol[];                              \
    __asm__(".section .rodata\n"                             \
            ".global " #symbol "\n"                          \
            ".hidden " #symbol "\n" #symbol ":\n"            \
            ".incbin \"schemas/sql/coordinator/" file "\"\n" \
            ".byte 0\n"                                      \
            ".previous\n")

MIGRATION_EMBED(migration_001, "001-initial.sql");
MIGRATION_EMBED(migration_002, "002-failover.sql");
MIGRATION_EMBED(migration_003, "003-moves.sql");
MIGRATION_EMBED(migration_004, "004-groups.sql");
MIGRATION_EMBED(migration_005, "005-settings.sql");
MIGRATION_EMBED(migration_006, "006-queues.sql");
MIGRATION_EMBED(migration_007, "007-held.sql");

const struct migration migrations[] = {
    {"001-initial.sql", migration_001},
    {"002-failover.sql", migration_002},
    {"003-moves.sql", migration_003},
    {"004-groups.sql", migration_004},
    {"005-settings.sql", migration_005},
    {"006-queues.sql", migration_006},
    {"007-held.sql", migration_007},
};
const size_t migrations_count = RIA_COUNT(migrations);

/* group_pages: all groups, as the gateway lists them: a page after the other. */
#pragma once

#include "services/cli/cli.h"

/* Prints one page as --json wants it, or puts its groups into the table. */
typedef void (*group_page_fn)(struct cli *cli, const json_t *page, struct cli_table *table);

/* Prints the table at the end, unless there was --json. Returns the exit status. */
int group_pages_print(
    struct cli *cli, const char *const *headings, size_t columns, group_page_fn page
);

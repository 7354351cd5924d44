#include "services/cli/group_pages.h"

#include <stdlib.h>
#include <string.h>

enum { PATH_MAX_BYTES = 4096, NAME_ESCAPED_MAX = 1024 };

/* *out_next is the caller's to free, NULL at the end. */
static int one_page(
    struct cli *cli, const char *after, struct cli_table *table, group_page_fn page, char **out_next
)
{
    char escaped[NAME_ESCAPED_MAX];
    char path[PATH_MAX_BYTES];
    json_t *answer = NULL;

    http_escape(escaped, sizeof(escaped), after);
    (void)snprintf(
        path,
        sizeof(path),
        "/v1/groups?limit=1000%s%s",
        escaped[0] == '\0' ? "" : "&after=",
        escaped
    );
    int status = cli_call(cli, "GET", path, NULL, &answer);
    if (status == CLI_OK) {
        page(cli, answer, table);
    }
    const char *next = cli_text(answer, "next");
    *out_next = next[0] == '\0' ? NULL : strdup(next);
    json_decref(answer);
    return status;
}

int group_pages_print(
    struct cli *cli, const char *const *headings, size_t columns, group_page_fn page
)
{
    struct cli_table *table = cli_table_new(headings, columns);
    char *after = strdup("");
    int status = CLI_OK;

    while (status == CLI_OK && after != NULL) {
        char *next = NULL;
        status = one_page(cli, after, table, page, &next);
        free(after);
        after = next;
    }
    free(after);
    if (status == CLI_OK && !cli->json) {
        cli_table_print(table, stdout);
    }
    cli_table_free(table);
    return status;
}

/* riacho cluster */
#include <string.h>

#include "services/cli/cli.h"

/* "silent, draining"; only storage nodes have one. */
static void add_state(struct cli_table *table, const json_t *process)
{
    const char *state = json_string_value(json_object_get(process, "state"));
    bool draining = json_is_true(json_object_get(process, "draining"));

    cli_table_cell(table, "%s%s", state == NULL ? "-" : state, draining ? ", draining" : "");
}

int cli_cluster(struct cli *cli, int argc, char **argv)
{
    static const char *const headings[] = {
        "ROLE", "NODE", "ALIVE", "STATE", "ADDRESS", "RACK", "PROCESS"};
    json_t *answer = NULL;
    const json_t *process;
    size_t i;

    (void)argv;
    if (argc != 0) {
        return cli_usage("cluster takes no arguments");
    }
    int status = cli_call(cli, "GET", "/v1/cluster", NULL, &answer);
    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        (void)printf(
            "cluster %s  metadata version %lld\n",
            cli_text(answer, "cluster_id"),
            cli_integer(answer, "version")
        );
        const json_t *coordinator = json_object_get(answer, "coordinator");
        if (!json_is_true(json_object_get(coordinator, "reachable"))) {
            status = cli_fail(
                "the coordinator at %s does not answer the gateway, so nobody knows who is alive; "
                "data "
                "goes on flowing with the leaders that are known",
                cli_text(coordinator, "address")
            );
        }
        struct cli_table *table = cli_table_new(headings, RIA_COUNT(headings));
        json_array_foreach(json_object_get(answer, "processes"), i, process)
        {
            long long node = cli_integer(process, "node_id");
            cli_table_cell(table, "%s", cli_text(process, "role"));
            if (strcmp(cli_text(process, "role"), "storage") == 0) {
                cli_table_cell(table, "%lld", node);
            } else {
                cli_table_cell(table, "-");
            }
            bool alive = json_is_true(json_object_get(process, "alive"));
            cli_table_cell(table, "%s", alive ? "yes" : "no");
            add_state(table, process);
            cli_table_cell(table, "%s", cli_text(process, "address"));
            cli_table_cell(table, "%s", cli_text(process, "rack"));
            cli_table_cell(table, "%.8s", cli_text(process, "id"));
        }
        cli_table_print(table, stdout);
        cli_table_free(table);
    }
    json_decref(answer);
    return status;
}

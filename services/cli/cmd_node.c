/* riacho node list|drain|remove */
#include <string.h>

#include "services/cli/cli.h"
#include "services/cli/human.h"
#include "services/cli/moves.h"

enum { PATH_SIZE = 128, NODES_MAX = 1024 };

/* What the storage nodes' free disks are said to be: the sum over their folders. */
static long long free_bytes(const json_t *node)
{
    const json_t *dir;
    long long sum = 0;
    size_t i;

    json_array_foreach(json_object_get(node, "data_dirs"), i, dir)
    {
        const json_t *bytes = json_object_get(dir, "free_bytes");
        if (!json_is_integer(bytes)) {
            return -1;
        }
        sum += (long long)json_integer_value(bytes);
    }
    return i == 0 ? -1 : sum;
}

static long long data_bytes(const json_t *node)
{
    const json_t *bytes = json_object_get(node, "bytes");

    return json_is_integer(bytes) ? (long long)json_integer_value(bytes) : -1;
}

static void state_text(const json_t *node, char *out, size_t size)
{
    const char *state = cli_text(node, "state");
    bool draining = json_is_true(json_object_get(node, "draining"));
    bool removed = strcmp(state, "removed") == 0;

    (void)snprintf(
        out,
        size,
        "%s%s",
        strcmp(state, "shut_down") == 0 ? "shut down" : state,
        draining && !removed ? ", draining" : ""
    );
}

static void print_nodes(const json_t *nodes)
{
    static const char *const headings[] = {
        "NODE",
        "STATE",
        "RACK",
        "REPLICAS",
        "LEADERS",
        "ARRIVING",
        "LEAVING",
        "DATA",
        "FREE",
        "ADDRESS"};
    struct cli_table *table = cli_table_new(headings, RIA_COUNT(headings));
    const json_t *node;
    char text[64];
    size_t i;

    json_array_foreach(nodes, i, node)
    {
        cli_table_cell(table, "%lld", cli_integer(node, "node_id"));
        state_text(node, text, sizeof(text));
        cli_table_cell(table, "%s", text);
        cli_table_cell(table, "%s", cli_text(node, "rack"));
        cli_table_cell(table, "%lld", cli_integer(node, "replicas"));
        cli_table_cell(table, "%lld", cli_integer(node, "leaders"));
        cli_table_cell(table, "%lld", cli_integer(node, "arriving"));
        cli_table_cell(table, "%lld", cli_integer(node, "leaving"));
        cli_table_cell(table, "%s", human_bytes(data_bytes(node), text));
        cli_table_cell(table, "%s", human_bytes(free_bytes(node), text));
        cli_table_cell(table, "%s", cli_text(node, "address"));
    }
    cli_table_print(table, stdout);
    cli_table_free(table);
}

static void print_orphans(const json_t *node, bool by_name)
{
    const json_t *orphans = json_object_get(node, "orphans");
    const json_t *orphan;
    long long id = cli_integer(node, "node_id");
    char size[HUMAN_SIZE];
    size_t i;

    if (json_array_size(orphans) == 0) {
        return;
    }
    (void)printf(
        "node %lld keeps %zu folders that no topic claims%s\n",
        id,
        json_array_size(orphans),
        by_name ? ":" : "; riacho node list --orphans names them"
    );
    for (i = 0; by_name && i < json_array_size(orphans); i++) {
        orphan = json_array_get(orphans, i);
        const json_t *bytes = json_object_get(orphan, "bytes");
        long long known = json_is_integer(bytes) ? (long long)json_integer_value(bytes) : -1;
        (void)printf("  %s  %s\n", cli_text(orphan, "folder"), human_bytes(known, size));
    }
}

/* What a draining node waits for. */
static void print_drain(const json_t *node)
{
    long long id = cli_integer(node, "node_id");
    long long replicas = cli_integer(node, "replicas");

    if (!json_is_true(json_object_get(node, "draining")) ||
        strcmp(cli_text(node, "state"), "removed") == 0) {
        return;
    }
    if (replicas > 0) {
        (void)printf(
            "node %lld is being drained: %lld replicas left, %lld of them on their way\n",
            id,
            replicas,
            cli_integer(node, "leaving")
        );
    } else if (strcmp(cli_text(node, "state"), "active") == 0) {
        (void)printf("node %lld is empty: stop it, then riacho node remove %lld\n", id, id);
    } else {
        (void)printf("node %lld is empty and stopped: riacho node remove %lld\n", id, id);
    }
}

static int list(struct cli *cli, int argc, char **argv)
{
    struct cli_option options[] = {{.name = "orphans", .is_flag = true}};
    int count = cli_parse(argc, argv, options, RIA_COUNT(options));
    json_t *answer = NULL;
    const json_t *node;
    size_t i;

    if (count != 0) {
        return count < 0 ? CLI_USAGE : cli_usage("node list takes no arguments");
    }
    int status = cli_call(cli, "GET", "/v1/nodes", NULL, &answer);
    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        print_nodes(json_object_get(answer, "nodes"));
        json_array_foreach(json_object_get(answer, "nodes"), i, node)
        {
            print_drain(node);
            print_orphans(node, options[0].value != NULL);
        }
    }
    json_decref(answer);
    return status;
}

/* Prints what draining the node would move. */
static int print_plan(struct cli *cli, long long node, bool each, double rate)
{
    char path[PATH_SIZE];
    json_t *plan = NULL;

    (void)snprintf(path, sizeof(path), "/v1/rebalance?node=%lld", node);
    int status = cli_call(cli, "GET", path, NULL, &plan);
    if (status == CLI_OK && cli->json && each) {
        cli_print_json(plan);
    } else if (status == CLI_OK && !cli->json) {
        moves_print_plan(plan, each, rate);
    }
    json_decref(plan);
    return status;
}

static int stop_drain(struct cli *cli, long long node, const char *path)
{
    json_t *answer = NULL;
    int status = cli_call(cli, "DELETE", path, NULL, &answer);

    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        (void)printf(
            "node %lld takes replicas again; it has %lld. riacho rebalance gives it its share\n",
            node,
            cli_integer(answer, "replicas")
        );
    }
    json_decref(answer);
    return status;
}

static int begin_drain(struct cli *cli, long long node, const char *path)
{
    json_t *answer = NULL;
    int status = cli_call(cli, "POST", path, NULL, &answer);

    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK && cli_integer(answer, "replicas") == 0) {
        (void)printf("node %lld is empty: stop it, then riacho node remove %lld\n", node, node);
    } else if (status == CLI_OK) {
        (void)printf(
            "node %lld is being drained of %lld replicas; the cluster goes on by itself, riacho "
            "node list shows how far it is\n",
            node,
            cli_integer(answer, "replicas")
        );
    }
    json_decref(answer);
    return status;
}

static int drain(struct cli *cli, int argc, char **argv)
{
    struct cli_option options[] = {
        {.name = "dry-run", .is_flag = true}, {.name = "stop", .is_flag = true}, {.name = "rate"}};
    int count = cli_parse(argc, argv, options, RIA_COUNT(options));
    char path[PATH_SIZE];
    long long rate = CLI_COPY_RATE;
    long long node;

    if (count < 0) {
        return CLI_USAGE;
    }
    if (count != 1) {
        return cli_usage("node drain wants the number of one node (riacho node list)");
    }
    if (!cli_number("the node", argv[0], 1, NODES_MAX, &node) ||
        (options[2].value != NULL && !cli_number("--rate", options[2].value, 1, 1000000, &rate))) {
        return CLI_USAGE;
    }
    (void)snprintf(path, sizeof(path), "/v1/nodes/%lld/drain", node);
    if (options[1].value != NULL) {
        return stop_drain(cli, node, path);
    }
    int status = print_plan(cli, node, options[0].value != NULL, (double)rate);
    if (status != CLI_OK || options[0].value != NULL) {
        return status;
    }
    return begin_drain(cli, node, path);
}

static int remove_node(struct cli *cli, int argc, char **argv)
{
    char path[PATH_SIZE];
    json_t *answer = NULL;
    long long node;

    if (argc != 1) {
        return cli_usage("node remove wants the number of one node (riacho node list)");
    }
    if (!cli_number("the node", argv[0], 1, NODES_MAX, &node)) {
        return CLI_USAGE;
    }
    (void)snprintf(path, sizeof(path), "/v1/nodes/%lld", node);
    int status = cli_call(cli, "DELETE", path, NULL, &answer);
    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        (void)printf(
            "removed node %lld; with an empty data folder the machine may join as a new node\n",
            node
        );
    }
    json_decref(answer);
    return status;
}

int cli_node(struct cli *cli, int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], "list") == 0) {
        return list(cli, argc - 1, argv + 1);
    }
    if (argc > 0 && strcmp(argv[0], "drain") == 0) {
        return drain(cli, argc - 1, argv + 1);
    }
    if (argc > 0 && strcmp(argv[0], "remove") == 0) {
        return remove_node(cli, argc - 1, argv + 1);
    }
    return cli_usage("node wants list, drain or remove");
}

/* riacho topic elect */
#include <string.h>

#include "services/cli/cli.h"

enum { PATH_SIZE = 1024 };

struct election {
    struct cli *cli;
    char path[PATH_SIZE];
    long long node; /* -1: the coordinator chooses */
    bool force;
    bool yes;
};

static const char *yes_no(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name)) ? "yes" : "no";
}

static void cell_known(struct cli_table *table, const json_t *object, const char *name)
{
    if (json_is_integer(json_object_get(object, name))) {
        cli_table_cell(table, "%lld", cli_integer(object, name));
    } else {
        cli_table_cell(table, "?");
    }
}

static void print_candidates(const json_t *answer)
{
    static const char *const headings[] = {
        "NODE", "STATE", "LOG", "IN SYNC", "ELIGIBLE", "FIRST", "NEXT", "COMMITTED", "MAY LOSE"};
    struct cli_table *table = cli_table_new(headings, RIA_COUNT(headings));
    const json_t *candidate;
    size_t i;

    json_array_foreach(json_object_get(answer, "candidates"), i, candidate)
    {
        cli_table_cell(table, "%lld", cli_integer(candidate, "node_id"));
        cli_table_cell(table, "%s", cli_text(candidate, "state"));
        cli_table_cell(table, "%s", cli_text(candidate, "log"));
        cli_table_cell(table, "%s", yes_no(candidate, "in_sync"));
        cli_table_cell(table, "%s", yes_no(candidate, "eligible"));
        cell_known(table, candidate, "start_offset");
        cell_known(table, candidate, "end_offset");
        cell_known(table, candidate, "high_watermark");
        cell_known(table, candidate, "may_lose");
    }
    cli_table_print(table, stdout);
    cli_table_free(table);
}

static const json_t *find_candidate(const json_t *answer, long long node)
{
    const json_t *candidate;
    size_t i;

    json_array_foreach(json_object_get(answer, "candidates"), i, candidate)
    {
        if (cli_integer(candidate, "node_id") == node) {
            return candidate;
        }
    }
    return NULL;
}

/* What leading by this replica costs, as far as anybody can say. */
static void print_loss(const json_t *answer, const json_t *candidate, long long node)
{
    long long silent = cli_integer(answer, "silent_replicas");

    if (!json_is_integer(json_object_get(candidate, "may_lose"))) {
        (void)printf("node %lld does not say what it has: nobody knows what would be lost\n", node);
    } else if (cli_integer(candidate, "may_lose") == 0) {
        (void)printf("node %lld has every record that is known to be acknowledged\n", node);
    } else {
        long long lost = cli_integer(candidate, "may_lose");
        (void)printf(
            "with node %lld as leader %s%lld acknowledged records (offsets %lld to %lld) are "
            "lost\n",
            node,
            silent > 0 ? "at least " : "",
            lost,
            cli_integer(candidate, "end_offset"),
            cli_integer(candidate, "end_offset") + lost - 1
        );
    }
    if (silent > 0) {
        (void)printf(
            "%lld replicas do not answer: what only they have is lost, too, once they follow it\n",
            silent
        );
    }
}

static int elect(const struct election *election, json_int_t partition_epoch)
{
    json_t *body = json_object();
    json_t *answer = NULL;

    if (election->node >= 0) {
        (void)json_object_set_new(body, "node", json_integer(election->node));
    }
    if (election->force) {
        (void)json_object_set_new(body, "force", json_true());
        (void)json_object_set_new(body, "partition_epoch", json_integer(partition_epoch));
    }
    int status = cli_call(election->cli, "POST", election->path, body, &answer);
    if (status == CLI_OK && election->cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        (void)printf(
            "node %lld leads, epoch %lld\n",
            cli_integer(answer, "leader"),
            cli_integer(answer, "leader_epoch")
        );
    }
    json_decref(body);
    json_decref(answer);
    return status;
}

static int force(const struct election *election)
{
    json_t *answer = NULL;
    int status = cli_call(election->cli, "GET", election->path, NULL, &answer);

    if (status == CLI_OK) {
        const json_t *candidate = find_candidate(answer, election->node);
        if (!election->cli->json) {
            print_candidates(answer);
        }
        if (candidate == NULL) {
            status = cli_fail("node %lld is no replica of the partition", election->node);
        } else if (!election->cli->json) {
            print_loss(answer, candidate, election->node);
        }
        if (status == CLI_OK && !election->yes) {
            status = cli_fail("nothing was changed: with --yes it is done");
        } else if (status == CLI_OK) {
            status = elect(election, cli_integer(answer, "partition_epoch"));
        }
    }
    json_decref(answer);
    return status;
}

int cli_topic_elect(struct cli *cli, int argc, char **argv)
{
    struct cli_option options[] = {
        {.name = "partition"},
        {.name = "node"},
        {.name = "force", .is_flag = true},
        {.name = "yes", .is_flag = true},
    };
    int count = cli_parse(argc, argv, options, RIA_COUNT(options));
    struct election election = {.cli = cli, .node = -1};
    char escaped[PATH_SIZE - 128];
    long long partition;

    if (count < 0) {
        return CLI_USAGE;
    }
    if (count != 1 || options[0].value == NULL) {
        return cli_usage("topic elect wants one NAME and --partition=N");
    }
    if (!cli_number("--partition", options[0].value, 0, 9999, &partition) ||
        (options[1].value != NULL &&
         !cli_number("--node", options[1].value, 1, 1024, &election.node))) {
        return CLI_USAGE;
    }
    election.force = options[2].value != NULL;
    election.yes = options[3].value != NULL;
    if (election.force && election.node < 0) {
        return cli_usage("--force wants --node=N: which replica's log is to count is yours to say");
    }
    http_escape(escaped, sizeof(escaped), argv[0]);
    (void)snprintf(
        election.path,
        sizeof(election.path),
        "/v1/topics/%s/partitions/%lld/leader",
        escaped,
        partition
    );
    return election.force ? force(&election) : elect(&election, -1);
}

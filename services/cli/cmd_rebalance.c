/* riacho rebalance */
#include <string.h>

#include "services/cli/cli.h"
#include "services/cli/moves.h"

enum { CANCEL_BATCH = 500 };

static int show_status(struct cli *cli)
{
    json_t *plan = NULL;
    json_t *moves = NULL;
    int status = cli_call(cli, "GET", "/v1/rebalance", NULL, &plan);

    if (status == CLI_OK) {
        status = cli_call(cli, "GET", "/v1/moves", NULL, &moves);
    }
    if (status == CLI_OK && cli->json) {
        (void)json_object_set(plan, "under_way", json_object_get(moves, "moves"));
        cli_print_json(plan);
    } else if (status == CLI_OK) {
        const json_t *under_way = json_object_get(moves, "moves");
        (void)printf(
            "rebalancing: %s; %zu partitions on their way, %zu more to come\n",
            json_is_true(json_object_get(plan, "rebalancing")) ? "yes" : "no",
            json_array_size(under_way),
            json_array_size(json_object_get(plan, "moves"))
        );
        if (json_array_size(under_way) > 0) {
            moves_print(under_way);
        }
    }
    json_decref(plan);
    json_decref(moves);
    return status;
}

static int stop(struct cli *cli)
{
    json_t *answer = NULL;
    int status = cli_call(cli, "DELETE", "/v1/rebalance", NULL, &answer);

    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        (void)printf(
            "%s; moves that are under way end as usual\n",
            json_is_true(json_object_get(answer, "was_running")) ? "stopped" : "it was not running"
        );
    }
    json_decref(answer);
    return status;
}

/* Ends the moves [from, from + CANCEL_BATCH) of the list. */
static int cancel_some(struct cli *cli, const json_t *moves, size_t from)
{
    json_t *ended = json_array();
    json_t *answer = NULL;

    for (size_t i = from; i < json_array_size(moves) && i < from + CANCEL_BATCH; i++) {
        const json_t *move = json_array_get(moves, i);
        (void)json_array_append_new(
            ended,
            json_pack(
                "{s:s,s:I,s:[]}",
                "topic",
                cli_text(move, "topic"),
                "partition",
                (json_int_t)cli_integer(move, "partition"),
                "target"
            )
        );
    }
    json_t *body = json_pack("{s:o}", "moves", ended);
    int status = cli_call(cli, "POST", "/v1/moves", body, &answer);
    json_decref(body);
    json_decref(answer);
    return status;
}

/* Stop, and end what is under way: what was added is dropped again. */
static int cancel(struct cli *cli)
{
    json_t *answer = NULL;
    int status = stop(cli);

    if (status == CLI_OK) {
        status = cli_call(cli, "GET", "/v1/moves", NULL, &answer);
    }
    const json_t *moves = json_object_get(answer, "moves");
    for (size_t i = 0; status == CLI_OK && i < json_array_size(moves); i += CANCEL_BATCH) {
        status = cancel_some(cli, moves, i);
    }
    if (status == CLI_OK && !cli->json) {
        (void)printf("ended %zu moves without effect\n", json_array_size(moves));
    }
    json_decref(answer);
    return status;
}

static int begin(struct cli *cli)
{
    json_t *answer = NULL;
    int status = cli_call(cli, "POST", "/v1/rebalance", NULL, &answer);

    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        (void)printf(
            "%s; the cluster goes on by itself, riacho rebalance --status shows how far it is\n",
            json_is_true(json_object_get(answer, "was_running")) ? "it was running already"
                                                                 : "under way"
        );
    }
    json_decref(answer);
    return status;
}

static int plan_and_begin(struct cli *cli, bool dry_run, double rate)
{
    json_t *plan = NULL;
    int status = cli_call(cli, "GET", "/v1/rebalance", NULL, &plan);
    bool nothing = json_array_size(json_object_get(plan, "moves")) == 0;

    if (status == CLI_OK && cli->json && dry_run) {
        cli_print_json(plan);
    } else if (status == CLI_OK && !cli->json) {
        moves_print_plan(plan, true, rate);
    }
    json_decref(plan);
    if (status != CLI_OK || dry_run || (nothing && !cli->json)) {
        return status;
    }
    return begin(cli);
}

int cli_rebalance(struct cli *cli, int argc, char **argv)
{
    struct cli_option options[] = {
        {.name = "dry-run", .is_flag = true},
        {.name = "status", .is_flag = true},
        {.name = "stop", .is_flag = true},
        {.name = "cancel", .is_flag = true},
        {.name = "rate"},
    };
    int count = cli_parse(argc, argv, options, RIA_COUNT(options));
    long long rate = CLI_COPY_RATE;
    int chosen = 0;

    if (count < 0) {
        return CLI_USAGE;
    }
    for (size_t i = 0; i < 4; i++) {
        chosen += options[i].value != NULL ? 1 : 0;
    }
    if (count != 0 || chosen > 1) {
        return cli_usage("rebalance takes one of --dry-run, --status, --stop and --cancel");
    }
    if (options[4].value != NULL && !cli_number("--rate", options[4].value, 1, 1000000, &rate)) {
        return CLI_USAGE;
    }
    if (options[1].value != NULL) {
        return show_status(cli);
    }
    if (options[2].value != NULL) {
        return stop(cli);
    }
    return options[3].value != NULL ? cancel(cli)
                                    : plan_and_begin(cli, options[0].value != NULL, (double)rate);
}

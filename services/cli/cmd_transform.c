/* riacho transform create|list|describe|delete */
#include <string.h>

#include "services/cli/cli.h"

enum { PATH_MAX_BYTES = 2048 };

static void transform_path(char *out, size_t size, const char *name)
{
    char escaped[PATH_MAX_BYTES - 64];

    http_escape(escaped, sizeof(escaped), name);
    (void)snprintf(out, size, "/v1/transforms/%s", escaped);
}

static int create(struct cli *cli, int argc, char **argv)
{
    json_t *answer = NULL;

    if (argc != 1) {
        return cli_usage("transform create wants the statement as one argument");
    }
    json_t *body = json_pack("{s:s}", "sql", argv[0]);
    if (body == NULL) {
        return cli_usage("the statement is not UTF-8");
    }
    int status = cli_call(cli, "POST", "/v1/transforms", body, &answer);
    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        (void)printf(
            "created transform %s: reads topic %s, writes topic %s, failures go to %s\n",
            cli_text(answer, "name"),
            cli_text(answer, "source"),
            cli_text(answer, "output"),
            cli_text(answer, "errors_topic")
        );
    }
    json_decref(body);
    json_decref(answer);
    return status;
}

static int list(struct cli *cli, int argc)
{
    static const char *const headings[] = {
        "TRANSFORM", "STATE", "SOURCE", "LAG", "IN", "OUT", "ERRORS"};
    json_t *answer = NULL;
    const json_t *transform;
    size_t i;

    if (argc != 0) {
        return cli_usage("transform list takes no arguments");
    }
    int status = cli_call(cli, "GET", "/v1/transforms", NULL, &answer);
    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        struct cli_table *table = cli_table_new(headings, RIA_COUNT(headings));
        json_array_foreach(json_object_get(answer, "transforms"), i, transform)
        {
            cli_table_cell(table, "%s", cli_text(transform, "name"));
            cli_table_cell(table, "%s", cli_text(transform, "state"));
            cli_table_cell(table, "%s", cli_text(transform, "source"));
            cli_table_cell(table, "%lld", cli_integer(transform, "lag"));
            cli_table_cell(table, "%lld", cli_integer(transform, "records_in"));
            cli_table_cell(table, "%lld", cli_integer(transform, "records_out"));
            cli_table_cell(table, "%lld", cli_integer(transform, "errors"));
        }
        cli_table_print(table, stdout);
        cli_table_free(table);
    }
    json_decref(answer);
    return status;
}

static void print_tasks(const json_t *tasks)
{
    static const char *const headings[] = {
        "PARTITION", "POSITION", "LAG", "IN", "OUT", "ERRORS", "WORKER", "LAST ERROR"};
    struct cli_table *table = cli_table_new(headings, RIA_COUNT(headings));
    const json_t *task;
    size_t i;

    json_array_foreach(tasks, i, task)
    {
        cli_table_cell(table, "%lld", cli_integer(task, "partition"));
        cli_table_cell(table, "%lld", cli_integer(task, "position"));
        cli_table_cell(table, "%lld", cli_integer(task, "lag"));
        cli_table_cell(table, "%lld", cli_integer(task, "records_in"));
        cli_table_cell(table, "%lld", cli_integer(task, "records_out"));
        cli_table_cell(table, "%lld", cli_integer(task, "errors"));
        cli_table_cell(table, "%.8s", cli_text(task, "worker"));
        cli_table_cell(table, "%s", cli_text(task, "last_error"));
    }
    cli_table_print(table, stdout);
    cli_table_free(table);
}

static int describe(struct cli *cli, int argc, char **argv)
{
    char path[PATH_MAX_BYTES];
    json_t *answer = NULL;

    if (argc != 1) {
        return cli_usage("transform describe wants one NAME");
    }
    transform_path(path, sizeof(path), argv[0]);
    int status = cli_call(cli, "GET", path, NULL, &answer);
    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        (void)printf(
            "transform %s  %s  reads %s  writes %s  failures go to %s\n  %s\n",
            cli_text(answer, "name"),
            cli_text(answer, "state"),
            cli_text(answer, "source"),
            cli_text(answer, "output"),
            cli_text(answer, "errors_topic"),
            cli_text(answer, "sql")
        );
        print_tasks(json_object_get(answer, "tasks"));
    }
    json_decref(answer);
    return status;
}

static int delete (struct cli *cli, int argc, char **argv)
{
    char path[PATH_MAX_BYTES];
    json_t *answer = NULL;

    if (argc != 1) {
        return cli_usage("transform delete wants one NAME");
    }
    transform_path(path, sizeof(path), argv[0]);
    int status = cli_call(cli, "DELETE", path, NULL, &answer);
    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        (void)printf("deleted transform %s; its derived topic stays\n", argv[0]);
    }
    json_decref(answer);
    return status;
}

int cli_transform(struct cli *cli, int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], "create") == 0) {
        return create(cli, argc - 1, argv + 1);
    }
    if (argc > 0 && strcmp(argv[0], "list") == 0) {
        return list(cli, argc - 1);
    }
    if (argc > 0 && strcmp(argv[0], "describe") == 0) {
        return describe(cli, argc - 1, argv + 1);
    }
    if (argc > 0 && strcmp(argv[0], "delete") == 0) {
        return delete (cli, argc - 1, argv + 1);
    }
    return cli_usage("transform wants create, list, describe or delete");
}

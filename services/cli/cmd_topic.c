/* riacho topic create|list|describe|delete; alter is in cmd_alter.c, elect in cmd_elect.c */
#include <stdlib.h>
#include <string.h>

#include "services/cli/cli.h"
#include "services/cli/moves.h"

enum { PATH_MAX_BYTES = 2048 };

static void topic_path(char *out, size_t size, const char *name)
{
    char escaped[PATH_MAX_BYTES - 64];

    http_escape(escaped, sizeof(escaped), name);
    (void)snprintf(out, size, "/v1/topics/%s", escaped);
}

/* "a=1,b=2" into {"a":"1","b":"2"}. */
static json_t *parse_config(const char *text)
{
    json_t *config = json_object();
    char *copy = strdup(text);
    char *rest = copy;

    for (char *pair; copy != NULL && (pair = strsep(&rest, ",")) != NULL;) {
        char *equals = strchr(pair, '=');
        if (equals == NULL || equals == pair) {
            (void)cli_usage("--config wants SETTING=VALUE,..., not \"%s\"", pair);
            json_decref(config);
            config = NULL;
            break;
        }
        *equals = '\0';
        (void)json_object_set_new(config, pair, json_string(equals + 1));
    }
    free(copy);
    return config;
}

static int create(struct cli *cli, int argc, char **argv)
{
    struct cli_option options[] = {
        {.name = "partitions"}, {.name = "replicas"}, {.name = "config"}};
    int count = cli_parse(argc, argv, options, RIA_COUNT(options));
    json_t *answer = NULL;
    long long number;

    if (count < 0) {
        return CLI_USAGE;
    }
    if (count != 1) {
        return cli_usage("topic create wants one NAME");
    }
    json_t *body = json_pack("{s:s}", "name", argv[0]);
    if (body == NULL) {
        return cli_usage("the topic's name is not UTF-8");
    }
    for (size_t i = 0; i < 2; i++) {
        if (options[i].value == NULL) {
            continue;
        }
        if (!cli_number(options[i].name, options[i].value, 1, 1000000, &number)) {
            json_decref(body);
            return CLI_USAGE;
        }
        (void)json_object_set_new(body, options[i].name, json_integer(number));
    }
    if (options[2].value != NULL) {
        json_t *config = parse_config(options[2].value);
        if (config == NULL) {
            json_decref(body);
            return CLI_USAGE;
        }
        (void)json_object_set_new(body, "config", config);
    }
    int status = cli_call(cli, "POST", "/v1/topics", body, &answer);
    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        (void)printf(
            "created topic %s: %lld partitions, %lld replicas each\n",
            argv[0],
            cli_integer(answer, "partition_count"),
            cli_integer(answer, "replication_factor")
        );
    }
    json_decref(body);
    json_decref(answer);
    return status;
}

static int list(struct cli *cli, int argc, char **argv)
{
    static const char *const headings[] = {"TOPIC", "PARTITIONS", "REPLICAS", "DURABILITY"};
    json_t *answer = NULL;
    const json_t *topic;
    size_t i;

    (void)argv;
    if (argc != 0) {
        return cli_usage("topic list takes no arguments");
    }
    int status = cli_call(cli, "GET", "/v1/topics", NULL, &answer);
    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        struct cli_table *table = cli_table_new(headings, RIA_COUNT(headings));
        json_array_foreach(json_object_get(answer, "topics"), i, topic)
        {
            cli_table_cell(table, "%s", cli_text(topic, "name"));
            cli_table_cell(table, "%lld", cli_integer(topic, "partition_count"));
            cli_table_cell(table, "%lld", cli_integer(topic, "replication_factor"));
            cli_table_cell(table, "%s", cli_text(topic, "durability"));
        }
        cli_table_print(table, stdout);
        cli_table_free(table);
    }
    json_decref(answer);
    return status;
}

static void print_partitions(const json_t *partitions)
{
    static const char *const headings[] = {
        "PARTITION", "LEADER", "EPOCH", "REPLICAS", "IN SYNC", "FIRST", "NEXT"};
    struct cli_table *table = cli_table_new(headings, RIA_COUNT(headings));
    const json_t *partition;
    char text[256];
    size_t i;

    json_array_foreach(partitions, i, partition)
    {
        cli_table_cell(table, "%lld", cli_integer(partition, "partition"));
        if (json_is_integer(json_object_get(partition, "leader"))) {
            cli_table_cell(table, "%lld", cli_integer(partition, "leader"));
        } else {
            cli_table_cell(table, "-");
        }
        cli_table_cell(table, "%lld", cli_integer(partition, "leader_epoch"));
        cli_table_cell(
            table, "%s", moves_ids(json_object_get(partition, "replicas"), text, sizeof(text))
        );
        cli_table_cell(
            table, "%s", moves_ids(json_object_get(partition, "isr"), text, sizeof(text))
        );
        if (json_is_integer(json_object_get(partition, "high_watermark"))) {
            cli_table_cell(table, "%lld", cli_integer(partition, "log_start_offset"));
            cli_table_cell(table, "%lld", cli_integer(partition, "high_watermark"));
        } else {
            cli_table_cell(table, "?");
            cli_table_cell(table, "?");
        }
    }
    cli_table_print(table, stdout);
    cli_table_free(table);
}

/* What is not as it should be, a line each. */
static void print_notes(const json_t *partition)
{
    long long number = cli_integer(partition, "partition");
    const json_t *target = json_object_get(partition, "target");
    const json_t *unfit = json_object_get(partition, "unfit");
    const json_t *eligible = json_object_get(partition, "eligible");
    char text[256];

    if (json_array_size(target) > 0) {
        (void)printf(
            "partition %lld is being moved to nodes %s\n",
            number,
            moves_ids(target, text, sizeof(text))
        );
    }
    if (json_array_size(unfit) > 0) {
        (void)printf(
            "partition %lld: the replicas on nodes %s are failed or damaged and do not lead\n",
            number,
            moves_ids(unfit, text, sizeof(text))
        );
    }
    if (json_array_size(eligible) > 0) {
        (void)printf(
            "partition %lld: nodes %s are not in sync but have all that is acknowledged\n",
            number,
            moves_ids(eligible, text, sizeof(text))
        );
    }
    if (json_is_integer(json_object_get(partition, "forced_epoch"))) {
        (void)printf(
            "partition %lld: a leader was forced in epoch %lld; acknowledged records may have been "
            "lost then\n",
            number,
            cli_integer(partition, "forced_epoch")
        );
    }
}

static int describe(struct cli *cli, int argc, char **argv)
{
    char path[PATH_MAX_BYTES];
    json_t *answer = NULL;
    const char *name;
    json_t *value;
    size_t i;

    if (argc != 1) {
        return cli_usage("topic describe wants one NAME");
    }
    topic_path(path, sizeof(path), argv[0]);
    int status = cli_call(cli, "GET", path, NULL, &answer);
    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        (void)printf(
            "topic %s  id %s  durability %s\n",
            cli_text(answer, "name"),
            cli_text(answer, "id"),
            cli_text(answer, "durability")
        );
        json_object_foreach(json_object_get(answer, "config"), name, value)
        {
            (void)printf("  %s=%s\n", name, json_string_value(value));
        }
        print_partitions(json_object_get(answer, "partitions"));
        json_array_foreach(json_object_get(answer, "partitions"), i, value)
        {
            print_notes(value);
        }
    }
    json_decref(answer);
    return status;
}

static int delete (struct cli *cli, int argc, char **argv)
{
    char path[PATH_MAX_BYTES];
    json_t *answer = NULL;

    if (argc != 1) {
        return cli_usage("topic delete wants one NAME");
    }
    topic_path(path, sizeof(path), argv[0]);
    int status = cli_call(cli, "DELETE", path, NULL, &answer);
    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        (void)printf("deleted topic %s\n", argv[0]);
    }
    json_decref(answer);
    return status;
}

int cli_topic(struct cli *cli, int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], "create") == 0) {
        return create(cli, argc - 1, argv + 1);
    }
    if (argc > 0 && strcmp(argv[0], "list") == 0) {
        return list(cli, argc - 1, argv + 1);
    }
    if (argc > 0 && strcmp(argv[0], "describe") == 0) {
        return describe(cli, argc - 1, argv + 1);
    }
    if (argc > 0 && strcmp(argv[0], "alter") == 0) {
        return cli_topic_alter(cli, argc - 1, argv + 1);
    }
    if (argc > 0 && strcmp(argv[0], "delete") == 0) {
        return delete (cli, argc - 1, argv + 1);
    }
    if (argc > 0 && strcmp(argv[0], "elect") == 0) {
        return cli_topic_elect(cli, argc - 1, argv + 1);
    }
    return cli_usage("topic wants create, list, describe, alter, delete or elect");
}

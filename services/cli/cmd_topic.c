/* riacho topic create|list|describe|delete */
#include <stdlib.h>
#include <string.h>

#include "services/cli/cli.h"

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

static void join(const json_t *numbers, char *out, size_t size)
{
    const json_t *number;
    size_t used = 0;
    size_t i;

    out[0] = '\0';
    json_array_foreach(numbers, i, number)
    {
        int n = snprintf(
            out + used,
            size - used,
            "%s%lld",
            i == 0 ? "" : ",",
            (long long)json_integer_value(number)
        );
        if (n < 0 || (size_t)n >= size - used) {
            return;
        }
        used += (size_t)n;
    }
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
        cli_table_cell(table, "%lld", cli_integer(partition, "leader"));
        cli_table_cell(table, "%lld", cli_integer(partition, "leader_epoch"));
        join(json_object_get(partition, "replicas"), text, sizeof(text));
        cli_table_cell(table, "%s", text);
        join(json_object_get(partition, "isr"), text, sizeof(text));
        cli_table_cell(table, "%s", text);
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

static int describe(struct cli *cli, int argc, char **argv)
{
    char path[PATH_MAX_BYTES];
    json_t *answer = NULL;
    const char *name;
    json_t *value;

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
    if (argc > 0 && strcmp(argv[0], "delete") == 0) {
        return delete (cli, argc - 1, argv + 1);
    }
    return cli_usage("topic wants create, list, describe or delete");
}

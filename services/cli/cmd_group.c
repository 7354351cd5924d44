/* riacho group list|describe|reset|delete */
#include <string.h>
#include <time.h>

#include "services/cli/cli.h"
#include "services/cli/group_pages.h"
#include "services/cli/human.h"

enum { PATH_MAX_BYTES = 4096, NAME_ESCAPED_MAX = 1024, PARTITIONS_MAX = 10000 };

static void group_path(char *out, size_t size, const char *name, const char *rest)
{
    char escaped[NAME_ESCAPED_MAX];

    http_escape(escaped, sizeof(escaped), name);
    (void)snprintf(out, size, "/v1/groups/%s%s", escaped, rest);
}

/* ---- list ---- */

static void add_page(struct cli *cli, const json_t *page, struct cli_table *table)
{
    const json_t *group;
    size_t i;

    if (cli->json) {
        cli_print_json(page);
    }
    json_array_foreach(json_object_get(page, "groups"), i, group)
    {
        cli_table_cell(table, "%s", cli_text(group, "group"));
        cli_table_cell(table, "%s", cli_text(group, "mode"));
        cli_table_cell(table, "%lld", cli_integer(group, "members"));
    }
}

static int list(struct cli *cli, int argc)
{
    static const char *const headings[] = {"GROUP", "MODE", "MEMBERS"};

    if (argc != 0) {
        return cli_usage("group list takes no arguments");
    }
    return group_pages_print(cli, headings, RIA_COUNT(headings), add_page);
}

/* ---- describe ---- */

/* "-", "3.2 s" or longer words for longer times. */
static void seconds_cell(struct cli_table *table, const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    char text[HUMAN_SIZE];

    if (!json_is_number(value)) {
        cli_table_cell(table, "?");
    } else if (json_number_value(value) < 60) {
        cli_table_cell(table, "%.1f s", json_number_value(value));
    } else {
        cli_table_cell(table, "%s", human_seconds(json_number_value(value), text));
    }
}

/* Who holds it, and for how long yet. */
static void lease_cells(struct cli_table *table, const json_t *lease)
{
    if (!json_is_object(lease)) {
        cli_table_cell(table, "-");
        cli_table_cell(table, "-");
        return;
    }
    const char *holder = cli_text(lease, "holder");
    long long left_ms = cli_integer(lease, "left_ms");
    cli_table_cell(table, "%s", holder[0] == '\0' ? "(no name)" : holder);
    if (left_ms < 0) {
        cli_table_cell(table, "over");
    } else {
        cli_table_cell(table, "%.1f s", (double)left_ms / 1000);
    }
}

static void print_members(const json_t *members)
{
    static const char *const headings[] = {"MEMBER", "KIND", "LEFT", "TOPICS"};
    struct cli_table *table;
    const json_t *member;
    const json_t *topic;
    size_t i;
    size_t k;

    if (json_array_size(members) == 0) {
        return;
    }
    table = cli_table_new(headings, RIA_COUNT(headings));
    json_array_foreach(members, i, member)
    {
        char topics[512] = "";
        json_array_foreach(json_object_get(member, "topics"), k, topic)
        {
            size_t used = strlen(topics);
            (void)snprintf(
                topics + used,
                sizeof(topics) - used,
                "%s%s",
                k > 0 ? "," : "",
                json_string_value(topic)
            );
        }
        cli_table_cell(table, "%s", cli_text(member, "name"));
        cli_table_cell(table, "%s", cli_text(member, "kind"));
        cli_table_cell(table, "%.1f s", (double)cli_integer(member, "left_ms") / 1000);
        cli_table_cell(table, "%s", topics);
    }
    cli_table_print(table, stdout);
    cli_table_free(table);
}

static void print_partitions(const json_t *partitions)
{
    static const char *const headings[] = {
        "TOPIC", "PARTITION", "POSITION", "END", "LAG", "BEHIND", "MEMBER", "HELD BY", "LEFT"};
    struct cli_table *table = cli_table_new(headings, RIA_COUNT(headings));
    const json_t *partition;
    size_t i;

    json_array_foreach(partitions, i, partition)
    {
        const char *member = cli_text(partition, "member");
        cli_table_cell(table, "%s", cli_text(partition, "topic"));
        cli_table_number(table, partition, "partition");
        cli_table_number(table, partition, "position");
        cli_table_number(table, partition, "high_watermark");
        cli_table_number(table, partition, "lag");
        seconds_cell(table, partition, "lag_seconds");
        cli_table_cell(table, "%s", member[0] == '\0' ? "-" : member);
        lease_cells(table, json_object_get(partition, "lease"));
    }
    cli_table_print(table, stdout);
    cli_table_free(table);
}

static int describe(struct cli *cli, int argc, char **argv)
{
    char path[PATH_MAX_BYTES];
    json_t *answer = NULL;

    if (argc != 1) {
        return cli_usage("group describe wants one GROUP");
    }
    group_path(path, sizeof(path), argv[0], "");
    int status = cli_call(cli, "GET", path, NULL, &answer);
    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        (void)printf("group %s  mode %s", cli_text(answer, "group"), cli_text(answer, "mode"));
        if (json_is_integer(json_object_get(answer, "lag"))) {
            (void)printf("  lag %lld", cli_integer(answer, "lag"));
        }
        (void)printf("\n");
        print_members(json_object_get(answer, "members"));
        print_partitions(json_object_get(answer, "partitions"));
    }
    json_decref(answer);
    return status;
}

/* ---- reset ---- */

static bool parse_time(const char *text, long long *out_ms)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

    if (end == NULL || (*end != '\0' && strcmp(end, "Z") != 0)) {
        return false;
    }
    *out_ms = (long long)timegm(&tm) * 1000;
    return true;
}

static bool set_target(json_t *body, const char *to)
{
    long long number = 0;

    if (to != NULL && (strcmp(to, "earliest") == 0 || strcmp(to, "latest") == 0)) {
        return json_object_set_new(body, "to", json_string(to)) == 0;
    }
    if (to != NULL && parse_time(to, &number)) {
        return json_object_set_new(body, "timestamp", json_integer(number)) == 0;
    }
    if (to != NULL && to[0] >= '0' && to[0] <= '9') {
        return cli_number("--to", to, 0, INT64_MAX, &number) &&
               json_object_set_new(body, "offset", json_integer(number)) == 0;
    }
    (void)cli_usage("group reset wants --to earliest, latest, an offset or a time");
    return false;
}

static bool set_topics(json_t *body, const char *topics, const char *partition)
{
    long long number = 0;

    if (topics != NULL && json_object_set_new(body, "topics", json_string(topics)) != 0) {
        return false;
    }
    if (partition == NULL) {
        return true;
    }
    if (topics == NULL) {
        (void)cli_usage("--partition wants --topic, too");
        return false;
    }
    return cli_number("--partition", partition, 0, PARTITIONS_MAX, &number) &&
           json_object_set_new(body, "partitions", json_pack("[I]", (json_int_t)number)) == 0;
}

static void print_reset(const json_t *answer)
{
    static const char *const headings[] = {"TOPIC", "PARTITION", "FROM", "TO"};
    struct cli_table *table = cli_table_new(headings, RIA_COUNT(headings));
    const json_t *partition;
    size_t i;

    json_array_foreach(json_object_get(answer, "partitions"), i, partition)
    {
        cli_table_cell(table, "%s", cli_text(partition, "topic"));
        cli_table_number(table, partition, "partition");
        if (json_is_integer(json_object_get(partition, "from"))) {
            cli_table_number(table, partition, "from");
        } else {
            cli_table_cell(table, "-");
        }
        cli_table_number(table, partition, "to");
    }
    cli_table_print(table, stdout);
    cli_table_free(table);
    if (json_is_true(json_object_get(answer, "dry_run"))) {
        (void)printf("nothing was changed (--dry-run)\n");
    }
}

static int reset(struct cli *cli, int argc, char **argv)
{
    struct cli_option options[] = {
        {.name = "to"},
        {.name = "topic"},
        {.name = "partition"},
        {.name = "dry-run", .is_flag = true},
        {.name = "force", .is_flag = true},
    };
    int count = cli_parse(argc, argv, options, RIA_COUNT(options));
    char path[PATH_MAX_BYTES];
    json_t *answer = NULL;

    if (count < 0) {
        return CLI_USAGE;
    }
    if (count != 1) {
        return cli_usage("group reset wants one GROUP");
    }
    json_t *body = json_pack(
        "{s:b,s:b}", "dry_run", options[3].value != NULL, "force", options[4].value != NULL
    );
    if (!set_target(body, options[0].value) ||
        !set_topics(body, options[1].value, options[2].value)) {
        json_decref(body);
        return CLI_USAGE;
    }
    group_path(path, sizeof(path), argv[0], "/reset");
    int status = cli_call(cli, "POST", path, body, &answer);
    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        print_reset(answer);
    }
    json_decref(body);
    json_decref(answer);
    return status;
}

/* ---- delete ---- */

static int delete (struct cli *cli, int argc, char **argv)
{
    struct cli_option options[] = {{.name = "force", .is_flag = true}};
    int count = cli_parse(argc, argv, options, RIA_COUNT(options));
    char path[PATH_MAX_BYTES];
    json_t *answer = NULL;

    if (count < 0) {
        return CLI_USAGE;
    }
    if (count != 1) {
        return cli_usage("group delete wants one GROUP");
    }
    group_path(path, sizeof(path), argv[0], options[0].value != NULL ? "?force=true" : "");
    int status = cli_call(cli, "DELETE", path, NULL, &answer);
    if (status == CLI_OK && !cli->json) {
        (void)printf("deleted group %s; what it consumed stays in its topics\n", argv[0]);
    }
    json_decref(answer);
    return status;
}

int cli_group(struct cli *cli, int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], "list") == 0) {
        return list(cli, argc - 1);
    }
    if (argc > 0 && strcmp(argv[0], "describe") == 0) {
        return describe(cli, argc - 1, argv + 1);
    }
    if (argc > 0 && strcmp(argv[0], "reset") == 0) {
        return reset(cli, argc - 1, argv + 1);
    }
    if (argc > 0 && strcmp(argv[0], "delete") == 0) {
        return delete (cli, argc - 1, argv + 1);
    }
    return cli_usage("group wants list, describe, reset or delete");
}

/* riacho queue list|describe|set|receive|ack|nack|extend|reject|redrive|delete */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "services/cli/cli.h"
#include "services/cli/group_pages.h"

enum {
    PATH_MAX_BYTES = 4096,
    NAME_ESCAPED_MAX = 1024,
    RETRIES_MAX = 32,
    RECORDS_MAX = 1000,
    WAIT_MS_MAX = 60 * 1000,
    LOCK_MS_MIN = 1000,
    LOCK_MS_MAX = 12 * 60 * 60 * 1000,
    DELIVERIES_MAX = 1000,
};
#define DELAY_MS_MAX (30LL * 24 * 60 * 60 * 1000)

/* "TOPIC GROUP" in argv. */
static void queue_path(char *out, size_t size, char **argv, const char *rest)
{
    char topic[NAME_ESCAPED_MAX];
    char group[NAME_ESCAPED_MAX];

    http_escape(topic, sizeof(topic), argv[0]);
    http_escape(group, sizeof(group), argv[1]);
    (void)snprintf(out, size, "/v1/queues/%s/%s%s", topic, group, rest);
}

/* An option that is a number becomes a member of the body. */
static bool set_number(
    json_t *body,
    const char *member,
    const char *option,
    const char *text,
    long long min,
    long long max
)
{
    long long value = 0;

    if (text == NULL) {
        return true;
    }
    return cli_number(option, text, min, max, &value) &&
           json_object_set_new(body, member, json_integer(value)) == 0;
}

static void set_text(json_t *body, const char *member, const char *text)
{
    if (text != NULL) {
        json_object_set_new(body, member, json_string(text));
    }
}

/* Options, and TOPIC and GROUP in front of argv. False: said. */
static bool take_words(
    const char *command, int argc, char **argv, struct cli_option *options, size_t option_count
)
{
    int count = cli_parse(argc, argv, options, option_count);

    if (count >= 0 && count != 2) {
        (void)cli_usage("queue %s wants TOPIC and GROUP", command);
    }
    return count == 2;
}

/* ---- list ---- */

static void add_page(struct cli *cli, const json_t *page, struct cli_table *table)
{
    const json_t *group;
    size_t i;

    json_array_foreach(json_object_get(page, "groups"), i, group)
    {
        if (strcmp(cli_text(group, "mode"), "queue") == 0) {
            if (cli->json) {
                cli_print_json(group);
            }
            cli_table_cell(table, "%s", cli_text(group, "group"));
        }
    }
}

static int list(struct cli *cli, int argc)
{
    static const char *const headings[] = {"GROUP"};

    if (argc != 0) {
        return cli_usage("queue list takes no arguments");
    }
    return group_pages_print(cli, headings, RIA_COUNT(headings), add_page);
}

/* ---- describe and set ---- */

static void print_settings(const json_t *queue)
{
    char *retries = json_dumps(json_object_get(queue, "retry_ms"), JSON_COMPACT | JSON_ENCODE_ANY);
    const char *dead = cli_text(queue, "dead_letter_topic");

    (void)printf(
        "topic %s, group %s: lock %lld ms, %lld deliveries, order %s, retries after %s ms, dead "
        "letters to %s\n",
        cli_text(queue, "topic"),
        cli_text(queue, "group"),
        cli_integer(queue, "lock_ms"),
        cli_integer(queue, "max_deliveries"),
        cli_text(queue, "order"),
        retries == NULL ? "?" : retries,
        dead[0] == '\0' ? "nowhere" : dead
    );
    free(retries);
}

static const char *const counts[] = {
    "position",
    "frontier",
    "ready",
    "locked",
    "waiting",
    "held",
    "dead",
    "done",
    "discarded",
    "lag"};

static void print_queue(const json_t *queue)
{
    static const char *const headings[] = {
        "PARTITION",
        "POSITION",
        "FRONTIER",
        "READY",
        "LOCKED",
        "WAITING",
        "HELD",
        "DEAD",
        "DONE",
        "DISCARDED",
        "LAG",
    };
    struct cli_table *table = cli_table_new(headings, RIA_COUNT(headings));
    const json_t *partition;
    size_t i;

    print_settings(queue);
    json_array_foreach(json_object_get(queue, "partitions"), i, partition)
    {
        cli_table_cell(table, "%lld", cli_integer(partition, "partition"));
        for (size_t k = 0; k < RIA_COUNT(counts); k++) {
            cli_table_number(table, partition, counts[k]);
        }
    }
    cli_table_print(table, stdout);
    cli_table_free(table);
}

static int describe(struct cli *cli, int argc, char **argv)
{
    char path[PATH_MAX_BYTES];
    json_t *answer = NULL;

    if (argc != 2) {
        return cli_usage("queue describe wants TOPIC and GROUP");
    }
    queue_path(path, sizeof(path), argv, "");
    int status = cli_call(cli, "GET", path, NULL, &answer);
    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        print_queue(answer);
    }
    json_decref(answer);
    return status;
}

/* "100,1000": milliseconds; "" is none. */
static bool set_retries(json_t *body, const char *text)
{
    char *copy = text == NULL ? NULL : strdup(text);
    char *rest = copy == NULL || copy[0] == '\0' ? NULL : copy;
    json_t *array = json_array();
    long long value = 0;
    bool fine = true;

    for (char *item; fine && (item = strsep(&rest, ",")) != NULL;) {
        fine = cli_number("retry-ms", item, 0, 2592000000LL, &value) &&
               json_array_append_new(array, json_integer(value)) == 0;
    }
    if (fine && json_array_size(array) > RETRIES_MAX) {
        (void)cli_usage("retry-ms has at most %d delays", RETRIES_MAX);
        fine = false;
    }
    if (fine && text != NULL) {
        json_object_set(body, "retry_ms", array);
    }
    json_decref(array);
    free(copy);
    return fine;
}

static int set(struct cli *cli, int argc, char **argv)
{
    struct cli_option options[] = {
        {.name = "lock-ms"},
        {.name = "max-deliveries"},
        {.name = "order"},
        {.name = "retry-ms"},
        {.name = "dead-letter-topic"},
        {.name = "no-dead-letter-topic", .is_flag = true},
    };
    char path[PATH_MAX_BYTES];
    json_t *answer = NULL;

    if (!take_words("set", argc, argv, options, RIA_COUNT(options))) {
        return CLI_USAGE;
    }
    json_t *body = json_object();
    set_text(body, "order", options[2].value);
    set_text(body, "dead_letter_topic", options[4].value);
    if (options[5].value != NULL) {
        json_object_set_new(body, "dead_letter_topic", json_null());
    }
    if (!set_number(body, "lock_ms", "lock-ms", options[0].value, LOCK_MS_MIN, LOCK_MS_MAX) ||
        !set_number(
            body, "max_deliveries", "max-deliveries", options[1].value, 1, DELIVERIES_MAX
        ) ||
        !set_retries(body, options[3].value)) {
        json_decref(body);
        return CLI_USAGE;
    }
    queue_path(path, sizeof(path), argv, "");
    int status = cli_call(cli, "PUT", path, body, &answer);
    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        print_settings(answer);
    }
    json_decref(body);
    json_decref(answer);
    return status;
}

/* ---- receive ---- */

static int ack_all(struct cli *cli, char **argv, const json_t *answer)
{
    const json_t *locks = json_object_get(answer, "locks");
    char path[PATH_MAX_BYTES];
    json_t *said = NULL;

    if (!json_is_string(locks)) {
        return CLI_OK;
    }
    json_t *body = json_pack("{s:O}", "locks", locks);
    queue_path(path, sizeof(path), argv, "/ack");
    int status = cli_call(cli, "POST", path, body, &said);
    json_decref(body);
    json_decref(said);
    return status;
}

/* A record a line. */
static bool print_records(const json_t *answer)
{
    const json_t *record;
    size_t i;

    json_array_foreach(json_object_get(answer, "records"), i, record)
    {
        if (json_dumpf(record, stdout, JSON_COMPACT | JSON_ENCODE_ANY) != 0 ||
            fputc('\n', stdout) == EOF) {
            return false;
        }
    }
    return fflush(stdout) == 0;
}

static int receive(struct cli *cli, int argc, char **argv)
{
    struct cli_option options[] = {
        {.name = "max"},
        {.name = "wait-ms"},
        {.name = "lock-ms"},
        {.name = "consumer"},
        {.name = "ack", .is_flag = true},
    };
    char path[PATH_MAX_BYTES];
    json_t *answer = NULL;

    if (!take_words("receive", argc, argv, options, RIA_COUNT(options))) {
        return CLI_USAGE;
    }
    json_t *body = json_object();
    set_text(body, "consumer", options[3].value);
    if (!set_number(body, "max_records", "max", options[0].value, 1, RECORDS_MAX) ||
        !set_number(body, "wait_ms", "wait-ms", options[1].value, 0, WAIT_MS_MAX) ||
        !set_number(body, "lock_ms", "lock-ms", options[2].value, LOCK_MS_MIN, LOCK_MS_MAX)) {
        json_decref(body);
        return CLI_USAGE;
    }
    queue_path(path, sizeof(path), argv, "/receive");
    int status = cli_call(cli, "POST", path, body, &answer);
    if (status == CLI_OK && !print_records(answer)) {
        status = cli_fail("a record cannot be written to standard output");
    }
    if (status == CLI_OK && options[4].value != NULL) {
        status = ack_all(cli, argv, answer);
    }
    json_decref(body);
    json_decref(answer);
    return status;
}

/* ---- ack, nack, extend, reject ---- */

/* Returns CLI_FAILED if one of the locks was too late. */
static int print_said(const json_t *answer)
{
    const json_t *entry;
    size_t i;

    json_array_foreach(json_object_get(answer, "locks"), i, entry)
    {
        const json_t *error = json_object_get(entry, "error");
        if (error != NULL) {
            (void)cli_fail("lock %s: %s", cli_text(entry, "lock"), cli_text(error, "message"));
        }
    }
    return cli_integer(answer, "failed") > 0 ? CLI_FAILED : CLI_OK;
}

static int say(struct cli *cli, const char *verb, int argc, char **argv)
{
    struct cli_option options[] = {{.name = "delay-ms"}, {.name = "lock-ms"}, {.name = "reason"}};
    int count = cli_parse(argc, argv, options, RIA_COUNT(options));
    char path[PATH_MAX_BYTES];
    char rest[32];
    json_t *answer = NULL;

    if (count < 0) {
        return CLI_USAGE;
    }
    if (count < 3) {
        return cli_usage("queue %s wants TOPIC, GROUP and LOCK...", verb);
    }
    json_t *body = json_object();
    json_t *locks = json_array();
    for (int i = 2; i < count; i++) {
        json_array_append_new(locks, json_string(argv[i]));
    }
    json_object_set_new(body, "locks", locks);
    set_text(body, "reason", options[2].value);
    if (!set_number(body, "delay_ms", "delay-ms", options[0].value, 0, DELAY_MS_MAX) ||
        !set_number(body, "lock_ms", "lock-ms", options[1].value, LOCK_MS_MIN, LOCK_MS_MAX)) {
        json_decref(body);
        return CLI_USAGE;
    }
    (void)snprintf(rest, sizeof(rest), "/%s", verb);
    queue_path(path, sizeof(path), argv, rest);
    int status = cli_call(cli, "POST", path, body, &answer);
    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    }
    if (status == CLI_OK) {
        status = print_said(answer);
    }
    json_decref(body);
    json_decref(answer);
    return status;
}

/* ---- redrive ---- */

struct redriven {
    long long looked_at;
    long long matched;
    long long put_back;
    long long failed;
};

/* One call; the cursor in the body moves on. *out_more: there may be more. */
static int
redrive_page(struct cli *cli, const char *path, json_t *body, struct redriven *sum, bool *out_more)
{
    json_t *answer = NULL;
    int status = cli_call(cli, "POST", path, body, &answer);
    long long pause_ms = cli_integer(answer, "retry_after_ms");

    if (status == CLI_OK) {
        sum->looked_at += cli_integer(answer, "looked_at");
        sum->matched += cli_integer(answer, "matched");
        sum->put_back += cli_integer(answer, "put_back");
        sum->failed += cli_integer(answer, "failed");
        *out_more = cli_integer(answer, "looked_at") > 0 &&
                    json_is_string(json_object_get(answer, "cursor"));
        if (*out_more) {
            json_object_set(body, "cursor", json_object_get(answer, "cursor"));
        }
    }
    if (status == CLI_OK && pause_ms > 0) {
        struct timespec pause = {.tv_sec = pause_ms / 1000, .tv_nsec = pause_ms % 1000 * 1000000};
        (void)nanosleep(&pause, NULL);
    }
    json_decref(answer);
    return status;
}

static int redrive(struct cli *cli, int argc, char **argv)
{
    struct cli_option options[] = {
        {.name = "reason"},
        {.name = "key"},
        {.name = "from-time"},
        {.name = "to-time"},
        {.name = "rate"},
        {.name = "max"},
        {.name = "dry-run", .is_flag = true},
    };
    int count = cli_parse(argc, argv, options, RIA_COUNT(options));
    char path[PATH_MAX_BYTES];
    struct redriven sum = {0};
    long long max = -1;
    bool more = true;
    int status = CLI_OK;

    if (count < 0) {
        return CLI_USAGE;
    }
    if (count != 2) {
        return cli_usage("queue redrive wants TOPIC and GROUP");
    }
    json_t *filter = json_object();
    set_text(filter, "reason", options[0].value);
    set_text(filter, "key", options[1].value);
    set_text(filter, "from_time", options[2].value);
    set_text(filter, "to_time", options[3].value);
    json_t *body = json_pack("{s:o,s:b}", "filter", filter, "dry_run", options[6].value != NULL);
    if (!set_number(body, "rate", "rate", options[4].value, 1, INT32_MAX) ||
        (options[5].value != NULL && !cli_number("max", options[5].value, 1, INT64_MAX, &max))) {
        json_decref(body);
        return CLI_USAGE;
    }
    queue_path(path, sizeof(path), argv, "/redrive");
    while (status == CLI_OK && more && (max < 0 || sum.matched < max)) {
        long long left =
            max < 0 || max - sum.matched > RECORDS_MAX ? RECORDS_MAX : max - sum.matched;
        json_object_set_new(body, "max_records", json_integer(left));
        status = redrive_page(cli, path, body, &sum, &more);
    }
    json_decref(body);
    (void)printf(
        "looked at %lld dead letters, %lld match, %lld put back, %lld could not be\n",
        sum.looked_at,
        sum.matched,
        sum.put_back,
        sum.failed
    );
    return status == CLI_OK && sum.failed > 0 ? CLI_FAILED : status;
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
    if (count != 2) {
        return cli_usage("queue delete wants TOPIC and GROUP");
    }
    queue_path(path, sizeof(path), argv, options[0].value != NULL ? "?force=true" : "");
    int status = cli_call(cli, "DELETE", path, NULL, &answer);
    if (status == CLI_OK && !cli->json) {
        (void)printf("deleted queue %s; the records stay in their topics\n", argv[1]);
    }
    json_decref(answer);
    return status;
}

int cli_queue(struct cli *cli, int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(struct cli *cli, int argc, char **argv);
    } verbs[] = {
        {"describe", describe},
        {"set", set},
        {"receive", receive},
        {"redrive", redrive},
        {"delete", delete},
    };
    static const char *const words[] = {"ack", "nack", "extend", "reject"};

    if (argc > 0 && strcmp(argv[0], "list") == 0) {
        return list(cli, argc - 1);
    }
    for (size_t i = 0; argc > 0 && i < RIA_COUNT(verbs); i++) {
        if (strcmp(argv[0], verbs[i].name) == 0) {
            return verbs[i].run(cli, argc - 1, argv + 1);
        }
    }
    for (size_t i = 0; argc > 0 && i < RIA_COUNT(words); i++) {
        if (strcmp(argv[0], words[i]) == 0) {
            return say(cli, words[i], argc - 1, argv + 1);
        }
    }
    return cli_usage(
        "queue wants list, describe, set, receive, ack, nack, extend, reject, redrive or delete"
    );
}

/* riacho consume --group: the records of topics as one of a group.
 *
 * Each call commits what the one before gave (after=CURSOR); the last is committed when everything
 * was printed. What is printed and not committed, because the program was killed in between, comes
 * again: at least once. When it is told to stop, or the reader of its output has gone, it gives
 * back what it has, and a named member leaves.
 */
#include <stdlib.h>
#include <string.h>

#include "common/json.h"

#include "services/cli/cli.h"
#include "services/cli/follow.h"
#include "services/cli/record_line.h"

enum {
    PATH_MAX_BYTES = 8000,
    WAIT_MS = 10000,
    RECORDS_MAX = 10000, /* of one call */
};

struct group_consumer {
    struct cli *cli;
    const struct cli_consume_group *options;
    struct follow follow;
    char cursor[HTTP_CURSOR_MAX];    /* behind what was printed, and is not committed */
    char unprinted[HTTP_CURSOR_MAX]; /* behind what is being printed */
    char group[1024];
    char topics[2048];
    char member[1024];
    long long left; /* records still to print; -1 = no limit */
    struct http_reply reply;
    struct ria_json json;
};

/* ---- printing ---- */

/* -1: standard output, or a line, is broken. */
static long long print_page(struct group_consumer *consumer)
{
    struct ria_slice rest = ria_buf_slice(&consumer->reply.body);
    long long count = 0;

    while (rest.size > 0) {
        const uint8_t *end = memchr(rest.data, '\n', rest.size);
        size_t size = end == NULL ? rest.size : (size_t)(end - rest.data);
        struct ria_slice line = ria_slice_sub(rest, 0, size);
        if (!record_line_print(&consumer->json, consumer->options->output, line)) {
            return -1;
        }
        count++;
        rest = ria_slice_sub(rest, size + (end == NULL ? 0 : 1), rest.size);
    }
    return fflush(stdout) == 0 ? count : -1;
}

/* ---- calls ---- */

/* While following, a gateway that dies, or can do nothing for now, is no reason to end. */
static int get_page(struct group_consumer *consumer, const char *path)
{
    struct http_reply *reply = &consumer->reply;
    struct follow *follow = &consumer->follow;

    for (;;) {
        ria_err err = http_client_call(
            consumer->cli->client, "GET", path, NULL, "application/x-ndjson", NULL, 0, reply
        );
        if (err == RIA_OK && reply->status < 300) {
            follow_answered(follow);
            return CLI_OK;
        }
        if (follow_is_stopped(follow)) {
            return CLI_OK;
        }
        bool goes_on = consumer->options->follow && follow->was_answered &&
                       err != RIA_ERR_TOO_LARGE && follow_is_for_now(reply);
        if (!goes_on && err != RIA_OK) {
            return cli_fail("%s: %s", http_client_gateway(consumer->cli->client), reply->error);
        }
        if (!goes_on) {
            return cli_fail_reply(reply);
        }
        if (!follow_again(follow, reply)) {
            return CLI_OK;
        }
    }
}

static int call_read(struct group_consumer *consumer)
{
    const struct cli_consume_group *options = consumer->options;
    char path[PATH_MAX_BYTES];
    long long records = RECORDS_MAX;

    if (consumer->left >= 0 && consumer->left < records) {
        records = consumer->left;
    }
    int used = snprintf(
        path,
        sizeof(path),
        "/v1/groups/%s/records?topics=%s&from=%s&max_records=%lld&wait_ms=%d%s%s%s%s",
        consumer->group,
        consumer->topics,
        options->from_end ? "latest" : "earliest",
        records,
        options->follow ? WAIT_MS : 0,
        consumer->member[0] == '\0' ? "" : "&member=",
        consumer->member,
        consumer->cursor[0] == '\0' ? "" : "&after=",
        consumer->cursor
    );
    if (used < 0 || (size_t)used >= sizeof(path)) {
        return cli_usage("the names of the topics are too long together");
    }
    return get_page(consumer, path);
}

/* Says of the cursor, once to each gateway if need be. The status, 0: no answer. */
static long say(struct group_consumer *consumer, const char *verb, const char *cursor)
{
    struct http_reply *reply = &consumer->reply;
    char path[PATH_MAX_BYTES];
    char body[HTTP_CURSOR_MAX + 32];
    int size = snprintf(body, sizeof(body), "{\"cursor\":\"%s\"}", cursor);

    (void)snprintf(path, sizeof(path), "/v1/groups/%s/%s", consumer->group, verb);
    for (size_t i = 0; i < http_client_gateways(consumer->cli->client); i++) {
        ria_err err = http_client_call(
            consumer->cli->client, "POST", path, "application/json", NULL, body, (size_t)size, reply
        );
        if (err == RIA_OK && !follow_is_for_now(reply)) {
            break;
        }
        http_client_next(consumer->cli->client);
    }
    return reply->status;
}

/* What was printed is committed, what was not is given back. */
static int commit(struct group_consumer *consumer)
{
    if (consumer->unprinted[0] != '\0') {
        (void)say(consumer, "release", consumer->unprinted);
        return CLI_FAILED; /* said */
    }
    if (consumer->cursor[0] == '\0') {
        return CLI_OK;
    }
    long status = say(consumer, "commit", consumer->cursor);
    if (status == 0) {
        return cli_fail(
            "%s: %s", http_client_gateway(consumer->cli->client), consumer->reply.error
        );
    }
    return status < 300 ? CLI_OK : cli_fail_reply(&consumer->reply);
}

static int consume(struct group_consumer *consumer)
{
    bool more = true;

    while (more && consumer->left != 0 && !follow_is_stopped(&consumer->follow)) {
        int status = call_read(consumer);
        if (status != CLI_OK || consumer->follow.is_stopped) {
            return status;
        }
        memcpy(consumer->unprinted, consumer->reply.cursor, sizeof(consumer->unprinted));
        consumer->cursor[0] = '\0'; /* it was committed */
        long long count = print_page(consumer);
        if (count < 0) {
            return cli_fail("a record cannot be written to standard output");
        }
        memcpy(consumer->cursor, consumer->unprinted, sizeof(consumer->cursor));
        consumer->unprinted[0] = '\0';
        consumer->left -= consumer->left > 0 ? count : 0;
        more = consumer->options->follow || count > 0;
    }
    return CLI_OK;
}

/* However it ends, nothing of the group stays with a program that is not there. */
static int run(struct group_consumer *consumer)
{
    if (!follow_open(&consumer->follow, consumer->cli)) {
        return CLI_FAILED;
    }
    int status = consume(consumer);
    follow_last_calls(&consumer->follow);
    int last = commit(consumer);
    if (consumer->options->member != NULL) {
        follow_leave(&consumer->follow, consumer->options->group, consumer->options->member);
    }
    follow_close(&consumer->follow);
    return status != CLI_OK ? status : last;
}

int cli_consume_group(struct cli *cli, const struct cli_consume_group *options, char *topics)
{
    struct group_consumer *consumer = calloc(1, sizeof(*consumer));
    char *rest = topics;
    size_t used = 0;

    if (consumer == NULL) {
        return cli_fail("out of memory");
    }
    consumer->cli = cli;
    consumer->options = options;
    consumer->left = options->max;
    http_escape(consumer->group, sizeof(consumer->group), options->group);
    http_escape(
        consumer->member, sizeof(consumer->member), options->member == NULL ? "" : options->member
    );
    for (char *topic; (topic = strsep(&rest, ",")) != NULL && used < sizeof(consumer->topics);) {
        if (used > 0) {
            consumer->topics[used++] = ',';
        }
        http_escape(consumer->topics + used, sizeof(consumer->topics) - used, topic);
        used += strlen(consumer->topics + used);
    }
    http_reply_init(&consumer->reply);
    ria_json_init(&consumer->json);
    int status = run(consumer);
    ria_json_fini(&consumer->json);
    http_reply_fini(&consumer->reply);
    free(consumer);
    return status;
}

/* riacho consume --group: the records of topics as one of a group.
 *
 * Each call commits what the one before gave (after=CURSOR); the last is committed when everything
 * was printed. What is printed and not committed, because the program was killed in between, comes
 * again: at least once.
 */
#include <stdlib.h>
#include <string.h>

#include "common/json.h"

#include "services/cli/cli.h"
#include "services/cli/record_line.h"

enum {
    PATH_MAX_BYTES = 8000,
    WAIT_MS = 10000,
    RECORDS_MAX = 10000, /* of one call */
};

struct group_consumer {
    struct cli *cli;
    const struct cli_consume_group *options;
    char cursor[HTTP_CURSOR_MAX];
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
    ria_err err = http_client_call(
        consumer->cli->client, "GET", path, NULL, "application/x-ndjson", NULL, 0, &consumer->reply
    );
    if (err != RIA_OK) {
        return cli_fail("%s: %s", consumer->cli->gateway, consumer->reply.error);
    }
    return consumer->reply.status < 300 ? CLI_OK : cli_fail_reply(&consumer->reply);
}

static int commit(struct group_consumer *consumer)
{
    char path[PATH_MAX_BYTES];
    json_t *answer = NULL;

    if (consumer->cursor[0] == '\0') {
        return CLI_OK;
    }
    json_t *body = json_pack("{s:s}", "cursor", consumer->cursor);
    (void)snprintf(path, sizeof(path), "/v1/groups/%s/commit", consumer->group);
    int status = cli_call(consumer->cli, "POST", path, body, &answer);
    json_decref(body);
    json_decref(answer);
    return status;
}

static int run(struct group_consumer *consumer)
{
    bool more = true;

    while (more && consumer->left != 0) {
        int status = call_read(consumer);
        if (status != CLI_OK) {
            return status;
        }
        long long count = print_page(consumer);
        if (count < 0) {
            return cli_fail("a record cannot be written to standard output");
        }
        memcpy(consumer->cursor, consumer->reply.cursor, sizeof(consumer->cursor));
        consumer->left -= consumer->left > 0 ? count : 0;
        more = consumer->options->follow || count > 0;
    }
    return commit(consumer);
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

/* riacho consume --group: the records of topics as one of a group.
 *
 * Each call commits what the one before gave (after=CURSOR); the last is committed when everything
 * was printed. What is printed and not committed, because the program was killed in between, comes
 * again: at least once.
 */
#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/base64.h"
#include "common/json.h"

#include "services/cli/cli.h"

enum {
    PATH_MAX_BYTES = 8000,
    WAIT_MS = 10000,
    RECORDS_MAX = 10000, /* of one call */
    LINE_TOKENS_MAX = 1 << 20,
    LINE_ARENA_MAX = 64 * 1024 * 1024,
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

static bool write_out(const void *data, size_t size)
{
    return fwrite(data, 1, size, stdout) == size;
}

static bool print_base64(struct ria_slice text, struct ria_arena *arena)
{
    size_t size = 0;
    uint8_t *bytes = ria_arena_alloc(arena, text.size + 1);

    return bytes != NULL && ria_base64_decode(bytes, text, &size) == RIA_OK &&
           write_out(bytes, size);
}

/* The value's bytes: JSON as it stands in the line, text and base64 decoded. */
static bool print_value(struct group_consumer *consumer, struct ria_slice line)
{
    struct ria_json *json = &consumer->json;
    struct ria_slice encoding = RIA_SLICE_NULL;
    struct ria_slice text = RIA_SLICE_NULL;
    struct ria_arena arena;
    bool fine = false;

    if (ria_json_parse(json, line, LINE_TOKENS_MAX) != RIA_OK) {
        return false;
    }
    int64_t value = ria_json_member(json, 0, "value");
    int64_t kind = ria_json_member(json, 0, "value_encoding");
    if (value < 0) {
        return false;
    }
    ria_arena_init(&arena, LINE_ARENA_MAX);
    if (kind < 0) {
        struct ria_slice raw = ria_json_raw(json, (uint32_t)value);
        fine = json->tokens[value].type == RIA_JSON_NULL || write_out(raw.data, raw.size);
    } else if (ria_json_string(json, (uint32_t)kind, &arena, &encoding) == RIA_OK && ria_json_string(json, (uint32_t)value, &arena, &text) == RIA_OK) {
        fine = ria_slice_equal(encoding, RIA_SLICE_LITERAL("base64"))
                   ? print_base64(text, &arena)
                   : write_out(text.data, text.size);
    }
    ria_arena_fini(&arena);
    return fine;
}

static bool print_line(struct group_consumer *consumer, struct ria_slice line)
{
    switch (consumer->options->output) {
    case CLI_OUTPUT_JSON:
        return write_out(line.data, line.size) && write_out("\n", 1);
    case CLI_OUTPUT_VALUE:
        return print_value(consumer, line) && write_out("\n", 1);
    case CLI_OUTPUT_RAW:
        return print_value(consumer, line);
    }
    return false;
}

/* -1: standard output, or a line, is broken. */
static long long print_page(struct group_consumer *consumer)
{
    struct ria_slice rest = ria_buf_slice(&consumer->reply.body);
    long long count = 0;

    while (rest.size > 0) {
        const uint8_t *end = memchr(rest.data, '\n', rest.size);
        size_t size = end == NULL ? rest.size : (size_t)(end - rest.data);
        if (!print_line(consumer, ria_slice_sub(rest, 0, size))) {
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

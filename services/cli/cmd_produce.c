/* riacho produce: lines of files or of standard input become records.
 *
 * Lines are gathered into requests of the v2 binary format (base64: any bytes survive), one request
 * at a time, so records of one key keep their order. The first failure ends the command and says
 * how many lines were acknowledged before it.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base64.h"
#include "common/json.h"

#include "services/cli/cli.h"

enum {
    REQUEST_RECORDS_MAX = 1000,
    REQUEST_BYTES_MAX = 512 * 1024,
    LINE_BYTES_MAX = 8 * 1024 * 1024,
    LINE_TOKENS_MAX = 1 << 20,
    PATH_MAX_BYTES = 2048,
    PROGRESS_SECONDS = 1,
};

struct producer {
    struct cli *cli;
    char path[PATH_MAX_BYTES];
    const char *key_field; /* NULL: no keys */
    struct ria_buf body;
    struct ria_json json;
    struct ria_arena arena;
    unsigned records;           /* in body */
    unsigned long long lines;   /* read so far */
    unsigned long long sent;    /* acknowledged */
    unsigned long long bytes;   /* of acknowledged lines */
    unsigned long long pending; /* bytes of the lines in body */
    bool progress;
    time_t shown;
};

static ria_err append_base64(struct ria_buf *body, struct ria_slice raw)
{
    size_t size = ria_base64_size(raw.size);

    RIA_TRY(ria_buf_reserve(body, size));
    ria_base64_encode((char *)body->data + body->size, raw);
    body->size += size;
    return RIA_OK;
}

/* The text of the key field: a string without quotes, anything else as its JSON text. */
static int find_key(struct producer *producer, struct ria_slice line, struct ria_slice *out_key)
{
    struct ria_json *json = &producer->json;
    ria_err err = ria_json_parse(json, line, LINE_TOKENS_MAX);

    if (err != RIA_OK) {
        return cli_fail(
            "line %llu is no JSON: %s at byte %zu; without --key any text is accepted",
            producer->lines,
            json->error_text,
            json->error_at
        );
    }
    int64_t token = ria_json_member(json, 0, producer->key_field);
    if (token == RIA_JSON_NONE) {
        return cli_fail(
            "line %llu has no field \"%s\" to take the key from",
            producer->lines,
            producer->key_field
        );
    }
    if (json->tokens[token].type != RIA_JSON_STRING) {
        *out_key = ria_json_raw(json, (uint32_t)token);
        return CLI_OK;
    }
    ria_arena_reset(&producer->arena);
    err = ria_json_string(json, (uint32_t)token, &producer->arena, out_key);
    return err == RIA_OK ? CLI_OK : cli_fail("line %llu: %s", producer->lines, ria_err_text(err));
}

static void show_progress(struct producer *producer, bool last)
{
    time_t now = time(NULL);

    if (!producer->progress || (!last && now < producer->shown + PROGRESS_SECONDS)) {
        return;
    }
    producer->shown = now;
    (void)fprintf(
        stderr,
        "\r%llu records, %.1f MB acknowledged%s",
        producer->sent,
        (double)producer->bytes / 1e6,
        last ? "\n" : ""
    );
}

/* Every entry of the answer must be an offset. */
static int check_answer(const struct http_reply *reply)
{
    json_t *answer = json_loadb((const char *)reply->body.data, reply->body.size, 0, NULL);
    const json_t *entry;
    int status = CLI_OK;
    size_t i;

    if (!json_is_array(json_object_get(answer, "offsets"))) {
        status = cli_fail("the gateway's answer has no offsets");
    }
    json_array_foreach(json_object_get(answer, "offsets"), i, entry)
    {
        if (status == CLI_OK && !json_is_null(json_object_get(entry, "error_code"))) {
            status = cli_fail("record %zu of the request: %s", i + 1, cli_text(entry, "error"));
        }
    }
    json_decref(answer);
    return status;
}

static int flush(struct producer *producer)
{
    struct http_reply reply;

    if (producer->records == 0) {
        return CLI_OK;
    }
    if (ria_buf_append_str(&producer->body, "]}") != RIA_OK) {
        return cli_fail("out of memory");
    }
    http_reply_init(&reply);
    ria_err err = http_client_call(
        producer->cli->client,
        "POST",
        producer->path,
        "application/vnd.kafka.binary.v2+json",
        "application/vnd.kafka.v2+json",
        producer->body.data,
        producer->body.size,
        &reply
    );
    int status = CLI_OK;
    if (err != RIA_OK) {
        status = cli_fail(
            "%s: %s; whether the last %u records were stored is unknown",
            producer->cli->gateway,
            reply.error,
            producer->records
        );
    } else {
        status = reply.status >= 300 ? cli_fail_reply(&reply) : check_answer(&reply);
    }
    http_reply_fini(&reply);
    if (status == CLI_OK) {
        producer->sent += producer->records;
        producer->bytes += producer->pending;
        show_progress(producer, false);
    }
    producer->records = 0;
    producer->pending = 0;
    ria_buf_clear(&producer->body);
    return status;
}

static ria_err
append_record(struct producer *producer, const struct ria_slice *key, struct ria_slice value)
{
    struct ria_buf *body = &producer->body;

    RIA_TRY(ria_buf_append_str(body, producer->records == 0 ? "{\"records\":[{" : ",{"));
    if (key != NULL) {
        RIA_TRY(ria_buf_append_str(body, "\"key\":\""));
        RIA_TRY(append_base64(body, *key));
        RIA_TRY(ria_buf_append_str(body, "\","));
    }
    RIA_TRY(ria_buf_append_str(body, "\"value\":\""));
    RIA_TRY(append_base64(body, value));
    RIA_TRY(ria_buf_append_str(body, "\"}"));
    producer->records++;
    producer->pending += value.size;
    return RIA_OK;
}

static int add_line(struct producer *producer, struct ria_slice line)
{
    struct ria_slice key = RIA_SLICE_NULL;

    if (producer->key_field != NULL) {
        int status = find_key(producer, line, &key);
        if (status != CLI_OK) {
            return status;
        }
    }
    if (append_record(producer, producer->key_field != NULL ? &key : NULL, line) != RIA_OK) {
        return cli_fail("line %llu: out of memory", producer->lines);
    }
    if (producer->records >= REQUEST_RECORDS_MAX || producer->body.size >= REQUEST_BYTES_MAX) {
        return flush(producer);
    }
    return CLI_OK;
}

static int produce_file(struct producer *producer, FILE *file, const char *name)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    int status = CLI_OK;

    while (status == CLI_OK && (length = getline(&line, &capacity, file)) >= 0) {
        producer->lines++;
        if (length > 0 && line[length - 1] == '\n') {
            length--;
        }
        if (length > LINE_BYTES_MAX) {
            status = cli_fail("line %llu is larger than %d bytes", producer->lines, LINE_BYTES_MAX);
        } else if (length > 0) {
            status = add_line(producer, (struct ria_slice){(const uint8_t *)line, (size_t)length});
        }
    }
    if (status == CLI_OK && ferror(file)) {
        status = cli_fail("cannot read %s", name);
    }
    free(line);
    return status;
}

static int produce_all(struct producer *producer, int count, char **files)
{
    int status = CLI_OK;

    if (count == 0) {
        status = produce_file(producer, stdin, "standard input");
    }
    for (int i = 0; i < count && status == CLI_OK; i++) {
        FILE *file = fopen(files[i], "re");
        if (file == NULL) {
            status = cli_fail("cannot open %s", files[i]);
            (void)flush(producer); /* what was read before it is sent all the same */
            return status;
        }
        status = produce_file(producer, file, files[i]);
        (void)fclose(file);
    }
    return status == CLI_OK ? flush(producer) : status;
}

static void report(struct producer *producer, int status)
{
    show_progress(producer, true);
    if (producer->cli->json) {
        (void)printf("{\"records\": %llu, \"bytes\": %llu}\n", producer->sent, producer->bytes);
    } else if (status == CLI_OK) {
        (void)printf("produced %llu record%s\n", producer->sent, producer->sent == 1 ? "" : "s");
    } else {
        (void
        )fprintf(stderr, "riacho: %llu records were acknowledged before that\n", producer->sent);
    }
}

int cli_produce(struct cli *cli, int argc, char **argv)
{
    struct cli_option options[] = {{.name = "key"}, {.name = "partition"}};
    int count = cli_parse(argc, argv, options, RIA_COUNT(options));
    char topic[PATH_MAX_BYTES - 64];
    long long partition = -1;

    if (count < 0) {
        return CLI_USAGE;
    }
    if (count < 1) {
        return cli_usage("produce wants a TOPIC");
    }
    if (options[1].value != NULL &&
        !cli_number("--partition", options[1].value, 0, INT32_MAX, &partition)) {
        return CLI_USAGE;
    }
    struct producer producer = {
        .cli = cli,
        .key_field = options[0].value,
        .progress = isatty(STDERR_FILENO) != 0,
    };
    http_escape(topic, sizeof(topic), argv[0]);
    if (partition >= 0) {
        (void)snprintf(
            producer.path, sizeof(producer.path), "/topics/%s/partitions/%lld", topic, partition
        );
    } else {
        (void)snprintf(producer.path, sizeof(producer.path), "/topics/%s", topic);
    }
    ria_buf_init(&producer.body, 4 * LINE_BYTES_MAX);
    ria_json_init(&producer.json);
    ria_arena_init(&producer.arena, LINE_BYTES_MAX);
    int status = produce_all(&producer, count - 1, argv + 1);
    report(&producer, status);
    ria_arena_fini(&producer.arena);
    ria_json_fini(&producer.json);
    ria_buf_fini(&producer.body);
    return status;
}

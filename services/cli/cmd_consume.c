/* riacho consume: the records of a topic, its partitions merged by time.
 *
 * Reads raw record batches (what was stored, byte for byte) and keeps one page per partition; the
 * record with the smallest timestamp goes out first, ties by partition. Order within a partition is
 * always the partition's own.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base64.h"
#include "common/json.h"
#include "common/utf8.h"

#include "schemas/batch.h"

#include "services/cli/cli.h"
#include "services/cli/follow.h"

enum {
    PATH_MAX_BYTES = 2048,
    PAGE_BYTES = 1024 * 1024,
    PARTITIONS_MAX = 10000,
    FOLLOW_PAUSE_MS = 50,
    VALUE_TOKENS_MAX = 1 << 20,
};

/* One partition being read. */
struct source {
    int partition;
    int64_t next_offset; /* of the next record to print */
    int64_t end_offset;  /* stop here; INT64_MAX: never */
    struct http_reply page;
    struct ria_slice rest; /* batches of the page that are not begun */
    struct batch_iter iter;
    bool in_batch;
    bool has_record;
    struct batch_record record;
};

struct consumer {
    struct cli *cli;
    char topic[PATH_MAX_BYTES - 256]; /* escaped */
    cli_output output;
    struct follow *follow; /* NULL: to the end as it is now */
    long long max;         /* records still to print; -1 = no limit */
    struct source *sources;
    size_t source_count;
    struct ria_buf line;
    struct ria_json json;
};

/* ---- reading ---- */

/* While following, a gateway that dies, or can do nothing for now, is no reason to end. Stopped:
 * CLI_OK, and the page has no records. */
static int get_page(struct consumer *consumer, const char *path, struct http_reply *page)
{
    static const char type[] = "application/vnd.riacho.batch";

    for (;;) {
        ria_err err =
            http_client_call(consumer->cli->client, "GET", path, NULL, type, NULL, 0, page);
        if (err == RIA_OK && page->status < 300) {
            if (consumer->follow != NULL) {
                follow_answered(consumer->follow);
            }
            return CLI_OK;
        }
        bool goes_on =
            consumer->follow != NULL && err != RIA_ERR_TOO_LARGE && follow_is_for_now(page);
        if (!goes_on && err != RIA_OK) {
            return cli_fail("%s: %s", http_client_gateway(consumer->cli->client), page->error);
        }
        if (!goes_on) {
            return cli_fail_reply(page);
        }
        if (!follow_again(consumer->follow, page)) {
            page->status = 0;
            return CLI_OK;
        }
    }
}

/* Ask for the next page. An empty one is no error. */
static int read_page(struct consumer *consumer, struct source *source)
{
    char path[PATH_MAX_BYTES];

    (void)snprintf(
        path,
        sizeof(path),
        "/v1/topics/%s/partitions/%d/records?offset=%" PRId64 "&max_bytes=%d",
        consumer->topic,
        source->partition,
        source->next_offset,
        PAGE_BYTES
    );
    source->rest = RIA_SLICE_NULL;
    int status = get_page(consumer, path, &source->page);
    if (status == CLI_OK && source->page.status == 200) {
        source->rest = ria_buf_slice(&source->page.body);
    }
    return status;
}

/* Put the next record of the page into source->record; has_record says whether there was one. */
static ria_err next_in_page(struct source *source)
{
    source->has_record = false;
    while (source->in_batch || source->rest.size > 0) {
        bool more = false;
        if (!source->in_batch) {
            RIA_TRY(batch_iter_init(&source->iter, source->rest));
            size_t size = batch_size(&source->iter.header);
            source->rest.data += size;
            source->rest.size -= size;
            source->in_batch = true;
        }
        RIA_TRY(batch_iter_next(&source->iter, &source->record, &more));
        if (!more) {
            source->in_batch = false;
        } else if (source->record.offset >= source->next_offset) {
            source->has_record = source->record.offset < source->end_offset;
            source->next_offset = source->record.offset + (source->has_record ? 1 : 0);
            return RIA_OK;
        }
    }
    return RIA_OK;
}

static bool source_is_done(const struct source *source)
{
    return !source->has_record && source->next_offset >= source->end_offset;
}

static int fill(struct consumer *consumer, struct source *source)
{
    ria_err err = next_in_page(source);

    if (err == RIA_OK && !source->has_record && !source_is_done(source)) {
        int status = read_page(consumer, source);
        if (status != CLI_OK) {
            return status;
        }
        err = next_in_page(source);
    }
    return err == RIA_OK ? CLI_OK
                         : cli_fail("partition %d: %s", source->partition, ria_err_text(err));
}

/* ---- printing ---- */

/* As JSON: the text itself if it is valid JSON, else a string, else an object with its base64. */
static ria_err append_value(struct consumer *consumer, struct ria_slice value)
{
    struct ria_buf *line = &consumer->line;

    if (value.data == NULL) {
        return ria_buf_append_str(line, "null");
    }
    if (ria_json_parse(&consumer->json, value, VALUE_TOKENS_MAX) == RIA_OK &&
        memchr(value.data, '\n', value.size) == NULL) {
        return ria_buf_append(line, value.data, value.size);
    }
    if (ria_utf8_valid(value)) {
        return ria_json_append_string(line, value);
    }
    RIA_TRY(ria_buf_append_str(line, "{\"base64\":\""));
    RIA_TRY(ria_buf_reserve(line, ria_base64_size(value.size)));
    ria_base64_encode((char *)line->data + line->size, value);
    line->size += ria_base64_size(value.size);
    return ria_buf_append_str(line, "\"}");
}

/* Keys are text more often than JSON: 42 and "42" must not look alike. A key that is itself a JSON
 * string, as the v2 json format stores it, is shown as that string. */
static ria_err append_key(struct consumer *consumer, struct ria_slice key)
{
    if (key.data == NULL || !ria_utf8_valid(key)) {
        return append_value(consumer, key);
    }
    if (key.size >= 2 && key.data[0] == '"' &&
        ria_json_parse(&consumer->json, key, VALUE_TOKENS_MAX) == RIA_OK) {
        return ria_buf_append(&consumer->line, key.data, key.size);
    }
    return ria_json_append_string(&consumer->line, key);
}

static ria_err append_headers(struct consumer *consumer, const struct batch_record *record)
{
    struct ria_slice cursor = record->headers;
    struct batch_record_header header;
    bool more = false;

    RIA_TRY(ria_buf_append_str(&consumer->line, ",\"headers\":{"));
    for (uint32_t i = 0; i < record->header_count; i++) {
        RIA_TRY(batch_record_header_next(&cursor, &header, &more));
        RIA_TRY(ria_buf_append_str(&consumer->line, i == 0 ? "" : ","));
        RIA_TRY(ria_json_append_string(&consumer->line, header.name));
        RIA_TRY(ria_buf_append_str(&consumer->line, ":"));
        RIA_TRY(append_key(consumer, header.value));
    }
    return ria_buf_append_str(&consumer->line, "}");
}

static ria_err format_record(struct consumer *consumer, const struct source *source)
{
    const struct batch_record *record = &source->record;
    struct ria_buf *line = &consumer->line;

    ria_buf_clear(line);
    switch (consumer->output) {
    case CLI_OUTPUT_RAW:
        return ria_buf_append(line, record->value.data, record->value.size);
    case CLI_OUTPUT_VALUE:
        RIA_TRY(ria_buf_append(line, record->value.data, record->value.size));
        return ria_buf_append_str(line, "\n");
    case CLI_OUTPUT_JSON:
        break;
    }
    RIA_TRY(ria_buf_printf(
        line,
        "{\"partition\":%d,\"offset\":%" PRId64 ",\"timestamp\":%" PRId64 ",\"key\":",
        source->partition,
        record->offset,
        record->timestamp_ms
    ));
    RIA_TRY(append_key(consumer, record->key));
    RIA_TRY(ria_buf_append_str(line, ",\"value\":"));
    RIA_TRY(append_value(consumer, record->value));
    if (record->header_count > 0) {
        RIA_TRY(append_headers(consumer, record));
    }
    return ria_buf_append_str(line, "}\n");
}

static int print_record(struct consumer *consumer, const struct source *source)
{
    if (format_record(consumer, source) != RIA_OK) {
        return cli_fail("partition %d: the record cannot be shown", source->partition);
    }
    if (fwrite(consumer->line.data, 1, consumer->line.size, stdout) != consumer->line.size) {
        return cli_fail("cannot write to standard output");
    }
    return CLI_OK;
}

/* ---- merging ---- */

static struct source *earliest(struct consumer *consumer)
{
    struct source *best = NULL;

    for (size_t i = 0; i < consumer->source_count; i++) {
        struct source *source = &consumer->sources[i];
        if (source->has_record &&
            (best == NULL || source->record.timestamp_ms < best->record.timestamp_ms)) {
            best = source;
        }
    }
    return best;
}

static bool all_done(const struct consumer *consumer)
{
    for (size_t i = 0; i < consumer->source_count; i++) {
        if (!source_is_done(&consumer->sources[i])) {
            return false;
        }
    }
    return true;
}

static bool is_stopped(const struct consumer *consumer)
{
    return consumer->follow != NULL && follow_is_stopped(consumer->follow);
}

static int consume(struct consumer *consumer)
{
    const struct timespec pause = {.tv_nsec = FOLLOW_PAUSE_MS * 1000000L};

    while (consumer->max != 0 && !all_done(consumer) && !is_stopped(consumer)) {
        for (size_t i = 0; i < consumer->source_count; i++) {
            struct source *source = &consumer->sources[i];
            int status = source->has_record ? CLI_OK : fill(consumer, source);
            if (status != CLI_OK) {
                return status;
            }
        }
        struct source *source = earliest(consumer);
        if (source == NULL && !is_stopped(consumer)) {
            (void)fflush(stdout);
            (void)nanosleep(&pause, NULL);
            continue;
        }
        /* Go on with this one while it stays the earliest: a page is not asked for record by
         * record. */
        while (source != NULL) {
            int status = print_record(consumer, source);
            if (status != CLI_OK) {
                return status;
            }
            consumer->max -= consumer->max > 0;
            if (next_in_page(source) != RIA_OK) {
                return cli_fail("partition %d: damaged batch", source->partition);
            }
            bool stays = consumer->max != 0 && source->has_record && earliest(consumer) == source;
            source = stays ? source : NULL;
        }
    }
    return CLI_OK;
}

/* ---- where to begin and end ---- */

static bool parse_time(const char *text, int64_t *out_ms)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

    if (end == NULL || (*end != '\0' && strcmp(end, "Z") != 0)) {
        return false;
    }
    *out_ms = (int64_t)timegm(&tm) * 1000;
    return true;
}

static int place_source(struct consumer *consumer, struct source *source, const char *from)
{
    char path[PATH_MAX_BYTES];
    json_t *offsets = NULL;
    int64_t time_ms = 0;
    char *rest = NULL;
    bool by_time = parse_time(from, &time_ms);

    int used = snprintf(
        path,
        sizeof(path),
        "/v1/topics/%s/partitions/%d/offsets",
        consumer->topic,
        source->partition
    );
    if (by_time) {
        (void)snprintf(path + used, sizeof(path) - (size_t)used, "?timestamp=%" PRId64, time_ms);
    }
    int status = cli_call(consumer->cli, "GET", path, NULL, &offsets);
    if (status != CLI_OK) {
        return status;
    }
    int64_t start = cli_integer(offsets, "log_start_offset");
    int64_t end = cli_integer(offsets, "high_watermark");
    if (strcmp(from, "beginning") == 0) {
        source->next_offset = start;
    } else if (strcmp(from, "end") == 0) {
        source->next_offset = end;
    } else if (by_time) {
        /* null: everything is older */
        const json_t *found = json_object_get(offsets, "offset");
        source->next_offset = json_is_integer(found) ? (int64_t)json_integer_value(found) : end;
    } else {
        source->next_offset = (int64_t)strtoll(from, &rest, 10);
        if (rest == from || *rest != '\0' || source->next_offset < 0) {
            status =
                cli_usage("--from wants beginning, end, an offset or a time, not \"%s\"", from);
        } else if (source->next_offset < start) {
            source->next_offset = start;
        }
    }
    source->end_offset = end;
    json_decref(offsets);
    return status;
}

static int find_partitions(struct consumer *consumer, long long only, const char *from)
{
    char path[PATH_MAX_BYTES];
    json_t *topic = NULL;

    (void)snprintf(path, sizeof(path), "/v1/topics/%s", consumer->topic);
    int status = cli_call(consumer->cli, "GET", path, NULL, &topic);
    size_t count = json_array_size(json_object_get(topic, "partitions"));
    json_decref(topic);
    if (status != CLI_OK) {
        return status;
    }
    if (only >= 0 && (size_t)only >= count) {
        return cli_fail("partition %lld does not exist: the topic has 0 to %zu", only, count - 1);
    }
    consumer->source_count = only >= 0 ? 1 : count;
    consumer->sources = calloc(consumer->source_count, sizeof(*consumer->sources));
    if (consumer->sources == NULL) {
        return cli_fail("out of memory");
    }
    for (size_t i = 0; i < consumer->source_count; i++) {
        consumer->sources[i].partition = only >= 0 ? (int)only : (int)i;
        http_reply_init(&consumer->sources[i].page);
    }
    for (size_t i = 0; i < consumer->source_count && status == CLI_OK; i++) {
        status = place_source(consumer, &consumer->sources[i], from);
    }
    return status;
}

/* ---- the command ---- */

static void consumer_fini(struct consumer *consumer)
{
    for (size_t i = 0; consumer->sources != NULL && i < consumer->source_count; i++) {
        http_reply_fini(&consumer->sources[i].page);
    }
    free(consumer->sources);
    ria_buf_fini(&consumer->line);
    ria_json_fini(&consumer->json);
}

/* To be told to stop is no failure. */
static int follow_topic(struct consumer *consumer)
{
    struct follow follow;

    if (!follow_open(&follow, consumer->cli)) {
        return CLI_FAILED;
    }
    consumer->follow = &follow;
    for (size_t i = 0; i < consumer->source_count; i++) {
        consumer->sources[i].end_offset = INT64_MAX;
    }
    int status = consume(consumer);
    follow_close(&follow);
    return status;
}

/* Options in the order of cli_consume()'s table. */
static int consume_as_group(
    struct cli *cli, const struct cli_option *options, const struct consumer *consumer, char *topics
)
{
    const char *from = options[0].value;
    const struct cli_consume_group group = {
        .group = options[5].value,
        .member = options[6].value,
        .from_end = from != NULL && strcmp(from, "end") == 0,
        .follow = options[4].value != NULL,
        .max = consumer->max,
        .output = consumer->output,
    };

    if (options[1].value != NULL) {
        return cli_usage("--partition does not go with --group");
    }
    if (from != NULL && strcmp(from, "beginning") != 0 && strcmp(from, "end") != 0) {
        return cli_usage("--from wants beginning or end with --group, not \"%s\"", from);
    }
    return cli_consume_group(cli, &group, topics);
}

int cli_consume(struct cli *cli, int argc, char **argv)
{
    struct cli_option options[] = {
        {.name = "from"},
        {.name = "partition"},
        {.name = "max"},
        {.name = "output"},
        {.name = "follow", .is_flag = true},
        {.name = "group"},
        {.name = "member"},
    };
    int count = cli_parse(argc, argv, options, RIA_COUNT(options));
    struct consumer consumer = {.cli = cli, .max = -1};
    long long only = -1;

    if (count < 0) {
        return CLI_USAGE;
    }
    if (count != 1) {
        return cli_usage("consume wants one TOPIC");
    }
    if ((options[1].value != NULL &&
         !cli_number("--partition", options[1].value, 0, PARTITIONS_MAX, &only)) ||
        (options[2].value != NULL &&
         !cli_number("--max", options[2].value, 1, INT64_MAX, &consumer.max)) ||
        cli_output_of(options[3].value, &consumer.output) != CLI_OK) {
        return CLI_USAGE;
    }
    if (options[5].value != NULL) {
        return consume_as_group(cli, options, &consumer, argv[0]);
    }
    if (options[6].value != NULL) {
        return cli_usage("--member wants --group, too");
    }
    http_escape(consumer.topic, sizeof(consumer.topic), argv[0]);
    ria_buf_init(&consumer.line, (size_t)64 * 1024 * 1024);
    ria_json_init(&consumer.json);
    int status =
        find_partitions(&consumer, only, options[0].value != NULL ? options[0].value : "beginning");
    if (status == CLI_OK && options[4].value != NULL) {
        status = follow_topic(&consumer);
    } else if (status == CLI_OK) {
        status = consume(&consumer);
    }
    consumer_fini(&consumer);
    return status;
}

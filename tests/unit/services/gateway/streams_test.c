/* Live streams as their clients see them, over logs that the test answers for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/batch.h"
#include "schemas/gen/fetch_request.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/list_offsets_request.h"
#include "schemas/gen/list_offsets_response.h"
#include "schemas/gen/watch_request.h"
#include "schemas/gen/watch_response.h"

#include "services/gateway/gateway.h"
#include "services/gateway/service.h"
#include "services/gateway/stream_query.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/fake_request.h"
#include "tests/unit/services/gateway/world.h"

enum { PARTITIONS = 3, BATCH_RECORDS = 7, CURSOR_SIZE = 1024, STREAMS_MAX = 40 };

/* A record of partition p at offset o is {"p":p,"o":o,"n":o % 100} with key "k<o % 10>" at time
 * 1000 * o, so that nothing has to be kept. */
struct log {
    int64_t start;
    int64_t end;
};

struct setup {
    struct world world;
    struct gateway *gateway;
    struct log logs[PARTITIONS];
    uint32_t fetches;
    uint32_t value_pad; /* bytes that make the values larger */
    bool is_silent;     /* the leaders answer nothing */
};

struct client {
    struct fake_request fake;
    size_t read; /* bytes of the body that were looked at */
    int64_t next[PARTITIONS];
    char cursor[CURSOR_SIZE];
    char last_id[CURSOR_SIZE]; /* sent in the request */
    uint32_t records;
    uint32_t beats;
    uint32_t gaps;
    char end[400]; /* data of the last event */
    bool has_filter;
    bool is_wrong;
};

static void setup(struct setup *s)
{
    const struct gateway_options options = {
        .coordinator = "tcp://c",
        .body_max = 4096,
        .request_timeout_ms = 30000,
        .streams_max = STREAMS_MAX,
    };

    *s = (struct setup){.fetches = 0};
    world_init(&s->world, 3);
    (void)world_add_topic(&s->world, "t", PARTITIONS);
    (void)world_add_topic(&s->world, "one", 1);
    CU_ASSERT_EQUAL_FATAL(
        gateway_new(&s->world.env, &options, &s->world.budget, NULL, &s->gateway), RIA_OK
    );
    gateway_start(s->gateway);
    world_run(&s->world);
}

static void teardown(struct setup *s)
{
    gateway_free(s->gateway);
    world_fini(&s->world);
    CU_ASSERT_EQUAL(s->world.budget.used.value, 0);
}

/* --- storage -----------------------------------------------------------------------------------*/

static void build_batch(struct setup *s, int32_t partition, int64_t offset, struct ria_buf *out)
{
    const struct log *log = &s->logs[partition];
    struct batch_builder builder;
    char key[16];
    char value[128];

    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    /* Batches begin at multiples, as on disk. */
    int64_t base = ria_max_i64(offset / BATCH_RECORDS * BATCH_RECORDS, 0);
    for (int64_t o = base; o < base + BATCH_RECORDS && o < log->end; o++) {
        (void)snprintf(key, sizeof(key), "k%d", (int)(o % 10));
        int n = snprintf(
            value,
            sizeof(value),
            "{\"p\":%d,\"o\":%lld,\"n\":%d,\"pad\":\"",
            (int)partition,
            (long long)o,
            (int)(o % 100)
        );
        char *padded = malloc((size_t)n + s->value_pad + 3);
        RIA_ASSERT(padded != NULL);
        memcpy(padded, value, (size_t)n);
        memset(padded + n, 'x', s->value_pad);
        memcpy(padded + n + s->value_pad, "\"}", 3);
        ria_err err = batch_builder_add(
            &builder, 1000 * o, ria_slice_cstr(key), ria_slice_cstr(padded), NULL, 0
        );
        RIA_ASSERT(err == RIA_OK);
        free(padded);
    }
    struct ria_slice bytes = batch_builder_finish(&builder, -1, -1, -1);
    batch_patch(builder.buf.data, base, 1);
    ria_err err = ria_buf_append(out, bytes.data, bytes.size);
    RIA_ASSERT(err == RIA_OK);
    batch_builder_fini(&builder);
}

/* Of a request without slices. */
static void open_call(const struct world_call *call, void *out)
{
    struct ria_slice payload;
    struct ria_arena arena;

    ria_arena_init(&arena, 65536);
    world_open(call, &arena, out, &payload);
    ria_arena_fini(&arena);
}

static void serve_fetch(struct setup *s, struct world_call *call)
{
    struct fetch_request request;
    struct fetch_response response;
    struct ria_buf out;

    open_call(call, &request);
    const struct log *log = &s->logs[request.partition];
    s->fetches++;
    if (request.offset < log->start || request.offset > log->end) {
        world_refuse(&s->world, call, RIA_ERR_OFFSET_OUT_OF_RANGE, "");
        return;
    }
    fetch_response_init(&response);
    response.high_watermark = log->end;
    response.log_start_offset = log->start;
    ria_buf_init(&out, 64 << 20);
    for (int64_t o = request.offset;
         o < log->end && (out.size == 0 || out.size < (size_t)request.max_bytes);
         o = (o / BATCH_RECORDS + 1) * BATCH_RECORDS) {
        build_batch(s, request.partition, o, &out);
    }
    world_reply(&s->world, call, &response, ria_buf_slice(&out));
    ria_buf_fini(&out);
}

static void serve_offsets(struct setup *s, struct world_call *call)
{
    struct list_offsets_request request;
    struct list_offsets_response response;

    open_call(call, &request);
    const struct log *log = &s->logs[request.partition];
    list_offsets_response_init(&response);
    response.log_start_offset = log->start;
    response.high_watermark = log->end;
    response.offset = -1;
    if (request.timestamp >= 0 && request.timestamp <= 1000 * (log->end - 1)) {
        response.offset = ria_max_i64(log->start, (request.timestamp + 999) / 1000);
    }
    world_reply(&s->world, call, &response, RIA_SLICE_NULL);
}

/* False: nothing has moved. */
static bool serve_watch(struct setup *s, struct world_call *call)
{
    struct watch_request request;
    struct watch_response response;
    struct watch_response_watched_partition moved[PARTITIONS * 4];
    struct ria_slice payload;
    struct ria_arena arena;

    ria_arena_init(&arena, 65536);
    world_open(call, &arena, &request, &payload);
    watch_response_init(&response);
    response.partitions = moved;
    for (uint32_t i = 0; i < request.partitions_count; i++) {
        int32_t partition = request.partitions[i].partition;
        if (s->logs[partition].end > request.partitions[i].offset &&
            response.partitions_count < RIA_COUNT(moved)) {
            struct watch_response_watched_partition *row = &moved[response.partitions_count++];
            watch_response_watched_partition_init(row);
            row->topic_id = request.partitions[i].topic_id;
            row->partition = partition;
            row->high_watermark = s->logs[partition].end;
        }
    }
    ria_arena_fini(&arena);
    if (response.partitions_count == 0) {
        return false;
    }
    world_reply(&s->world, call, &response, RIA_SLICE_NULL);
    return true;
}

static bool serve(struct setup *s)
{
    bool any = false;

    RIA_LIST_FOREACH (it, &s->world.calls) {
        struct world_call *call = RIA_CONTAINER(it, struct world_call, link);
        if (s->is_silent) {
            break;
        }
        if (call->api_key == API_FETCH) {
            serve_fetch(s, call);
            any = true;
        } else if (call->api_key == API_LIST_OFFSETS) {
            serve_offsets(s, call);
            any = true;
        } else if (call->api_key == API_WATCH) {
            any = serve_watch(s, call) || any;
        }
    }
    return any;
}

/* Until nothing happens by itself for a moment. */
static void settle(struct setup *s)
{
    for (int quiet = 0; quiet < 3; quiet++) {
        world_advance(&s->world, 600);
        if (serve(s)) {
            quiet = 0;
        }
    }
}

/* --- clients -----------------------------------------------------------------------------------*/

static void ask(struct setup *s, struct client *client)
{
    size_t body_max = 0;

    client->fake.request.received_us = s->world.now_us;
    gateway_begin(s->gateway, &client->fake.request, &body_max);
    if (client->fake.answers == 0) {
        gateway_handle(s->gateway, &client->fake.request);
    }
    settle(s);
}

static void open_as(
    struct setup *s, struct client *client, const char *path, const char *type, const char *last_id
)
{
    memset(client, 0, sizeof(*client));
    fake_request_init(&client->fake, "GET", path, NULL);
    fake_request_header(&client->fake, "Accept", type);
    if (last_id != NULL) {
        (void)snprintf(client->last_id, sizeof(client->last_id), "%s", last_id);
        fake_request_header(&client->fake, "Last-Event-ID", client->last_id);
    }
    ask(s, client);
}

static void open_stream(struct setup *s, struct client *client, const char *path)
{
    open_as(s, client, path, "text/event-stream", NULL);
}

static void hang_up(struct setup *s, struct client *client)
{
    fake_request_hang_up(&client->fake);
    fake_request_fini(&client->fake);
    settle(s);
}

static int64_t number_behind(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at == NULL ? -1 : strtoll(at + strlen(name), NULL, 10);
}

/* What the client expects to be next of a partition. */
static int64_t expected(const struct client *client, int32_t partition)
{
    int64_t offset = client->next[partition];

    while (client->has_filter && offset % 100 >= 3) {
        offset++;
    }
    return offset;
}

static void take_record(struct client *client, const char *data)
{
    int64_t partition = number_behind(data, "\"partition\":");
    int64_t offset = number_behind(data, "\"offset\":");

    if (partition < 0 || partition >= PARTITIONS ||
        offset != expected(client, (int32_t)partition) || number_behind(data, "\"o\":") != offset ||
        number_behind(data, "\"p\":") != partition) {
        client->is_wrong = true;
        (void)printf("[%.100s]", data);
        return;
    }
    client->next[partition] = offset + 1;
    client->records++;
}

static void take_event(struct client *client, char *text)
{
    bool is_record = true;

    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (strncmp(line, "id: ", 4) == 0) {
            (void)snprintf(client->cursor, sizeof(client->cursor), "%s", line + 4);
        } else if (strcmp(line, ":") == 0) {
            client->beats++;
        } else if (strcmp(line, "event: end") == 0) {
            is_record = false;
            client->end[0] = '?';
        } else if (strcmp(line, "event: gap") == 0) {
            is_record = false;
            client->gaps++;
        } else if (strncmp(line, "data: ", 6) == 0 && is_record) {
            take_record(client, line + 6);
        } else if (strncmp(line, "data: ", 6) == 0 && client->end[0] != '\0') {
            (void)snprintf(client->end, sizeof(client->end), "%.399s", line + 6);
        } else if (strncmp(line, "data: ", 6) == 0) {
            int64_t partition = number_behind(line, "\"partition\":");
            client->next[partition] = number_behind(line, "\"to\":");
        } else if (strncmp(line, "retry: ", 7) != 0) {
            client->is_wrong = true;
        }
    }
}

/* Whole events that came. */
static void look(struct client *client)
{
    char *body = client->fake.body;

    while (body != NULL) {
        char *begin = body + client->read;
        char *end = strstr(begin, "\n\n");
        if (end == NULL) {
            return;
        }
        char *text = strndup(begin, (size_t)(end - begin));
        RIA_ASSERT(text != NULL);
        take_event(client, text);
        free(text);
        client->read = (size_t)(end - body) + 2;
    }
}

/* Everything there is. */
static void drain(struct setup *s, struct client *client)
{
    for (int i = 0; i < 1000 && client->fake.wants && client->fake.pull != NULL; i++) {
        fake_request_take(&client->fake, 0, 0);
        settle(s);
    }
    look(client);
}

static bool is_at_the_end(const struct setup *s, const struct client *client)
{
    for (int32_t p = 0; p < PARTITIONS; p++) {
        if (expected(client, p) < s->logs[p].end) {
            return false;
        }
    }
    return !client->is_wrong;
}

static bool
refused(struct setup *s, const char *path, const char *last_id, int status, const char *part)
{
    struct client client;

    open_as(s, &client, path, "text/event-stream", last_id);
    bool same = client.fake.status == status && fake_answer_has(&client.fake, part) &&
                client.fake.pull == NULL;
    if (!same) {
        (void)printf("[%d %.300s]", client.fake.status, client.fake.body);
    }
    fake_request_fini(&client.fake);
    return same && s->gateway->streams.metrics.open.value == 0;
}

/* --- one client --------------------------------------------------------------------------------*/

static void a_stream_begins_with_its_place_and_sends_what_comes(void)
{
    struct setup s;
    struct client client;

    setup(&s);
    s.logs[1].end = 5;
    open_stream(&s, &client, "/v1/topics/t/stream");
    CU_ASSERT_EQUAL(client.fake.status, 200);
    CU_ASSERT_STRING_EQUAL(client.fake.content_type, "text/event-stream");
    CU_ASSERT_PTR_NOT_NULL(strstr(client.fake.fields, "Cache-Control: no-store"));
    drain(&s, &client);
    CU_ASSERT_TRUE(fake_answer_has(&client.fake, "retry: 2000\nid: "));
    CU_ASSERT_TRUE(client.cursor[0] != '\0');
    CU_ASSERT_EQUAL(client.records, 0); /* from the latest on */
    client.next[1] = 5;
    s.logs[1].end = 6;
    s.logs[2].end = 2;
    settle(&s);
    CU_ASSERT_TRUE(client.fake.wants);
    drain(&s, &client);
    CU_ASSERT_EQUAL(client.records, 3);
    CU_ASSERT_TRUE(is_at_the_end(&s, &client));
    CU_ASSERT_TRUE(fake_answer_has(
        &client.fake,
        "\ndata: "
        "{\"partition\":1,\"offset\":5,\"timestamp\":5000,\"key\":\"k5\",\"value\":{\"p\":1,"
    ));
    hang_up(&s, &client);
    CU_ASSERT_EQUAL(s.gateway->streams.metrics.open.value, 0);
    CU_ASSERT_EQUAL(s.gateway->streams.metrics.flocks.value, 0);
    CU_ASSERT_EQUAL(s.gateway->streams.classes.count, 0);
    teardown(&s);
}

static void every_beginning_is_understood(void)
{
    static const struct {
        const char *query;
        int64_t next[PARTITIONS];
    } cases[] = {
        {"from=earliest", {10, 0, 0}},
        {"from=latest", {50, 60, 70}},
        {"", {50, 60, 70}},
        {"from=40500", {41, 41, 41}},
        {"from=1970-01-01T00:00:40.5Z", {41, 41, 41}},
        {"from=1970-01-01T01:00:55%2B01:00", {50, 55, 55}},
        {"from=0:12,1:59,2:70", {12, 59, 70}},
        {"from=0:12", {12, 60, 70}},
        {"from=earliest&partitions=2", {50, 60, 0}},
        {"from=2:7,0:49&partitions=0,2", {49, 60, 7}},
    };

    for (size_t i = 0; i < RIA_COUNT(cases); i++) {
        struct setup s;
        struct client client;
        char path[200];
        setup(&s);
        s.logs[0] = (struct log){10, 50};
        s.logs[1].end = 60;
        s.logs[2].end = 70;
        (void)snprintf(path, sizeof(path), "/v1/topics/t/stream?%s", cases[i].query);
        open_stream(&s, &client, path);
        memcpy(client.next, cases[i].next, sizeof(client.next));
        drain(&s, &client);
        CU_ASSERT_TRUE(is_at_the_end(&s, &client));
        if (!is_at_the_end(&s, &client)) {
            (void)printf("[%s: %s]", cases[i].query, client.fake.body);
        }
        hang_up(&s, &client);
        teardown(&s);
    }
}

static void a_cursor_continues_without_gap_or_repeat(void)
{
    struct setup s;
    struct client first;
    struct client second;

    setup(&s);
    s.logs[0].end = 30;
    s.logs[1].end = 30;
    open_stream(&s, &first, "/v1/topics/t/stream?from=earliest");
    for (int i = 0; i < 5; i++) {
        fake_request_take(&first.fake, 1024, 1);
        settle(&s);
    }
    look(&first);
    CU_ASSERT_TRUE(first.records > 3 && first.records < 60);
    /* Whatever of the next event has come is of no use. */
    open_as(&s, &second, "/v1/topics/t/stream?from=earliest", "text/event-stream", first.cursor);
    memcpy(second.next, first.next, sizeof(second.next));
    hang_up(&s, &first);
    drain(&s, &second);
    CU_ASSERT_TRUE(is_at_the_end(&s, &second));
    hang_up(&s, &second);
    teardown(&s);
}

static void limits_end_a_stream(void)
{
    struct setup s;
    struct client client;

    setup(&s);
    s.logs[0].end = 30;
    open_stream(&s, &client, "/v1/topics/t/stream?from=earliest&max_records=12");
    drain(&s, &client);
    CU_ASSERT_EQUAL(client.records, 12);
    CU_ASSERT_STRING_EQUAL(client.end, "{\"reason\":\"max_records\"}");
    CU_ASSERT_EQUAL(client.fake.ends, 1);
    CU_ASSERT_TRUE(client.fake.is_complete);
    char cursor[CURSOR_SIZE];
    memcpy(cursor, client.cursor, sizeof(cursor));
    fake_request_fini(&client.fake);
    open_as(&s, &client, "/v1/topics/t/stream?max_ms=2000", "text/event-stream", cursor);
    client.next[0] = 12;
    drain(&s, &client);
    CU_ASSERT_EQUAL(client.records, 18);
    CU_ASSERT_EQUAL(client.fake.ends, 0);
    world_advance(&s.world, 2500 * 1000);
    drain(&s, &client);
    CU_ASSERT_STRING_EQUAL(client.end, "{\"reason\":\"max_ms\"}");
    CU_ASSERT_EQUAL(client.fake.ends, 1);
    fake_request_fini(&client.fake);
    teardown(&s);
}

static void silence_is_filled_with_heartbeats(void)
{
    struct setup s;
    struct client client;

    setup(&s);
    open_stream(&s, &client, "/v1/topics/t/stream?heartbeat_ms=1000");
    drain(&s, &client);
    for (int i = 0; i < 20; i++) {
        world_advance(&s.world, 500 * 1000);
        settle(&s);
        drain(&s, &client);
    }
    CU_ASSERT_TRUE(client.beats >= 5 && client.beats <= 10);
    CU_ASSERT_TRUE(fake_answer_has(&client.fake, "\n\n:\n\n:\n\n"));
    hang_up(&s, &client);
    teardown(&s);
}

/* A resuming client must not read everything again because nothing matched. */
static void a_filter_moves_the_cursor_all_the_same(void)
{
    struct setup s;
    struct client client;

    setup(&s);
    s.logs[0].end = 99;
    open_stream(&s, &client, "/v1/topics/t/stream?from=earliest&filter=$.n%3C3&heartbeat_ms=1000");
    client.has_filter = true;
    drain(&s, &client);
    CU_ASSERT_EQUAL(client.records, 3);
    world_advance(&s.world, 1500 * 1000);
    drain(&s, &client);
    CU_ASSERT_EQUAL(client.beats, 1);
    char cursor[CURSOR_SIZE];
    memcpy(cursor, client.cursor, sizeof(cursor));
    hang_up(&s, &client);
    s.fetches = 0;
    open_as(&s, &client, "/v1/topics/t/stream?filter=$.n%3C3", "text/event-stream", cursor);
    client.has_filter = true;
    client.next[0] = 99;
    drain(&s, &client);
    CU_ASSERT_EQUAL(s.fetches, 0);
    s.logs[0].end = 103;
    settle(&s);
    drain(&s, &client);
    CU_ASSERT_EQUAL(client.records, 3);
    CU_ASSERT_TRUE(is_at_the_end(&s, &client));
    CU_ASSERT_EQUAL(s.gateway->streams.metrics.filtered.value, 97);
    hang_up(&s, &client);
    teardown(&s);
}

static void lines_have_cursors_where_a_burst_ends(void)
{
    struct setup s;
    struct client client;

    setup(&s);
    s.logs[0].end = 3;
    open_as(
        &s, &client, "/v1/topics/t/stream?from=earliest&max_records=4", "application/x-ndjson", NULL
    );
    CU_ASSERT_STRING_EQUAL(client.fake.content_type, "application/x-ndjson");
    fake_request_take(&client.fake, 0, 0);
    settle(&s);
    fake_request_take(&client.fake, 0, 0);
    s.logs[2].end = 1;
    settle(&s);
    fake_request_take(&client.fake, 0, 0);
    CU_ASSERT_EQUAL(client.fake.ends, 1);
    const char *line = client.fake.body;
    CU_ASSERT_EQUAL(strncmp(line, "{\"cursor\":\"A", 12), 0);
    CU_ASSERT_TRUE(fake_answer_has(
        &client.fake, "\"}\n{\"partition\":0,\"offset\":0,\"timestamp\":0,\"key\":\"k0\",\"value\":"
    ));
    CU_ASSERT_TRUE(fake_answer_has(&client.fake, "\"offset\":1,"));
    CU_ASSERT_PTR_NOT_NULL_FATAL(strstr(line, "\"offset\":2,"));
    const char *last = strstr(strstr(line, "\"offset\":2,"), "\"pad\":\"\"}");
    CU_ASSERT_PTR_NOT_NULL_FATAL(last);
    CU_ASSERT_EQUAL(strncmp(last + 9, ",\"cursor\":\"A", 12), 0);
    CU_ASSERT_TRUE(
        fake_answer_has(&client.fake, "{\"end\":{\"reason\":\"max_records\"},\"cursor\":\"A")
    );
    fake_request_fini(&client.fake);
    teardown(&s);
}

static void large_records_come_in_pieces(void)
{
    struct setup s;
    struct client client;

    setup(&s);
    s.value_pad = 100 * 1000;
    s.logs[0].end = 9;
    open_stream(&s, &client, "/v1/topics/t/stream?from=earliest");
    for (int i = 0; i < 2000 && client.records < 9; i++) {
        fake_request_take(&client.fake, 1500, 1);
        if (i % 100 == 0) {
            /* slow: what is held is given up in the middle of an event */
            world_advance(&s.world, 1300 * 1000);
        }
        settle(&s);
        look(&client);
    }
    CU_ASSERT_EQUAL(client.records, 9);
    CU_ASSERT_TRUE(is_at_the_end(&s, &client));
    CU_ASSERT_TRUE(s.gateway->streams.metrics.evicted.value > 0);
    hang_up(&s, &client);
    teardown(&s);
}

/* --- many clients ------------------------------------------------------------------------------*/

static void those_who_wait_share_a_read(void)
{
    struct setup s;
    static struct client clients[20];

    setup(&s);
    s.logs[0].end = 10;
    for (int i = 0; i < 20; i++) {
        open_stream(&s, &clients[i], "/v1/topics/t/stream");
        clients[i].next[0] = 10;
        drain(&s, &clients[i]);
    }
    CU_ASSERT_EQUAL(s.gateway->streams.metrics.flocks.value, 1);
    s.fetches = 0;
    s.logs[0].end = 15;
    settle(&s);
    for (int i = 0; i < 20; i++) {
        drain(&s, &clients[i]);
        CU_ASSERT_EQUAL(clients[i].records, 5);
    }
    CU_ASSERT_EQUAL(s.fetches, 1);
    CU_ASSERT_EQUAL(s.gateway->streams.metrics.records.value, 100);
    for (int i = 0; i < 20; i++) {
        hang_up(&s, &clients[i]);
    }
    teardown(&s);
}

static void who_has_caught_up_joins_the_others(void)
{
    struct setup s;
    struct client first;
    struct client second;

    setup(&s);
    s.logs[0].end = 100;
    s.logs[1].end = 300;
    open_stream(&s, &first, "/v1/topics/t/stream");
    drain(&s, &first);
    first.next[0] = 100;
    first.next[1] = 300;
    open_stream(&s, &second, "/v1/topics/t/stream?from=earliest");
    CU_ASSERT_EQUAL(s.gateway->streams.metrics.flocks.value, 2);
    drain(&s, &second);
    CU_ASSERT_TRUE(is_at_the_end(&s, &second));
    CU_ASSERT_EQUAL(s.gateway->streams.metrics.flocks.value, 1);
    s.fetches = 0;
    s.logs[2].end = 1;
    settle(&s);
    drain(&s, &first);
    drain(&s, &second);
    CU_ASSERT_EQUAL(s.fetches, 1);
    CU_ASSERT_TRUE(is_at_the_end(&s, &first));
    CU_ASSERT_TRUE(is_at_the_end(&s, &second));
    hang_up(&s, &first);
    hang_up(&s, &second);
    teardown(&s);
}

static void a_slow_client_holds_up_nobody(void)
{
    struct setup s;
    struct client slow;
    struct client fast;

    setup(&s);
    s.value_pad = 1000;
    open_stream(&s, &slow, "/v1/topics/t/stream");
    open_stream(&s, &fast, "/v1/topics/t/stream");
    drain(&s, &slow);
    drain(&s, &fast);
    s.logs[0].end = 70;
    settle(&s);
    fake_request_take(&slow.fake, 1024, 1); /* begins an event, and stops */
    for (int i = 0; i < 40; i++) {
        s.logs[0].end += 70;
        settle(&s);
        drain(&s, &fast);
        world_advance(&s.world, 100 * 1000);
    }
    CU_ASSERT_TRUE(is_at_the_end(&s, &fast));
    /* It holds nothing but, perhaps, the event that it has begun. */
    CU_ASSERT_TRUE(s.gateway->streams.metrics.evicted.value >= 1);
    CU_ASSERT_TRUE(s.world.budget.used.value < 200 * 1000);
    drain(&s, &slow);
    CU_ASSERT_TRUE(is_at_the_end(&s, &slow));
    CU_ASSERT_EQUAL(s.gateway->streams.metrics.flocks.value, 1);
    hang_up(&s, &slow);
    hang_up(&s, &fast);
    teardown(&s);
}

/* --- things change -----------------------------------------------------------------------------*/

static void a_deleted_topic_ends_its_streams(void)
{
    struct setup s;
    struct client client;
    char cursor[CURSOR_SIZE];

    setup(&s);
    open_stream(&s, &client, "/v1/topics/one/stream");
    drain(&s, &client);
    s.world.topics[1].deleted = true;
    world_publish(&s.world);
    settle(&s);
    drain(&s, &client);
    CU_ASSERT_PTR_NOT_NULL(strstr(client.end, "{\"error\":{\"code\":\"topic_deleted\""));
    CU_ASSERT_EQUAL(client.fake.ends, 1);
    memcpy(cursor, client.cursor, sizeof(cursor));
    fake_request_fini(&client.fake);
    CU_ASSERT_TRUE(refused(&s, "/v1/topics/one/stream", cursor, 404, "unknown_topic"));
    (void)world_add_topic(&s.world, "one", 1);
    world_publish(&s.world);
    settle(&s);
    CU_ASSERT_TRUE(refused(&s, "/v1/topics/one/stream", cursor, 410, "topic_recreated"));
    CU_ASSERT_TRUE(refused(&s, "/v1/topics/t/stream", cursor, 400, "other_topic"));
    teardown(&s);
}

static void records_that_are_gone_are_an_error_or_skipped(void)
{
    static const char *const policies[] = {"error", "earliest", "latest"};

    for (size_t i = 0; i < RIA_COUNT(policies); i++) {
        struct setup s;
        struct client client;
        char path[200];
        setup(&s);
        (void)snprintf(
            path,
            sizeof(path),
            "/v1/topics/t/stream?from=earliest&heartbeat_ms=1000&on_out_of_range=%s",
            policies[i]
        );
        open_stream(&s, &client, path);
        drain(&s, &client);
        s.is_silent = true;
        s.logs[0] = (struct log){20, 30};
        settle(&s);
        s.is_silent = false;
        settle(&s);
        drain(&s, &client);
        if (i == 0) {
            CU_ASSERT_PTR_NOT_NULL(strstr(client.end, "\"code\":\"offset_out_of_range\""));
            CU_ASSERT_PTR_NOT_NULL(
                strstr(client.end, "offset 0 is outside of partition 0: it has 20 to 30")
            );
            CU_ASSERT_EQUAL(client.fake.ends, 1);
            fake_request_fini(&client.fake);
        } else {
            CU_ASSERT_EQUAL(client.gaps, 1);
            CU_ASSERT_EQUAL(client.records, i == 1 ? 10 : 0);
            CU_ASSERT_TRUE(is_at_the_end(&s, &client));
            hang_up(&s, &client);
        }
        teardown(&s);
    }
}

static void a_leader_that_is_away_is_waited_for(void)
{
    struct setup s;
    struct client client;

    setup(&s);
    open_stream(&s, &client, "/v1/topics/t/stream?heartbeat_ms=5000");
    drain(&s, &client);
    s.logs[0].end = 4;
    s.is_silent = true;
    for (int i = 0; i < 100; i++) {
        world_advance(&s.world, 1000 * 1000);
        drain(&s, &client);
    }
    CU_ASSERT_EQUAL(client.records, 0);
    CU_ASSERT_TRUE(client.beats > 15);
    s.is_silent = false;
    world_advance(&s.world, 6 * 1000 * 1000);
    settle(&s);
    drain(&s, &client);
    CU_ASSERT_TRUE(is_at_the_end(&s, &client));
    hang_up(&s, &client);
    teardown(&s);
}

static void the_end_of_the_gateway_is_told(void)
{
    struct setup s;
    struct client client;

    setup(&s);
    open_stream(&s, &client, "/v1/topics/t/stream");
    drain(&s, &client);
    gateway_stop(s.gateway);
    settle(&s);
    drain(&s, &client);
    CU_ASSERT_STRING_EQUAL(client.end, "{\"reason\":\"shutting_down\"}");
    CU_ASSERT_EQUAL(client.fake.ends, 1);
    fake_request_fini(&client.fake);
    CU_ASSERT_TRUE(refused(&s, "/v1/topics/t/stream", NULL, 503, "shutting_down"));
    teardown(&s);
}

/* A browser would take the 503 for final, and never come back. */
static void a_gateway_that_has_just_started_lets_streams_wait(void)
{
    struct setup s;
    struct client client;
    const struct gateway_options options = {
        .coordinator = "tcp://c",
        .body_max = 4096,
        .request_timeout_ms = 30000,
        .streams_max = STREAMS_MAX,
    };

    s = (struct setup){.fetches = 0};
    world_init(&s.world, 3);
    s.world.coordinator_down = true;
    (void)world_add_topic(&s.world, "t", PARTITIONS);
    CU_ASSERT_EQUAL_FATAL(
        gateway_new(&s.world.env, &options, &s.world.budget, NULL, &s.gateway), RIA_OK
    );
    gateway_start(s.gateway);
    open_stream(&s, &client, "/v1/topics/t/stream");
    CU_ASSERT_EQUAL(client.fake.answers, 0);
    s.world.coordinator_down = false;
    world_advance(&s.world, 5 * 1000 * 1000);
    settle(&s);
    CU_ASSERT_EQUAL(client.fake.status, 200);
    hang_up(&s, &client);
    teardown(&s);
}

static void streams_may_outlive_the_gateway(void)
{
    struct setup s;
    struct client waiting;
    struct client reading;

    setup(&s);
    s.logs[0].end = 1000;
    open_stream(&s, &waiting, "/v1/topics/t/stream");
    drain(&s, &waiting);
    open_stream(&s, &reading, "/v1/topics/t/stream?from=earliest");
    fake_request_take(&reading.fake, 1024, 2);
    gateway_free(s.gateway);
    fake_request_take(&reading.fake, 1024, 1);
    CU_ASSERT_TRUE(reading.fake.is_aborted);
    fake_request_fini(&waiting.fake);
    fake_request_fini(&reading.fake);
    world_fini(&s.world);
    CU_ASSERT_EQUAL(s.world.budget.used.value, 0);
}

/* --- bad input ---------------------------------------------------------------------------------*/

static void bad_questions_are_refused(void)
{
    static const struct {
        const char *query;
        int status;
        const char *part;
    } cases[] = {
        {"from=never", 400, "\"field\":\"from\""},
        {"from=-5", 400, "\"field\":\"from\""},
        {"from=2026-13-01T00:00:00Z", 400, "\"field\":\"from\""},
        {"from=0:1,0:2", 400, "twice"},
        {"from=0:-1", 400, "\"field\":\"from\""},
        {"from=3:1", 400, "\"field\":\"from\""},
        {"from=0:1&partitions=0,1", 400, "must name each"},
        {"from=0:1&partitions=1", 400, "partitions= does not"},
        {"from=0:1", 400, "offset 1 is outside of partition 0: it has 0 to 0"},
        {"from=latest&after=x", 400, "cannot come together"},
        {"after=x", 400, "malformed_cursor"},
        {"after=AQGDaJLcAf_-AAAAAAAAAAAAAAAAAAACAAoBzgTa9kRp", 400, "damaged_cursor"},
        {"after=AQGDaJLcAf_-AAAAAAAAAAAAAAAAAAACAAoBzgTa9kRo", 400, "foreign_cursor"},
        {"partitions=", 400, "\"field\":\"partitions\""},
        {"partitions=0,0", 400, "\"field\":\"partitions\""},
        {"partitions=3", 400, "numbers from 0 to 2"},
        {"filter=x", 400, "\\\"x\\\" is wrong at character 1"},
        {"filter=key=a&filter=$.", 400, "\\\"$.\\\" is wrong at character 3"},
        {"heartbeat_ms=1", 400, "\"field\":\"heartbeat_ms\""},
        {"max_records=0", 400, "\"field\":\"max_records\""},
        {"on_out_of_range=x", 400, "error, earliest or latest"},
        {"offset=1", 400, "no query parameter offset"},
    };
    struct setup s;
    char path[200];

    setup(&s);
    for (size_t i = 0; i < RIA_COUNT(cases); i++) {
        (void)snprintf(path, sizeof(path), "/v1/topics/t/stream?%s", cases[i].query);
        CU_ASSERT_TRUE(refused(&s, path, NULL, cases[i].status, cases[i].part));
    }
    CU_ASSERT_TRUE(refused(&s, "/v1/topics/t/stream", "x", 400, "\"field\":\"Last-Event-ID\""));
    struct client client;
    open_as(&s, &client, "/v1/topics/t/stream", "text/html", NULL);
    CU_ASSERT_EQUAL(client.fake.status, 406);
    fake_request_fini(&client.fake);
    teardown(&s);
}

static void streams_past_the_limit_are_429(void)
{
    struct setup s;
    static struct client clients[STREAMS_MAX];
    struct client late;

    setup(&s);
    for (int i = 0; i < STREAMS_MAX; i++) {
        open_stream(&s, &clients[i], "/v1/topics/one/stream");
    }
    open_stream(&s, &late, "/v1/topics/one/stream");
    CU_ASSERT_EQUAL(late.fake.status, 429);
    CU_ASSERT_PTR_NOT_NULL(strstr(late.fake.fields, "Retry-After: 5"));
    fake_request_fini(&late.fake);
    hang_up(&s, &clients[0]);
    open_stream(&s, &late, "/v1/topics/one/stream");
    CU_ASSERT_EQUAL(late.fake.status, 200);
    hang_up(&s, &late);
    for (int i = 1; i < STREAMS_MAX; i++) {
        hang_up(&s, &clients[i]);
    }
    teardown(&s);
}

static void times_are_read(void)
{
    int64_t ms = 0;

    CU_ASSERT_TRUE(stream_query_time(RIA_SLICE_LITERAL("2026-11-28T15:00:00Z"), &ms));
    CU_ASSERT_EQUAL(ms, INT64_C(1795878000000));
    CU_ASSERT_TRUE(stream_query_time(RIA_SLICE_LITERAL("2026-11-28T15:00:00.25-01:30"), &ms));
    CU_ASSERT_EQUAL(ms, INT64_C(1795878000250) + 90 * 60000);
    CU_ASSERT_FALSE(stream_query_time(RIA_SLICE_LITERAL("2026-11-28T15:00:00"), &ms));
    CU_ASSERT_FALSE(stream_query_time(RIA_SLICE_LITERAL("2026-11-28T15:00:00Zx"), &ms));
    CU_ASSERT_FALSE(stream_query_time(RIA_SLICE_LITERAL("2026-11-28"), &ms));
    CU_ASSERT_FALSE(stream_query_time(RIA_SLICE_LITERAL("2026-11--8T15:00:00Z"), &ms));
    CU_ASSERT_FALSE(stream_query_time(RIA_SLICE_NULL, &ms));
}

/* --- anything ----------------------------------------------------------------------------------*/

static void reopen(struct setup *s, struct client *client)
{
    int64_t next[PARTITIONS];
    char cursor[CURSOR_SIZE];
    bool has_filter = client->has_filter;
    bool is_wrong = client->is_wrong;

    memcpy(next, client->next, sizeof(next));
    memcpy(cursor, client->cursor, sizeof(cursor));
    hang_up(s, client);
    open_as(
        s,
        client,
        has_filter ? "/v1/topics/t/stream?from=earliest&filter=$.n%3C3"
                   : "/v1/topics/t/stream?from=earliest",
        "text/event-stream",
        cursor[0] == '\0' ? NULL : cursor
    );
    memcpy(client->next, next, sizeof(next));
    memcpy(client->cursor, cursor, sizeof(cursor));
    client->has_filter = has_filter;
    client->is_wrong = is_wrong;
}

/* Clients that are fast, slow, stuck and come back, records that come in any order: everybody gets
 * everything once, in order. */
static void any_mixture_gives_each_client_each_record_once(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct setup s;
        static struct client clients[8];
        struct ria_rand rand;
        setup(&s);
        ria_rand_init(&rand, seed);
        s.value_pad = seed % 3 == 0 ? 1000 : 10;
        memset(clients, 0, sizeof(clients));
        for (int i = 0; i < 8; i++) {
            clients[i].has_filter = i >= 6;
            fake_request_init(&clients[i].fake, "GET", "/", NULL);
            reopen(&s, &clients[i]);
        }
        for (int step = 0; step < 300; step++) {
            struct client *client = &clients[ria_rand_below(&rand, 8)];
            uint64_t what = ria_rand_below(&rand, 100);
            if (what < 30) {
                s.logs[ria_rand_below(&rand, PARTITIONS)].end += (int64_t)ria_rand_below(&rand, 40);
            } else if (what < 80) {
                fake_request_take(
                    &client->fake,
                    1024 + ria_rand_below(&rand, 8192),
                    (uint32_t)ria_rand_below(&rand, 4)
                );
                look(client);
            } else if (what < 84) {
                world_advance(&s.world, (int64_t)ria_rand_below(&rand, 2000) * 1000);
            } else if (what < 87) {
                reopen(&s, client);
            } else if (what < 92) {
                (void)serve(&s);
                world_run(&s.world);
            } else {
                settle(&s);
            }
        }
        for (int round = 0; round < 3; round++) {
            for (int i = 0; i < 8; i++) {
                settle(&s);
                drain(&s, &clients[i]);
            }
        }
        for (int i = 0; i < 8; i++) {
            CU_ASSERT_TRUE(is_at_the_end(&s, &clients[i]));
        }
        /* One for each filter. */
        CU_ASSERT_EQUAL(s.gateway->streams.metrics.flocks.value, 2);
        for (int i = 0; i < 8; i++) {
            hang_up(&s, &clients[i]);
        }
        CU_ASSERT_EQUAL(s.gateway->streams.classes.count, 0);
        teardown(&s);
    }
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_stream_begins_with_its_place_and_sends_what_comes),
    HARNESS_TEST(every_beginning_is_understood),
    HARNESS_TEST(a_cursor_continues_without_gap_or_repeat),
    HARNESS_TEST(limits_end_a_stream),
    HARNESS_TEST(silence_is_filled_with_heartbeats),
    HARNESS_TEST(a_filter_moves_the_cursor_all_the_same),
    HARNESS_TEST(lines_have_cursors_where_a_burst_ends),
    HARNESS_TEST(large_records_come_in_pieces),
    HARNESS_TEST(those_who_wait_share_a_read),
    HARNESS_TEST(who_has_caught_up_joins_the_others),
    HARNESS_TEST(a_slow_client_holds_up_nobody),
    HARNESS_TEST(a_deleted_topic_ends_its_streams),
    HARNESS_TEST(records_that_are_gone_are_an_error_or_skipped),
    HARNESS_TEST(a_leader_that_is_away_is_waited_for),
    HARNESS_TEST(the_end_of_the_gateway_is_told),
    HARNESS_TEST(a_gateway_that_has_just_started_lets_streams_wait),
    HARNESS_TEST(streams_may_outlive_the_gateway),
    HARNESS_TEST(bad_questions_are_refused),
    HARNESS_TEST(streams_past_the_limit_are_429),
    HARNESS_TEST(times_are_read),
    HARNESS_TEST(any_mixture_gives_each_client_each_record_once),
};
HARNESS_MAIN(tests);

#include "tests/unit/services/gateway/stream_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

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

void stream_world_init(struct stream_world *s)
{
    const struct gateway_options options = {
        .coordinator = "tcp://c",
        .body_max = 4096,
        .request_timeout_ms = 30000,
        .streams_max = STREAMS_MAX,
    };

    *s = (struct stream_world){.fetches = 0};
    world_init(&s->world, 3);
    (void)world_add_topic(&s->world, "t", PARTITIONS);
    (void)world_add_topic(&s->world, "one", 1);
    CU_ASSERT_EQUAL_FATAL(
        gateway_new(&s->world.env, &options, &s->world.budget, NULL, &s->gateway), RIA_OK
    );
    gateway_start(s->gateway);
    world_run(&s->world);
}

void stream_world_fini(struct stream_world *s)
{
    gateway_free(s->gateway);
    world_fini(&s->world);
    CU_ASSERT_EQUAL(s->world.budget.used.value, 0);
}

/* --- storage -----------------------------------------------------------------------------------*/

static void
build_batch(struct stream_world *s, int32_t partition, int64_t offset, struct ria_buf *out)
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

static void serve_fetch(struct stream_world *s, struct world_call *call)
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

static void serve_offsets(struct stream_world *s, struct world_call *call)
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
static bool serve_watch(struct stream_world *s, struct world_call *call)
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

bool stream_world_serve(struct stream_world *s)
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

void stream_world_settle(struct stream_world *s)
{
    for (int quiet = 0; quiet < 3; quiet++) {
        world_advance(&s->world, 600);
        if (stream_world_serve(s)) {
            quiet = 0;
        }
    }
}

/* --- clients -----------------------------------------------------------------------------------*/

static void ask(struct stream_world *s, struct stream_client *client)
{
    size_t body_max = 0;

    client->fake.request.received_us = s->world.now_us;
    gateway_begin(s->gateway, &client->fake.request, &body_max);
    if (client->fake.answers == 0) {
        gateway_handle(s->gateway, &client->fake.request);
    }
    stream_world_settle(s);
}

void stream_client_open_as(
    struct stream_world *s,
    struct stream_client *client,
    const char *path,
    const char *type,
    const char *last_id
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

void stream_client_open(struct stream_world *s, struct stream_client *client, const char *path)
{
    stream_client_open_as(s, client, path, "text/event-stream", NULL);
}

void stream_client_hang_up(struct stream_world *s, struct stream_client *client)
{
    fake_request_hang_up(&client->fake);
    fake_request_fini(&client->fake);
    stream_world_settle(s);
}

static int64_t number_behind(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at == NULL ? -1 : strtoll(at + strlen(name), NULL, 10);
}

/* What the client expects to be next of a partition. */
static int64_t expected(const struct stream_client *client, int32_t partition)
{
    int64_t offset = client->next[partition];

    while (client->has_filter && offset % 100 >= 3) {
        offset++;
    }
    return offset;
}

static void take_record(struct stream_client *client, const char *data)
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

static void take_event(struct stream_client *client, char *text)
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

/* Not by strstr: under the sanitizer that measures all of the rest, at each call. */
static char *end_of_event(char *at)
{
    while ((at = strchr(at, '\n')) != NULL && at[1] != '\n') {
        at++;
    }
    return at;
}

void stream_client_look(struct stream_client *client)
{
    char *body = client->fake.body;

    while (body != NULL) {
        char *begin = body + client->read;
        char *end = end_of_event(begin);
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

void stream_client_drain(struct stream_world *s, struct stream_client *client)
{
    bool may_rest = true; /* it was served just now, and is left alone for a moment */

    for (int i = 0; i < 1000 && client->fake.pull != NULL && (client->fake.wants || may_rest);
         i++) {
        if (client->fake.wants) {
            fake_request_take(&client->fake, 0, 0);
            may_rest = true;
        } else {
            world_advance(&s->world, 10 * 1000);
            may_rest = false;
        }
        stream_world_settle(s);
    }
    stream_client_look(client);
}

bool stream_client_is_done(const struct stream_world *s, const struct stream_client *client)
{
    for (int32_t p = 0; p < PARTITIONS; p++) {
        if (expected(client, p) < s->logs[p].end) {
            return false;
        }
    }
    return !client->is_wrong;
}

bool stream_world_refuses(
    struct stream_world *s, const char *path, const char *last_id, int status, const char *part
)
{
    struct stream_client client;

    stream_client_open_as(s, &client, path, "text/event-stream", last_id);
    bool same = client.fake.status == status && fake_answer_has(&client.fake, part) &&
                client.fake.pull == NULL;
    if (!same) {
        (void)printf("[%d %.300s]", client.fake.status, client.fake.body);
    }
    fake_request_fini(&client.fake);
    return same && s->gateway->streams.metrics.open.value == 0;
}

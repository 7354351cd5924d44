/* GET and POST /v1/groups/{group}/records: consume as one of a group.
 *
 * The answer's cursor says what was handed out and under which leases; the next call commits it
 * (after=). An answer that did not reach the socket as a whole is not handed out: its leases are
 * given back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"

#include "schemas/batch.h"

#include "services/gateway/admin.h"
#include "services/gateway/cursor.h"
#include "services/gateway/gateway.h"
#include "services/gateway/group_fetch.h"
#include "services/gateway/group_query.h"
#include "services/gateway/render.h"

enum {
    READ_BYTES_DEFAULT = 1024 * 1024,
    READ_TEXT_MAX = 16 * 1024 * 1024,   /* no further record is rendered past it */
    READ_TEXT_HARD = 128 * 1024 * 1024, /* with the last record, in the longest encoding */
    LOST_HEADER_MAX = 1024,
};

struct group_reader {
    struct gateway *gateway;
    struct request *request;
    const char *type;
    struct group_fetch fetch;
};

/* --- the cursor --------------------------------------------------------------------------------*/

static int by_topic_and_number(const void *left, const void *right)
{
    const struct group_held *a = *(const struct group_held *const *)left;
    const struct group_held *b = *(const struct group_held *const *)right;
    int order = memcmp(&a->partition->topic->id, &b->partition->topic->id, sizeof(struct ria_uuid));

    return order != 0 ? order : a->partition->number - b->partition->number;
}

/* Of what was handed out: next > offset. NULL: no memory. */
static const char *make_cursor(struct group_reader *reader)
{
    const struct group_held *sorted[GROUP_PARTITIONS_MAX];
    struct cursor_topic topics[GROUP_PARTITIONS_MAX];
    struct cursor_entry entries[GROUP_PARTITIONS_MAX];
    struct cursor cursor = {
        .kind = CURSOR_GROUP,
        .group = cursor_group_hash(reader->fetch.group),
        .topics = topics,
    };
    struct ria_uuid id = cluster_id(reader->gateway->cluster);
    char *text = ria_arena_alloc(&reader->request->arena, CURSOR_TEXT_MAX + 1);
    size_t count = 0;
    size_t size = 0;

    for (uint32_t i = 0; i < reader->fetch.held_count; i++) {
        const struct group_held *held = &reader->fetch.held[i];
        if (held->next > held->offset) {
            sorted[count++] = held;
        }
    }
    if (count > 1) {
        qsort(sorted, count, sizeof(*sorted), by_topic_and_number);
    }
    for (size_t i = 0; i < count; i++) {
        const struct cluster_partition *partition = sorted[i]->partition;
        entries[i] = (struct cursor_entry){partition->number, sorted[i]->next, sorted[i]->lease};
        if (i == 0 || sorted[i - 1]->partition->topic != partition->topic) {
            topics[cursor.topic_count++] =
                (struct cursor_topic){.id = partition->topic->id, .entries = &entries[i]};
        }
        topics[cursor.topic_count - 1].count++;
    }
    if (text == NULL || cursor_encode(&cursor, &id, text, &size) != RIA_OK) {
        return NULL;
    }
    return text;
}
_Static_assert((int)GROUP_PARTITIONS_MAX <= (int)CURSOR_FITS_GROUP, "every answer has a cursor");
_Static_assert((int)GROUP_PARTITIONS_MAX <= (int)CURSOR_TOPICS_MAX, "each may be of another topic");

/* --- answering ---------------------------------------------------------------------------------*/

static const char *topic_name(const struct group_reader *reader, const struct ria_uuid *id)
{
    const struct cluster_topic *topic = cluster_topic_by_id(reader->gateway->cluster, id);

    return topic == NULL ? "" : topic->name;
}

/* "a/0,b/7": commits that count no more, for answers that have no place for it in their body. As
 * many as fit into LOST_HEADER_MAX; how many there are is said, too. */
static void add_lost_header(struct group_reader *reader)
{
    const struct group_fetch *fetch = &reader->fetch;
    struct ria_buf out;
    ria_err err = RIA_OK;

    if (fetch->lost_count == 0) {
        return;
    }
    ria_buf_init(&out, LOST_HEADER_MAX);
    for (uint32_t i = 0; err == RIA_OK && i < fetch->lost_count; i++) {
        err = ria_buf_printf(
            &out,
            "%s%s/%d",
            i > 0 ? "," : "",
            topic_name(reader, &fetch->lost[i].topic_id),
            (int)fetch->lost[i].partition
        );
    }
    const char *text = ria_arena_strdup(&reader->request->arena, ria_buf_slice(&out));
    ria_buf_fini(&out);
    if (text != NULL) {
        request_add_header(reader->request, "Riacho-Lost", text);
    }
    request_add_header_i64(reader->request, "Riacho-Lost-Count", fetch->lost_count);
}

/* What the client did not get as a whole is free for others at once. */
static void ended(void *arg, bool complete)
{
    struct group_reader *reader = arg;

    if (complete) {
        return;
    }
    for (uint32_t i = 0; i < reader->fetch.held_count; i++) {
        reader->fetch.held[i].next = reader->fetch.held[i].offset;
    }
    group_fetch_release(&reader->fetch);
}

static void hung_up(void *arg)
{
    struct group_reader *reader = arg;

    group_fetch_hang_up(&reader->fetch);
}

/* Nothing is handed out. */
static void fail(struct group_reader *reader, ria_err err)
{
    for (uint32_t i = 0; i < reader->fetch.held_count; i++) {
        reader->fetch.held[i].next = reader->fetch.held[i].offset;
    }
    group_fetch_release(&reader->fetch);
    reader->fetch.held_count = 0;
    request_fail_err(reader->request, err, "");
}

/* Those that are not handed out go from the list, their leases back. */
static void keep_handed_out(struct group_fetch *fetch)
{
    uint32_t kept = 0;

    group_fetch_release(fetch);
    for (uint32_t i = 0; i < fetch->held_count; i++) {
        if (fetch->held[i].next > fetch->held[i].offset) {
            fetch->held[kept++] = fetch->held[i];
        }
    }
    fetch->held_count = kept;
    fetch->reading.count = kept;
}

static ria_err render_lead(const struct group_held *held, struct ria_buf *lead)
{
    ria_buf_clear(lead);
    RIA_TRY(ria_buf_append_str(lead, "\"topic\":"));
    RIA_TRY(ria_json_append_string(lead, ria_slice_cstr(held->partition->topic->name)));
    RIA_TRY(ria_buf_printf(lead, ",\"partition\":%d,", (int)held->partition->number));
    return ria_buf_append(lead, "", 1);
}

/* Records of all that were read, as far as the limits allow; sets held->next. */
static ria_err
render_records(struct group_reader *reader, render_format format, struct ria_buf *out)
{
    struct group_fetch *fetch = &reader->fetch;
    int64_t records = 0;
    size_t bytes = 0;
    struct ria_buf lead;
    ria_err err = RIA_OK;

    ria_buf_init(&lead, 1024);
    for (uint32_t i = 0; err == RIA_OK && i < fetch->held_count; i++) {
        struct group_held *held = &fetch->held[i];
        struct render_range range = {
            .offset = held->offset,
            .records_max = reader->fetch.records_max == 0
                               ? 0
                               : (uint32_t)(reader->fetch.records_max - records),
            .size_max = READ_TEXT_MAX,
        };
        bool is_full = bytes >= (size_t)fetch->bytes_max || out->size >= READ_TEXT_MAX ||
                       (reader->fetch.records_max > 0 && records >= reader->fetch.records_max);
        if (held->msg == NULL || is_full) {
            continue;
        }
        err = render_lead(held, &lead);
        if (err == RIA_OK && format == RENDER_ARRAY && records > 0) {
            err = ria_buf_append(out, ",", 1);
        }
        if (err == RIA_OK) {
            range.lead = (const char *)lead.data;
            err = render_batches(held->batches, format, &range, out);
            held->next = range.next_offset;
            records += range.count;
            bytes += held->batches.size;
        }
    }
    ria_buf_fini(&lead);
    return err;
}

static ria_err render_partitions(const struct group_fetch *fetch, struct ria_buf *out)
{
    bool any = false;

    for (uint32_t i = 0; i < fetch->held_count; i++) {
        const struct group_held *held = &fetch->held[i];
        if (held->next <= held->offset) {
            continue;
        }
        RIA_TRY(ria_buf_append_str(out, any ? ",{\"topic\":" : "{\"topic\":"));
        RIA_TRY(ria_json_append_string(out, ria_slice_cstr(held->partition->topic->name)));
        RIA_TRY(ria_buf_printf(
            out,
            ",\"partition\":%d,\"offset\":%lld,\"next_offset\":%lld,\"high_watermark\":",
            (int)held->partition->number,
            (long long)held->offset,
            (long long)held->next
        ));
        RIA_TRY(admin_render_known(held->high_watermark, out));
        RIA_TRY(ria_buf_printf(
            out,
            ",\"log_start_offset\":%lld,\"lease_ms\":%lld}",
            (long long)held->log_start,
            (long long)held->left_ms
        ));
        any = true;
    }
    return RIA_OK;
}

static ria_err render_lost(const struct group_reader *reader, struct ria_buf *out)
{
    for (uint32_t i = 0; i < reader->fetch.lost_count; i++) {
        const group_lost *lost = &reader->fetch.lost[i];
        RIA_TRY(ria_buf_append_str(out, i > 0 ? ",{" : "{"));
        RIA_TRY(group_input_render_lost(reader->gateway->cluster, &lost->topic_id, out));
        RIA_TRY(ria_buf_printf(out, ",\"partition\":%d,\"position\":", (int)lost->partition));
        RIA_TRY(admin_render_known(lost->position, out));
        RIA_TRY(ria_buf_append_str(out, "}"));
    }
    return RIA_OK;
}

static ria_err
render_json(struct group_reader *reader, struct ria_buf *out, const char **out_cursor)
{
    RIA_TRY(ria_buf_append_str(out, "{\"records\":["));
    RIA_TRY(render_records(reader, RENDER_ARRAY, out));
    RIA_TRY(ria_buf_append_str(out, "],\"partitions\":["));
    RIA_TRY(render_partitions(&reader->fetch, out));
    RIA_TRY(ria_buf_append_str(out, "],\"lost\":["));
    RIA_TRY(render_lost(reader, out));
    *out_cursor = make_cursor(reader);
    return *out_cursor == NULL ? RIA_ERR_NOMEM
                               : ria_buf_printf(out, "],\"cursor\":\"%s\"}\n", *out_cursor);
}

static void respond(struct group_reader *reader, struct response *response, const char *cursor)
{
    response->status = 200;
    response->content_type = reader->type;
    request_add_header(reader->request, "Riacho-Cursor", cursor);
    request_respond(reader->request, response);
}

static void respond_text(struct group_reader *reader)
{
    struct budget *budget = reader->gateway->budget;
    struct response response = {0};
    const char *cursor = NULL;
    uint8_t *text = NULL;
    size_t size = 0;
    struct ria_buf out;

    ria_buf_init(&out, READ_TEXT_HARD);
    ria_err err = ria_buf_reserve(&out, reader->fetch.reading.charged * 3 / 2 + 512);
    if (err == RIA_OK && strcmp(reader->type, TYPE_JSON) == 0) {
        err = render_json(reader, &out, &cursor);
    } else if (err == RIA_OK) {
        err = render_records(reader, RENDER_LINES, &out);
        cursor = make_cursor(reader);
        add_lost_header(reader);
    }
    if (err != RIA_OK || cursor == NULL) {
        ria_buf_fini(&out);
        fail(reader, err == RIA_ERR_MALFORMED ? RIA_ERR_CORRUPT : RIA_ERR_NOMEM);
        return;
    }
    keep_handed_out(&reader->fetch);
    ria_buf_take(&out, &text, &size);
    gate_resize(budget, 0, size);
    if (gate_fill_response(&response, budget, NULL, text, ria_slice_of(text, size))) {
        respond(reader, &response, cursor);
    } else {
        fail(reader, RIA_ERR_NOMEM);
    }
}

/* Offset behind the last whole batch. */
static int64_t end_of(struct ria_slice batches, int64_t fallback)
{
    struct batch_header header;
    int64_t end = fallback;

    while (batch_header_decode(batches, &header) == RIA_OK && batch_size(&header) <= batches.size) {
        end = batch_last_offset(&header) + 1;
        batches = ria_slice_sub(batches, batch_size(&header), batches.size);
    }
    return end;
}

static void add_partition_headers(struct request *request, const struct group_held *held)
{
    request_add_header(request, "Riacho-Topic", held->partition->topic->name);
    request_add_header_i64(request, "Riacho-Partition", held->partition->number);
    request_add_header_i64(request, "Riacho-Offset", held->offset);
    request_add_header_i64(request, "Riacho-Next-Offset", held->next);
    if (held->high_watermark >= 0) {
        request_add_header_i64(request, "Riacho-High-Watermark", held->high_watermark);
    }
    request_add_header_i64(request, "Riacho-Log-Start-Offset", held->log_start);
}

/* One partition's batches, as they came. */
static void respond_batches(struct group_reader *reader)
{
    struct group_fetch *fetch = &reader->fetch;
    struct group_held *held = fetch->held_count == 0 ? NULL : &fetch->held[0];
    struct response response = {.data = (const uint8_t *)""};

    if (held != NULL) {
        held->next = end_of(held->batches, held->offset);
    }
    const char *cursor = make_cursor(reader);
    if (cursor == NULL) {
        fail(reader, RIA_ERR_NOMEM);
        return;
    }
    add_lost_header(reader);
    if (held != NULL) {
        struct ria_slice batches = held->batches;
        struct ria_msg *msg = RIA_STEAL(&held->msg);
        fetch->reading.charged = 0; /* the answer's from here on */
        add_partition_headers(reader->request, held);
        if (!gate_fill_response(&response, reader->gateway->budget, msg, NULL, batches)) {
            fail(reader, RIA_ERR_NOMEM);
            return;
        }
    }
    respond(reader, &response, cursor);
}

static void fetched(struct group_fetch *fetch, const struct failure *failure)
{
    struct group_reader *reader = fetch->arg;
    struct gateway *gateway = reader->gateway;

    if (failure != NULL) {
        request_fail(reader->request, failure);
        return;
    }
    if (fetch->held_count > 0) {
        gateway->numbers.fetches.value += fetch->held_count;
        gateway->numbers.fetched_bytes.value += fetch->reading.charged;
    }
    if (strcmp(reader->type, TYPE_BATCHES) == 0) {
        respond_batches(reader);
    } else {
        respond_text(reader);
    }
}

/* --- the request -------------------------------------------------------------------------------*/

static bool take_type(struct group_reader *reader)
{
    reader->type = gateway_record_type(reader->request);
    return reader->type != NULL;
}

static bool take_numbers(struct group_input *input, struct group_reader *reader)
{
    struct group_fetch *fetch = &reader->fetch;
    int64_t wait_ms = 0;
    int64_t partitions = 0;
    int64_t lease_ms = 0;
    int64_t session_ms = 0;

    if (!group_input_i64(input, "wait_ms", 0, GATEWAY_WAIT_MS_MAX, 0, &wait_ms) ||
        !group_input_i64(input, "max_records", 1, INT32_MAX, 0, &reader->fetch.records_max) ||
        !group_input_i64(
            input, "max_bytes", 1, RIA_FETCH_SIZE_MAX, READ_BYTES_DEFAULT, &fetch->bytes_max
        ) ||
        !group_input_i64(
            input, "max_partitions", 1, GROUP_PARTITIONS_MAX, GROUP_PARTITIONS_DEFAULT, &partitions
        ) ||
        !group_input_i64(
            input,
            "lease_ms",
            GROUP_LEASE_MS_MIN,
            GROUP_LEASE_MS_MAX,
            GROUP_LEASE_MS_DEFAULT,
            &lease_ms
        ) ||
        !group_input_i64(
            input,
            "session_ms",
            GROUP_LEASE_MS_MIN,
            GROUP_LEASE_MS_MAX,
            GROUP_SESSION_MS_DEFAULT,
            &session_ms
        )) {
        return false;
    }
    fetch->partitions_max = strcmp(reader->type, TYPE_BATCHES) == 0 ? 1 : (int32_t)partitions;
    fetch->lease_ms = (int32_t)lease_ms;
    fetch->session_ms = (int32_t)session_ms;
    fetch->wait_until_us = wait_ms > 0 ? input->request->received_us + wait_ms * 1000 : 0;
    return true;
}

void handle_group_records(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {
        "topics",
        "member",
        "after",
        "from",
        "wait_ms",
        "max_records",
        "max_bytes",
        "max_partitions",
        "lease_ms",
        "session_ms",
        "on_out_of_range",
        NULL,
    };
    struct group_reader *reader = ria_arena_alloc(&request->arena, sizeof(*reader));
    struct group_input input;

    if (reader == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    reader->gateway = gateway;
    reader->request = request;
    reader->fetch.gateway = gateway;
    reader->fetch.arena = &request->arena;
    reader->fetch.member_epoch = -1;
    reader->fetch.done = fetched;
    reader->fetch.arg = reader;
    if (group_query_is_head(request, "GET, POST") || !take_type(reader) ||
        !group_input_open(&input, gateway, request, known)) {
        return;
    }
    bool fine = group_query_names(&input, &reader->fetch) && take_numbers(&input, reader) &&
                group_query_policies(&input, &reader->fetch) &&
                group_query_commits(&input, "after", RIA_SLICE_NULL, &reader->fetch);
    group_input_close(&input);
    if (!fine) {
        return;
    }
    request_on_end(request, ended, reader);
    request_on_hangup(request, hung_up, reader);
    ria_err err = group_fetch_start(&reader->fetch);
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}

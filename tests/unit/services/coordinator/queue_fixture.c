#include "tests/unit/services/coordinator/queue_fixture.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/gen/queue_ack.h"
#include "schemas/gen/queue_receive.h"
#include "schemas/gen/queue_settle.h"

#include "services/coordinator/group_row.h"
#include "tests/lib/harness.h"

enum { ARENA_SIZE_MAX = 16 * 1024 * 1024, LINE_SIZE = 4096, KEYS_MAX = 1000 };

void queue_world_open(struct queue_world *w, int32_t partitions)
{
    struct create_topic_request topic = fixture_topic(QUEUE_TOPIC, "jobs", partitions, 1);

    RIA_ASSERT(partitions <= QUEUE_PARTITIONS_MAX);
    memset(w, 0, sizeof(*w));
    fixture_machine_open(&w->m);
    fixture_nodes(&w->m, 1, NULL);
    CU_ASSERT_EQUAL_FATAL(fixture_apply(&w->m, API_CREATE_TOPIC, &topic), RIA_OK);
    w->m.lease_ms = 1000;
    ria_arena_init(&w->arena, ARENA_SIZE_MAX);
    w->group = "q";
    w->partitions = partitions;
    w->consumer = "";
    w->lock_ms = -1;
}

void queue_world_close(struct queue_world *w)
{
    ria_arena_fini(&w->arena);
    fixture_machine_close(&w->m);
}

/* ---- rows ---- */

static int64_t group_id(struct queue_world *w)
{
    struct group_row group = {.id = -1};

    ria_err err = group_row_read(w->m.db, ria_slice_cstr(w->group), &w->arena, &group);
    return err == RIA_OK ? group.id : -1;
}

static void check_ranges(struct queue_world *w)
{
    struct queue_row row;
    struct ria_uuid topic = fixture_uuid(QUEUE_TOPIC);
    int64_t id = group_id(w);

    for (int32_t i = 0; i < w->partitions && !w->unchecked; i++) {
        if (!queue_row_read(w->m.db, id, &topic, i, &row)) {
            continue;
        }
        const char *wrong = range_rows_check(&row);
        if (wrong != NULL) {
            (void)printf("[partition %d: %s]", (int)i, wrong);
        }
        CU_ASSERT_PTR_NULL(wrong);
    }
}

struct queue_row queue_world_row(struct queue_world *w, int32_t partition)
{
    struct queue_row row;
    struct ria_uuid topic = fixture_uuid(QUEUE_TOPIC);

    CU_ASSERT_TRUE_FATAL(queue_row_read(w->m.db, group_id(w), &topic, partition, &row));
    return row;
}

struct range_row queue_world_range(struct queue_world *w, int32_t partition, int64_t offset)
{
    struct queue_row queue = queue_world_row(w, partition);
    struct range_row row;

    CU_ASSERT_TRUE_FATAL(range_rows_at(&queue, offset, &row));
    return row;
}

/* ---- text ---- */

struct line {
    char text[LINE_SIZE];
    size_t size;
};

static void add(struct line *line, const char *fmt, ...) RIA_PRINTF(2, 3);
static void add(struct line *line, const char *fmt, ...)
{
    va_list args;

    if (line->size > 0 && line->size + 1 < sizeof(line->text)) {
        line->text[line->size++] = ' ';
    }
    va_start(args, fmt);
    int n = vsnprintf(line->text + line->size, sizeof(line->text) - line->size, fmt, args);
    va_end(args);
    line->size += n > 0 ? (size_t)n : 0;
    RIA_ASSERT(line->size < sizeof(line->text));
}

static bool is(const struct line *line, const char *wanted)
{
    if (strcmp(line->text, wanted) != 0) {
        (void)printf("[%s, not %s]", line->text, wanted);
        return false;
    }
    return true;
}

static bool draw(void *arg, const struct range_row *row)
{
    static const char letters[] = "?LWHDX";

    add(arg, "%c%d-%d", letters[row->state], (int)row->first, (int)row->last);
    return true;
}

bool queue_world_looks(struct queue_world *w, int32_t partition, const char *wanted)
{
    struct line line = {.size = 0};
    struct queue_row row = queue_world_row(w, partition);

    range_rows_visit(&row, 0, INT64_MAX, draw, &line);
    return is(&line, wanted);
}

bool queue_world_granted(struct queue_world *w, const char *wanted)
{
    struct line line = {.size = 0};

    for (uint32_t i = 0; i < w->received.granted_count; i++) {
        const struct queue_receive_result_queue_grant *grant = &w->received.granted[i];
        add(&line,
            "%d:%d-%d#%d%s",
            (int)grant->partition,
            (int)grant->first,
            (int)grant->last,
            (int)grant->deliveries,
            grant->unsettled ? "u" : "");
    }
    return is(&line, wanted);
}

bool queue_world_dead(struct queue_world *w, const char *wanted)
{
    struct line line = {.size = 0};

    for (uint32_t i = 0; i < w->received.dead_count; i++) {
        const struct queue_receive_result_queue_dead *dead = &w->received.dead[i];
        add(&line,
            "%d:%d-%d#%d",
            (int)dead->partition,
            (int)dead->first,
            (int)dead->last,
            (int)dead->deliveries);
    }
    return is(&line, wanted);
}

bool queue_world_offered(struct queue_world *w, const char *wanted)
{
    struct line line = {.size = 0};

    for (uint32_t i = 0; i < w->received.offered_count; i++) {
        const struct queue_receive_result_queue_offer *offer = &w->received.offered[i];
        add(&line, "%d@%d", (int)offer->partition, (int)offer->offset);
    }
    return is(&line, wanted);
}

int64_t queue_world_lease(const struct queue_world *w)
{
    if (w->received.granted_count > 0) {
        return w->received.granted[0].lease_id;
    }
    CU_ASSERT_TRUE_FATAL(w->received.dead_count > 0);
    return w->received.dead[0].lease_id;
}

/* ---- operations ---- */

ria_err queue_world_run(struct queue_world *w, int8_t kind, const void *body, void *result)
{
    ria_err err = fixture_group(&w->m, kind, body, result);

    ria_arena_reset(&w->arena);
    check_ranges(w);
    return err;
}

struct queue_open queue_world_settings(struct queue_world *w)
{
    struct queue_open settings;

    queue_open_init(&settings);
    settings.group = ria_slice_cstr(w->group);
    settings.retry_ms = NULL;
    settings.dead_topic = RIA_SLICE_NULL;
    return settings;
}

ria_err queue_world_set(struct queue_world *w, const struct queue_open *settings)
{
    return queue_world_run(w, GROUP_OPERATION_QUEUE_OPEN, settings, &w->opened);
}

ria_err queue_world_receive(struct queue_world *w, int32_t records_max)
{
    struct queue_receive_queue_start starts[QUEUE_PARTITIONS_MAX];
    struct queue_receive_queue_end ends[QUEUE_PARTITIONS_MAX];
    struct queue_receive request = {
        .group = ria_slice_cstr(w->group),
        .topic_id = fixture_uuid(QUEUE_TOPIC),
        .consumer = ria_slice_cstr(w->consumer),
        .lock_ms = w->lock_ms,
        .records_max = records_max,
        .dead_max = w->dead_max,
        .look_ahead = w->look_ahead,
        .starts = starts,
        .starts_count = (uint32_t)w->partitions,
        .ends = ends,
        .ends_count = (uint32_t)w->partitions,
        .read_id = w->read_id,
        .heard_below = w->heard_below,
    };

    for (int32_t i = 0; i < w->partitions; i++) {
        starts[i] = (struct queue_receive_queue_start){.partition = i, .offset = 0};
        ends[i] = (struct queue_receive_queue_end){.partition = i, .offset = w->ends[i]};
    }
    return queue_world_run(w, GROUP_OPERATION_QUEUE_RECEIVE, &request, &w->received);
}

ria_err queue_world_settle(
    struct queue_world *w,
    int32_t partition,
    int64_t lease_id,
    int64_t first,
    const char *keys,
    int64_t delay_ms
)
{
    struct queue_settle_queue_settle_entry entries[KEYS_MAX];
    struct queue_settle request = {
        .group = ria_slice_cstr(w->group),
        .topic_id = fixture_uuid(QUEUE_TOPIC),
        .entries = entries,
        .entries_count = (uint32_t)strlen(keys),
    };

    RIA_ASSERT(request.entries_count <= KEYS_MAX);
    for (uint32_t i = 0; i < request.entries_count; i++) {
        entries[i] = (struct queue_settle_queue_settle_entry){
            .partition = partition,
            .lease_id = lease_id,
            .offset = first + i,
            .has_key = keys[i] != '.',
            .key = keys[i],
            .delay_ms = delay_ms,
        };
    }
    return queue_world_run(w, GROUP_OPERATION_QUEUE_SETTLE, &request, &w->settled);
}

bool queue_world_settled(struct queue_world *w, const char *wanted)
{
    char text[KEYS_MAX + 1] = "";

    for (uint32_t i = 0; i < w->settled.entries_count; i++) {
        const struct queue_settle_result_queue_settled *settled = &w->settled.entries[i];
        text[i] = settled->hand_out                         ? 'h'
                  : settled->error_code == RIA_OK           ? '-'
                  : settled->error_code == RIA_ERR_CONFLICT ? 'c'
                  : settled->error_code == RIA_ERR_LIMIT    ? 'l'
                                                            : '?';
        CU_ASSERT_EQUAL(settled->error_text.size > 0, settled->error_code != RIA_OK);
    }
    if (strcmp(text, wanted) != 0) {
        (void)printf("[%s, not %s]", text, wanted);
        return false;
    }
    return true;
}

static ria_err act(struct queue_world *w, const struct queue_ack_queue_ack_entry *const_entry)
{
    struct queue_ack_queue_ack_entry entry = *const_entry;
    struct queue_ack request = {
        .group = ria_slice_cstr(w->group),
        .topic_id = fixture_uuid(QUEUE_TOPIC),
        .entries = &entry,
        .entries_count = 1,
    };
    ria_err err = queue_world_run(w, GROUP_OPERATION_QUEUE_ACK, &request, &w->acked);

    if (err != RIA_OK) {
        return err;
    }
    CU_ASSERT_EQUAL_FATAL(w->acked.entries_count, 1);
    (void)snprintf(
        w->m.text, sizeof(w->m.text), RIA_SLICE_FMT, RIA_SLICE_ARG(w->acked.entries[0].error_text)
    );
    return (ria_err)w->acked.entries[0].error_code;
}

ria_err queue_world_act(
    struct queue_world *w,
    int32_t partition,
    int64_t lease_id,
    int64_t first,
    int64_t last,
    int8_t action,
    int64_t delay_ms
)
{
    const struct queue_ack_queue_ack_entry entry = {
        .partition = partition,
        .lease_id = lease_id,
        .first = first,
        .last = last,
        .action = action,
        .delay_ms = delay_ms,
    };

    return act(w, &entry);
}

ria_err queue_world_reject(
    struct queue_world *w, int64_t lease_id, int64_t first, int64_t last, const char *reason
)
{
    const struct queue_ack_queue_ack_entry entry = {
        .partition = 0,
        .lease_id = lease_id,
        .first = first,
        .last = last,
        .action = QUEUE_REJECT,
        .delay_ms = -1,
        .reason = ria_slice_cstr(reason),
    };

    return act(w, &entry);
}

/* A partition's ranges: split, join, advance, find. */
#include "services/coordinator/range_rows.h"

#include <stdio.h>
#include <string.h>

#include "common/rand.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

enum { GROUP = 7, TOPIC = 50, PARTITION = 3, START = 100 };

struct world {
    struct fixture_machine machine;
    struct queue_row queue;
};

static void set_up(struct world *w)
{
    struct ria_uuid topic = fixture_uuid(TOPIC);

    fixture_machine_open(&w->machine);
    meta_begin(w->machine.db);
    ria_err err = queue_row_insert(w->machine.db, GROUP, &topic, PARTITION, START);
    CU_ASSERT_EQUAL_FATAL(err, RIA_OK);
    CU_ASSERT_TRUE_FATAL(queue_row_read(w->machine.db, GROUP, &topic, PARTITION, &w->queue));
}

static void check(struct world *w)
{
    const char *wrong = range_rows_check(&w->queue);

    if (wrong != NULL) {
        (void)printf("[%s]", wrong);
    }
    CU_ASSERT_PTR_NULL(wrong);
}

static void tear_down(struct world *w)
{
    check(w);
    meta_commit(w->machine.db);
    fixture_machine_close(&w->machine);
}

static struct range_row range(int64_t first, int64_t last, range_state state)
{
    struct range_row row = {.first = first, .last = last, .state = state};

    if (state == RANGE_LEASED) {
        row.lease_id = 1;
        row.deadline = 1000;
        row.ready_at = 1000;
        row.deliveries = 1;
    }
    return row;
}

static void append(struct world *w, int64_t count, range_state state)
{
    int64_t first = w->queue.frontier;
    struct range_row row = range(first, first + count - 1, state);

    CU_ASSERT_EQUAL(range_rows_append(&w->queue, &row), RIA_OK);
}

static void set(struct world *w, int64_t first, int64_t last, range_state state)
{
    struct range_row row = range(first, last, state);

    CU_ASSERT_EQUAL(range_rows_set(&w->queue, &row), RIA_OK);
    check(w);
}

struct drawing {
    char text[256];
    size_t size;
};

static bool draw(void *arg, const struct range_row *row)
{
    static const char letters[] = "?LWHDX";
    struct drawing *drawing = arg;
    int n = snprintf(
        drawing->text + drawing->size,
        sizeof(drawing->text) - drawing->size,
        "%s%c%d-%d",
        drawing->size == 0 ? "" : " ",
        letters[row->state],
        (int)row->first,
        (int)row->last
    );

    drawing->size += n > 0 ? (size_t)n : 0;
    return true;
}

/* L leased, W waiting, H held, D done, X dead. */
static bool looks(struct world *w, const char *wanted)
{
    struct drawing drawing = {.size = 0};

    range_rows_visit(&w->queue, 0, INT64_MAX, draw, &drawing);
    if (strcmp(drawing.text, wanted) != 0) {
        (void)printf("[%s, not %s]", drawing.text, wanted);
        return false;
    }
    return true;
}

static void a_range_done_as_a_whole_leaves_nothing(void)
{
    struct world w;

    set_up(&w);
    append(&w, 10, RANGE_LEASED);
    CU_ASSERT_EQUAL(w.queue.row_count, 1);
    set(&w, 100, 109, RANGE_DONE);
    CU_ASSERT_TRUE(looks(&w, ""));
    CU_ASSERT_EQUAL(w.queue.position, 110);
    CU_ASSERT_EQUAL(w.queue.row_count, 0);
    tear_down(&w);
}

static void the_middle_is_split_off(void)
{
    struct world w;

    set_up(&w);
    append(&w, 10, RANGE_LEASED);
    set(&w, 104, 105, RANGE_WAITING);
    CU_ASSERT_TRUE(looks(&w, "L100-103 W104-105 L106-109"));
    CU_ASSERT_EQUAL(w.queue.row_count, 3);
    set(&w, 104, 105, RANGE_LEASED);
    CU_ASSERT_TRUE(looks(&w, "L100-109"));
    CU_ASSERT_EQUAL(w.queue.row_count, 1);
    tear_down(&w);
}

static void done_neighbours_are_joined_on_both_sides(void)
{
    struct world w;

    set_up(&w);
    append(&w, 10, RANGE_LEASED);
    set(&w, 101, 103, RANGE_DONE);
    set(&w, 105, 109, RANGE_DONE);
    CU_ASSERT_TRUE(looks(&w, "L100-100 D101-103 L104-104 D105-109"));
    set(&w, 104, 104, RANGE_DONE);
    CU_ASSERT_TRUE(looks(&w, "L100-100 D101-109"));
    CU_ASSERT_EQUAL(w.queue.position, 100);
    set(&w, 100, 100, RANGE_DONE);
    CU_ASSERT_TRUE(looks(&w, ""));
    CU_ASSERT_EQUAL(w.queue.position, 110);
    tear_down(&w);
}

static void the_position_stops_at_what_is_not_done(void)
{
    struct world w;

    set_up(&w);
    append(&w, 5, RANGE_LEASED);
    append(&w, 5, RANGE_WAITING);
    set(&w, 102, 106, RANGE_DONE);
    CU_ASSERT_TRUE(looks(&w, "L100-101 D102-106 W107-109"));
    set(&w, 100, 101, RANGE_DONE);
    CU_ASSERT_TRUE(looks(&w, "W107-109"));
    CU_ASSERT_EQUAL(w.queue.position, 107);
    tear_down(&w);
}

static void many_rows_are_replaced_by_one(void)
{
    struct world w;

    set_up(&w);
    for (int64_t i = 0; i < 8; i++) {
        append(&w, 2, i % 2 == 0 ? RANGE_LEASED : RANGE_WAITING);
    }
    CU_ASSERT_EQUAL(w.queue.row_count, 8);
    set(&w, 103, 112, RANGE_DEAD);
    CU_ASSERT_TRUE(looks(&w, "L100-101 W102-102 X103-112 L113-113 W114-115"));
    CU_ASSERT_EQUAL(w.queue.row_count, 5);
    tear_down(&w);
}

static void what_differs_is_not_joined(void)
{
    struct world w;
    struct range_row a = range(1, 1, RANGE_LEASED);

    set_up(&w);
    struct range_row b = range(2, 2, RANGE_LEASED);
    CU_ASSERT_TRUE(range_rows_join(&a, &b));
    b.lease_id = 2;
    CU_ASSERT_FALSE(range_rows_join(&a, &b));
    b = range(2, 2, RANGE_LEASED);
    b.deadline++;
    CU_ASSERT_FALSE(range_rows_join(&a, &b));
    b = range(2, 2, RANGE_LEASED);
    b.ready_at++;
    CU_ASSERT_FALSE(range_rows_join(&a, &b));
    b = range(2, 2, RANGE_LEASED);
    b.deliveries++;
    CU_ASSERT_FALSE(range_rows_join(&a, &b));
    b = range(2, 2, RANGE_LEASED);
    range_text_set(&b.holder, RIA_SLICE_LITERAL("me"));
    CU_ASSERT_FALSE(range_rows_join(&a, &b));
    b = range(2, 2, RANGE_LEASED);
    range_text_set(&b.reason, RIA_SLICE_LITERAL("why"));
    CU_ASSERT_FALSE(range_rows_join(&a, &b));
    b = range(3, 3, RANGE_LEASED);
    CU_ASSERT_FALSE(range_rows_join(&a, &b));
    /* Records of one key are given out one by one. */
    b = range(2, 2, RANGE_LEASED);
    a.has_key = b.has_key = true;
    CU_ASSERT_FALSE(range_rows_join(&a, &b));
    a = range(1, 1, RANGE_HELD);
    b = range(2, 2, RANGE_HELD);
    a.has_key = b.has_key = true;
    CU_ASSERT_TRUE(range_rows_join(&a, &b));
    b.key = 5;
    CU_ASSERT_FALSE(range_rows_join(&a, &b));
    tear_down(&w);
}

static void the_row_of_an_offset_is_found(void)
{
    struct world w;
    struct range_row row;

    set_up(&w);
    append(&w, 5, RANGE_LEASED);
    append(&w, 5, RANGE_WAITING);
    CU_ASSERT_FALSE(range_rows_at(&w.queue, 99, &row));
    CU_ASSERT_FALSE(range_rows_at(&w.queue, 110, &row));
    CU_ASSERT_TRUE(range_rows_at(&w.queue, 104, &row));
    CU_ASSERT_EQUAL(row.first, 100);
    CU_ASSERT_TRUE(range_rows_at(&w.queue, 105, &row));
    CU_ASSERT_EQUAL(row.first, 105);
    tear_down(&w);
}

static void ready_is_the_lowest_and_due_the_earliest(void)
{
    struct world w;
    struct range_row row;
    const struct range_row late = {
        .first = 100, .last = 100, .state = RANGE_WAITING, .ready_at = 90};
    const struct range_row early = {
        .first = 101, .last = 101, .state = RANGE_WAITING, .ready_at = 50};

    set_up(&w);
    CU_ASSERT_FALSE(range_rows_ready(&w.queue, 0, &row));
    CU_ASSERT_EQUAL(range_rows_append(&w.queue, &late), RIA_OK);
    CU_ASSERT_EQUAL(range_rows_append(&w.queue, &early), RIA_OK);
    CU_ASSERT_FALSE(range_rows_ready(&w.queue, 0, &row));
    append(&w, 1, RANGE_WAITING);
    append(&w, 1, RANGE_LEASED);
    append(&w, 1, RANGE_DEAD);
    set(&w, 103, 103, RANGE_WAITING);
    CU_ASSERT_TRUE(range_rows_ready(&w.queue, 0, &row));
    CU_ASSERT_EQUAL(row.first, 102);
    CU_ASSERT_EQUAL(row.last, 103);
    CU_ASSERT_TRUE(range_rows_due(&w.queue, &row));
    CU_ASSERT_EQUAL(row.first, 101);
    CU_ASSERT_TRUE(range_rows_dead(&w.queue, &row));
    CU_ASSERT_EQUAL(row.first, 104);
    tear_down(&w);
}

static void a_row_is_stored_as_it_was(void)
{
    struct world w;
    struct queue_row again;
    struct ria_uuid topic = fixture_uuid(TOPIC);

    set_up(&w);
    append(&w, 3, RANGE_LEASED);
    w.queue.touched = true;
    w.queue.committed_ms = 11;
    w.queue.named_end = 12;
    w.queue.discarded = 13;
    w.queue.unsettled = 14;
    w.queue.unsettled_end = 115;
    w.queue.unsettled_deadline = 16;
    range_text_set(&w.queue.unsettled_holder, RIA_SLICE_LITERAL("me"));
    CU_ASSERT_EQUAL(queue_row_store(&w.queue), RIA_OK);
    CU_ASSERT_FALSE(queue_row_read(w.machine.db, GROUP + 1, &topic, PARTITION, &again));
    memset(&again, 0, sizeof(again));
    CU_ASSERT_TRUE(queue_row_read(w.machine.db, GROUP, &topic, PARTITION, &again));
    CU_ASSERT_EQUAL(again.position, 100);
    CU_ASSERT_EQUAL(again.committed_ms, 11);
    CU_ASSERT_EQUAL(again.frontier, 103);
    CU_ASSERT_EQUAL(again.row_count, 1);
    CU_ASSERT_EQUAL(again.named_end, 12);
    CU_ASSERT_EQUAL(again.discarded, 13);
    CU_ASSERT_EQUAL(again.unsettled, 14);
    CU_ASSERT_EQUAL(again.unsettled_end, 115);
    CU_ASSERT_EQUAL(again.unsettled_deadline, 16);
    CU_ASSERT_TRUE(ria_slice_equal(range_text_get(&again.unsettled_holder), RIA_SLICE_LITERAL("me"))
    );
    tear_down(&w);
}

/* ---- against a list of records ---- */

enum { RECORDS = 300, STEPS = 1500 };

struct model {
    struct world w;
    range_state states[RECORDS];
    int64_t next; /* expected offset, while rows are compared */
};

static bool compare(void *arg, const struct range_row *row)
{
    struct model *model = arg;

    CU_ASSERT_EQUAL(row->first, model->next);
    for (int64_t offset = row->first; offset <= row->last; offset++) {
        CU_ASSERT_EQUAL(row->state, model->states[offset - START]);
    }
    model->next = row->last + 1;
    return true;
}

static void compare_all(struct model *model)
{
    const struct queue_row *queue = &model->w.queue;

    for (int64_t offset = START; offset < queue->position; offset++) {
        CU_ASSERT_EQUAL(model->states[offset - START], RANGE_DONE);
    }
    model->next = queue->position;
    range_rows_visit(&model->w.queue, 0, INT64_MAX, compare, model);
    CU_ASSERT_EQUAL(model->next, queue->frontier);
}

static void random_changes_are_those_of_a_list_of_records(void)
{
    static const range_state states[] = {
        RANGE_LEASED, RANGE_WAITING, RANGE_DONE, RANGE_DONE, RANGE_DONE, RANGE_DEAD};
    static struct model model;
    struct ria_rand rand;
    struct queue_row *queue = &model.w.queue;

    set_up(&model.w);
    ria_rand_init(&rand, 4711);
    for (int step = 0; step < STEPS; step++) {
        int64_t room = START + RECORDS - queue->frontier;
        int64_t span = queue->frontier - queue->position;
        if (room > 0 && (span == 0 || ria_rand_below(&rand, 20) == 0)) {
            int64_t count = ria_min_i64(room, 1 + (int64_t)ria_rand_below(&rand, 12));
            for (int64_t i = 0; i < count; i++) {
                model.states[queue->frontier + i - START] = RANGE_LEASED;
            }
            append(&model.w, count, RANGE_LEASED);
        } else if (span > 0) {
            int64_t first = queue->position + (int64_t)ria_rand_below(&rand, (uint64_t)span);
            int64_t most = ria_min_i64(8, queue->frontier - first);
            int64_t last = first + (int64_t)ria_rand_below(&rand, (uint64_t)most);
            range_state state = states[ria_rand_below(&rand, RIA_COUNT(states))];
            for (int64_t offset = first; offset <= last; offset++) {
                model.states[offset - START] = state;
            }
            set(&model.w, first, last, state);
        } else {
            break;
        }
        compare_all(&model);
    }
    CU_ASSERT_TRUE(queue->position > START);
    append(&model.w, 1, RANGE_LEASED); /* so that there is anything to finish */
    set(&model.w, queue->position, queue->frontier - 1, RANGE_DONE);
    CU_ASSERT_TRUE(looks(&model.w, ""));
    CU_ASSERT_EQUAL(queue->position, queue->frontier);
    tear_down(&model.w);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_range_done_as_a_whole_leaves_nothing),
    HARNESS_TEST(the_middle_is_split_off),
    HARNESS_TEST(done_neighbours_are_joined_on_both_sides),
    HARNESS_TEST(the_position_stops_at_what_is_not_done),
    HARNESS_TEST(many_rows_are_replaced_by_one),
    HARNESS_TEST(what_differs_is_not_joined),
    HARNESS_TEST(the_row_of_an_offset_is_found),
    HARNESS_TEST(ready_is_the_lowest_and_due_the_earliest),
    HARNESS_TEST(a_row_is_stored_as_it_was),
    HARNESS_TEST(random_changes_are_those_of_a_list_of_records),
};
HARNESS_MAIN(tests);

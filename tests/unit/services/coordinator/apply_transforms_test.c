/* CreateTransform, DeleteTransform, CommitTask, AssignTasks. */
#include <string.h>

#include "schemas/gen/assign_tasks.h"
#include "schemas/gen/commit_task_request.h"
#include "schemas/gen/delete_topic_request.h"
#include "schemas/gen/delete_transform_request.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

static void set_up(struct fixture_machine *m)
{
    struct create_topic_request topic = fixture_topic(1, "source", 4, 2);

    fixture_machine_open(m);
    fixture_nodes(m, 3, NULL);
    CU_ASSERT_EQUAL(fixture_apply(m, API_CREATE_TOPIC, &topic), RIA_OK);
}

static ria_err create(struct fixture_machine *m, struct create_transform_request request)
{
    return fixture_apply(m, API_CREATE_TRANSFORM, &request);
}

static ria_err delete_transform(struct fixture_machine *m, const char *name)
{
    const struct delete_transform_request request = {.name = ria_slice_cstr(name)};

    return fixture_apply(m, API_DELETE_TRANSFORM, &request);
}

static ria_err delete_topic(struct fixture_machine *m, const char *name)
{
    const struct delete_topic_request request = {.name = ria_slice_cstr(name)};

    return fixture_apply(m, API_DELETE_TOPIC, &request);
}

static ria_err assign(struct fixture_machine *m, int32_t partition, int16_t epoch, uint32_t worker)
{
    struct assign_tasks_assigned_task task = {
        .transform_id = fixture_uuid(100),
        .partition = partition,
        .epoch = epoch,
        .worker = fixture_uuid(worker),
    };
    const struct assign_tasks body = {.tasks = &task, .tasks_count = 1};

    return fixture_apply(m, COMMAND_ASSIGN_TASKS, &body);
}

struct task {
    struct ria_uuid worker;
    int64_t epoch;
    int64_t position;
    int64_t records_in;
    char last_error[64];
};

static struct task read_task(struct fixture_machine *m, int32_t partition)
{
    struct task task = {.epoch = -1};
    struct ria_uuid id = fixture_uuid(100);
    struct meta_stmt *stmt = meta_query(m->db, META_TASKS_OF_TRANSFORM);

    meta_bind_uuid(stmt, 1, &id);
    while (meta_step(stmt)) {
        if (meta_column_int(stmt, 0) == partition) {
            struct ria_slice text = meta_column_text(stmt, 7);
            task.worker = meta_column_uuid(stmt, 1);
            task.epoch = meta_column_int(stmt, 2);
            task.position = meta_column_int(stmt, 3);
            task.records_in = meta_column_int(stmt, 4);
            memcpy(task.last_error, text.data, text.size);
        }
    }
    meta_done(stmt);
    return task;
}

/* ---- create ---- */

static void transform_comes_with_topics_and_tasks(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, "big", "source")), RIA_OK);
    CU_ASSERT_TRUE(m.result.changed);
    CU_ASSERT_EQUAL(fixture_number(&m, META_TOPIC_COUNT), 3);
    CU_ASSERT_EQUAL(fixture_number(&m, META_TOPIC_PARTITION_TOTAL), 12);
    for (int32_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(read_task(&m, i).epoch, 0);
        CU_ASSERT_TRUE(ria_uuid_is_zero(read_task(&m, i).worker));
        CU_ASSERT_EQUAL(read_task(&m, i).position, 0);
    }
    CU_ASSERT_EQUAL(delete_topic(&m, "big.errors"), RIA_ERR_CONFLICT); /* it exists */
    fixture_machine_close(&m);
}

static void start_offsets_are_the_first_positions(void)
{
    struct fixture_machine m;
    int64_t offsets[] = {5, 0, 7, 9};
    struct create_transform_request request = fixture_transform(100, "big", "source");

    set_up(&m);
    request.from_beginning = false;
    request.start_offsets = offsets;
    request.start_offsets_count = 3;
    CU_ASSERT_EQUAL(create(&m, request), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "startOffsets"));
    request.start_offsets_count = 4;
    offsets[2] = -1;
    CU_ASSERT_EQUAL(create(&m, request), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "-1"));
    offsets[2] = 7;
    CU_ASSERT_EQUAL(create(&m, request), RIA_OK);
    CU_ASSERT_EQUAL(read_task(&m, 2).position, 7);
    fixture_machine_close(&m);
}

static void same_id_again_is_the_same_transform(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, "big", "source")), RIA_OK);
    int64_t version = m.result.response.create_transform.version;
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, "big", "source")), RIA_OK);
    CU_ASSERT_FALSE(m.result.changed);
    CU_ASSERT_EQUAL(m.result.response.create_transform.version, version);
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, "other", "source")), RIA_ERR_CONFLICT);
    fixture_machine_close(&m);
}

static void refused_transform_leaves_nothing(void)
{
    struct fixture_machine m;
    struct create_topic_request taken = fixture_topic(2, "big.errors", 1, 1);

    set_up(&m);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_CREATE_TOPIC, &taken), RIA_OK);
    /* The output topic is written before the errors topic turns out to be taken. */
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, "big", "source")), RIA_ERR_EXISTS);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "big.errors"));
    CU_ASSERT_FALSE(m.result.changed);
    CU_ASSERT_EQUAL(fixture_number(&m, META_TOPIC_COUNT), 2);
    CU_ASSERT_EQUAL(fixture_number(&m, META_TRANSFORM_COUNT), 0);
    CU_ASSERT_EQUAL(delete_topic(&m, "big.errors"), RIA_OK);
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, "big", "source")), RIA_OK);
    fixture_machine_close(&m);
}

static void bad_transforms_are_refused_by_name(void)
{
    struct fixture_machine m;
    char name[RIA_TOPIC_NAME_MAX + 1];

    set_up(&m);
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, "big", "nothing")), RIA_ERR_UNKNOWN_TOPIC);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "\"nothing\""));
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, "big", "a b")), RIA_ERR_UNKNOWN_TOPIC);
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, "source", "source")), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "both"));
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, "a b", "source")), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(create(&m, fixture_transform(0, "big", "source")), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "transformId"));
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, name, "source")), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "193"));
    struct create_transform_request request = fixture_transform(100, "big", "source");
    request.sql = RIA_SLICE_EMPTY;
    CU_ASSERT_EQUAL(create(&m, request), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "sql"));
    request = fixture_transform(100, "big", "source");
    request.errors_topic_id = request.output_topic_id;
    CU_ASSERT_EQUAL(create(&m, request), RIA_ERR_INVALID);
    request.errors_topic_id = fixture_uuid(1); /* the source's */
    CU_ASSERT_EQUAL(create(&m, request), RIA_ERR_CONFLICT);
    fixture_machine_close(&m);
}

static void taken_names_are_refused(void)
{
    struct fixture_machine m;
    struct create_topic_request topic = fixture_topic(2, "taken", 1, 1);

    set_up(&m);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_CREATE_TOPIC, &topic), RIA_OK);
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, "taken", "source")), RIA_ERR_EXISTS);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "topic \"taken\""));
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, "big", "source")), RIA_OK);
    CU_ASSERT_EQUAL(create(&m, fixture_transform(200, "big", "source")), RIA_ERR_EXISTS);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "transform \"big\""));
    fixture_machine_close(&m);
}

static void transform_needs_the_sources_replicas_alive(void)
{
    struct fixture_machine m;

    set_up(&m);
    m.live_count = 1;
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, "big", "source")), RIA_ERR_NOT_ENOUGH_NODES);
    fixture_machine_close(&m);
}

/* ---- delete ---- */

static void topics_of_a_transform_cannot_be_deleted(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, "big", "source")), RIA_OK);
    CU_ASSERT_EQUAL(delete_topic(&m, "source"), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "read by transform \"big\""));
    CU_ASSERT_EQUAL(delete_topic(&m, "big"), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "written by transform \"big\""));
    CU_ASSERT_EQUAL(delete_transform(&m, "big"), RIA_OK);
    CU_ASSERT_TRUE(m.result.changed);
    CU_ASSERT_EQUAL(read_task(&m, 0).epoch, -1);
    CU_ASSERT_EQUAL(fixture_number(&m, META_TOPIC_COUNT), 3); /* derived topics stay */
    CU_ASSERT_EQUAL(delete_topic(&m, "source"), RIA_OK);
    CU_ASSERT_EQUAL(delete_topic(&m, "big"), RIA_OK);
    fixture_machine_close(&m);
}

static void a_late_copy_of_a_delete_spares_the_transform_that_has_the_name_now(void)
{
    struct fixture_machine m;
    const struct delete_transform_request first = {
        .name = RIA_SLICE_LITERAL("big"), .transform_id = fixture_uuid(100)};

    set_up(&m);
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, "big", "source")), RIA_OK);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_DELETE_TRANSFORM, &first), RIA_OK);
    CU_ASSERT_EQUAL(delete_topic(&m, "big"), RIA_OK);
    CU_ASSERT_EQUAL(delete_topic(&m, "big.errors"), RIA_OK);
    CU_ASSERT_EQUAL(create(&m, fixture_transform(200, "big", "source")), RIA_OK);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_DELETE_TRANSFORM, &first), RIA_ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(delete_transform(&m, "big"), RIA_OK);
    fixture_machine_close(&m);
}

static void deleting_an_unknown_transform_is_refused(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(delete_transform(&m, "big"), RIA_ERR_NOT_FOUND);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "\"big\""));
    CU_ASSERT_EQUAL(delete_transform(&m, ""), RIA_ERR_NOT_FOUND);
    fixture_machine_close(&m);
}

/* ---- tasks ---- */

static void each_new_owner_gets_a_new_epoch(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, "big", "source")), RIA_OK);
    CU_ASSERT_EQUAL(assign(&m, 0, 0, 7), RIA_OK);
    CU_ASSERT_TRUE(m.result.changed);
    CU_ASSERT_EQUAL(read_task(&m, 0).epoch, 1);
    CU_ASSERT_TRUE(ria_uuid_equal(read_task(&m, 0).worker, fixture_uuid(7)));
    CU_ASSERT_EQUAL(assign(&m, 0, 1, 8), RIA_OK);
    CU_ASSERT_EQUAL(read_task(&m, 0).epoch, 2);
    fixture_machine_close(&m);
}

static void an_assignment_that_lost_changes_nothing(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, "big", "source")), RIA_OK);
    CU_ASSERT_EQUAL(assign(&m, 0, 0, 7), RIA_OK);
    CU_ASSERT_EQUAL(assign(&m, 0, 0, 8), RIA_OK);
    CU_ASSERT_FALSE(m.result.changed);
    CU_ASSERT_TRUE(ria_uuid_equal(read_task(&m, 0).worker, fixture_uuid(7)));
    CU_ASSERT_EQUAL(assign(&m, 99, 0, 8), RIA_OK);
    CU_ASSERT_FALSE(m.result.changed);
    fixture_machine_close(&m);
}

static struct commit_task_request commit_of(int16_t epoch, int64_t position)
{
    return (struct commit_task_request){
        .transform_id = fixture_uuid(100),
        .epoch = epoch,
        .position = position,
        .records_in = position,
        .last_error = RIA_SLICE_LITERAL("no such field"),
    };
}

static void positions_move_forward_only(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, "big", "source")), RIA_OK);
    CU_ASSERT_EQUAL(assign(&m, 0, 0, 7), RIA_OK);
    struct commit_task_request request = commit_of(1, 50);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_COMMIT_TASK, &request), RIA_OK);
    CU_ASSERT_FALSE(m.result.changed);
    CU_ASSERT_EQUAL(read_task(&m, 0).position, 50);
    request = commit_of(1, 40);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_COMMIT_TASK, &request), RIA_OK);
    CU_ASSERT_EQUAL(read_task(&m, 0).position, 50);
    CU_ASSERT_EQUAL(read_task(&m, 0).records_in, 50);
    request = commit_of(1, 60);
    request.last_error = RIA_SLICE_EMPTY;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_COMMIT_TASK, &request), RIA_OK);
    CU_ASSERT_STRING_EQUAL(read_task(&m, 0).last_error, "no such field");
    fixture_machine_close(&m);
}

static void a_former_owner_cannot_commit(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(create(&m, fixture_transform(100, "big", "source")), RIA_OK);
    CU_ASSERT_EQUAL(assign(&m, 0, 0, 7), RIA_OK);
    CU_ASSERT_EQUAL(assign(&m, 0, 1, 8), RIA_OK);
    struct commit_task_request request = commit_of(1, 50);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_COMMIT_TASK, &request), RIA_ERR_FENCED_PRODUCER);
    request = commit_of(3, 50);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_COMMIT_TASK, &request), RIA_ERR_CONFLICT);
    request = commit_of(2, -1);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_COMMIT_TASK, &request), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "position"));
    request = commit_of(2, 1);
    request.partition = 4;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_COMMIT_TASK, &request), RIA_ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(read_task(&m, 0).position, 0);
    fixture_machine_close(&m);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(transform_comes_with_topics_and_tasks),
    HARNESS_TEST(start_offsets_are_the_first_positions),
    HARNESS_TEST(same_id_again_is_the_same_transform),
    HARNESS_TEST(refused_transform_leaves_nothing),
    HARNESS_TEST(bad_transforms_are_refused_by_name),
    HARNESS_TEST(taken_names_are_refused),
    HARNESS_TEST(transform_needs_the_sources_replicas_alive),
    HARNESS_TEST(topics_of_a_transform_cannot_be_deleted),
    HARNESS_TEST(a_late_copy_of_a_delete_spares_the_transform_that_has_the_name_now),
    HARNESS_TEST(deleting_an_unknown_transform_is_refused),
    HARNESS_TEST(each_new_owner_gets_a_new_epoch),
    HARNESS_TEST(an_assignment_that_lost_changes_nothing),
    HARNESS_TEST(positions_move_forward_only),
    HARNESS_TEST(a_former_owner_cannot_commit),
};
HARNESS_MAIN(tests);

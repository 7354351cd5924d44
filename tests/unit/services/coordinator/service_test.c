/* The whole coordinator: its folder, its answers to bad requests, its crashes. */
#include "services/coordinator/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "schemas/envelope.h"
#include "schemas/gen/metadata_request.h"
#include "schemas/gen/produce_request.h"

#include "services/coordinator/coordinator.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

static bool has_topic(struct fixture *f, uint32_t id)
{
    struct metadata_response response;
    struct ria_uuid uuid = fixture_uuid(id);

    CU_ASSERT_EQUAL(fixture_metadata(f, 0, &response), RIA_OK);
    for (uint32_t i = 0; i < response.topics_count; i++) {
        if (ria_uuid_equal(response.topics[i].topic_id, uuid)) {
            return true;
        }
    }
    return false;
}

/* ---- the data folder ---- */

static void the_cluster_outlives_the_process(void)
{
    struct fixture f;

    fixture_up(&f);
    struct ria_uuid id = coordinator_cluster_id(f.coordinator);
    CU_ASSERT_FALSE(ria_uuid_is_zero(id));
    fixture_register_nodes(&f, 1);
    CU_ASSERT_EQUAL(fixture_create_topic(&f, 1, "a"), RIA_OK);
    int64_t applied = coordinator_applied_index(f.coordinator);
    uint64_t hash = coordinator_state_hash(f.coordinator);
    fixture_stop(&f);
    CU_ASSERT_EQUAL(fixture_start(&f), RIA_OK);
    CU_ASSERT_TRUE(ria_uuid_equal(coordinator_cluster_id(f.coordinator), id));
    CU_ASSERT_EQUAL(coordinator_applied_index(f.coordinator), applied);
    CU_ASSERT_EQUAL(coordinator_state_hash(f.coordinator), hash);
    fixture_close(&f);
}

static void two_clusters_have_two_ids(void)
{
    struct fixture f;

    fixture_up(&f);
    struct ria_uuid id = coordinator_cluster_id(f.coordinator);
    fixture_stop(&f);
    f.options.data_dir = "/other";
    CU_ASSERT_EQUAL(fixture_start(&f), RIA_OK);
    CU_ASSERT_FALSE(ria_uuid_equal(coordinator_cluster_id(f.coordinator), id));
    fixture_close(&f);
}

static void a_folder_in_use_stops_the_start(void)
{
    struct fixture f;
    struct coordinator *other = NULL;

    fixture_up(&f);
    CU_ASSERT_EQUAL(coordinator_new(&f.env, &f.options, f.reason, &other), RIA_ERR_BUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.reason, "in use"));
    fixture_close(&f);
}

static void a_missing_database_stops_the_start(void)
{
    struct fixture f;

    fixture_up(&f);
    fixture_stop(&f);
    CU_ASSERT_EQUAL(ria_fs_unlink(f.fs, "/var/coordinator/meta.db"), RIA_OK);
    CU_ASSERT_EQUAL(fixture_start(&f), RIA_ERR_NOT_FOUND);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.reason, "meta.db is missing"));
    CU_ASSERT_EQUAL(ria_fs_sim_open_count(f.fs), 0);
    fixture_close(&f);
}

static void another_clusters_database_stops_the_start(void)
{
    struct fixture f;

    fixture_up(&f);
    fixture_stop(&f);
    f.options.data_dir = "/other";
    CU_ASSERT_EQUAL(fixture_start(&f), RIA_OK);
    fixture_stop(&f);
    CU_ASSERT_EQUAL(ria_fs_rename(f.fs, "/other/meta.db", "/var/coordinator/meta.db"), RIA_OK);
    f.options.data_dir = "/var/coordinator";
    CU_ASSERT_EQUAL(fixture_start(&f), RIA_ERR_WRONG_CLUSTER);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.reason, "another cluster"));
    fixture_close(&f);
}

static void a_start_that_was_cut_off_is_finished_later(void)
{
    struct fixture f;

    fixture_up(&f);
    struct ria_uuid id = coordinator_cluster_id(f.coordinator);
    fixture_stop(&f);
    CU_ASSERT_EQUAL(ria_fs_unlink(f.fs, "/var/coordinator/identity"), RIA_OK);
    CU_ASSERT_EQUAL(fixture_start(&f), RIA_OK);
    CU_ASSERT_TRUE(ria_uuid_equal(coordinator_cluster_id(f.coordinator), id));
    fixture_close(&f);
}

static void a_damaged_database_stops_the_start(void)
{
    struct fixture f;

    fixture_up(&f);
    fixture_stop(&f);
    for (uint64_t byte = 4096; byte < 4096 + 64; byte++) {
        CU_ASSERT_EQUAL(ria_fs_sim_flip_bit(f.fs, "/var/coordinator/meta.db", byte, 7), RIA_OK);
    }
    CU_ASSERT_EQUAL(fixture_start(&f), RIA_ERR_CORRUPT);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.reason, "meta.db"));
    fixture_close(&f);
}

/* ---- bad requests ---- */

static void requests_of_others_are_answered(void)
{
    struct fixture f;
    const struct produce_request produce = {.partition = 1};

    fixture_up(&f);
    CU_ASSERT_EQUAL(fixture_call(&f, API_PRODUCE, &produce, NULL), RIA_ERR_UNKNOWN_TYPE);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.text, "Produce"));
    fixture_close(&f);
}

static void frame_set(struct ria_msg *frame, size_t at, uint8_t value)
{
    ria_msg_data(frame)[at] = value;
}

static void unknown_types_and_versions_are_answered(void)
{
    struct fixture f;
    const struct metadata_request body = {.known_version = 0};
    static const size_t places[] = {0, 2}; /* api key, api version */
    static const ria_err errs[] = {RIA_ERR_UNKNOWN_TYPE, RIA_ERR_UNKNOWN_VERSION};

    fixture_up(&f);
    for (size_t i = 0; i < RIA_COUNT(places); i++) {
        struct ria_msg *frame = envelope_request(API_METADATA, 0, -1, 1000, &body, 0, NULL);
        CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
        frame_set(frame, places[i], 0x70);
        struct fixture_request *request = fixture_send_frame(&f, frame);
        CU_ASSERT_TRUE(fixture_is_answered(request));
        CU_ASSERT_EQUAL(fixture_error_code(request), errs[i]);
    }
    fixture_close(&f);
}

static void garbage_is_dropped(void)
{
    struct fixture f;

    fixture_up(&f);
    struct ria_msg *frame = ria_msg_new(3);
    CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
    memset(ria_msg_data(frame), 0xff, 3);
    struct fixture_request *request = fixture_send_frame(&f, frame);
    CU_ASSERT_TRUE(fixture_is_dropped(request));
    fixture_close(&f);
}

static void a_malformed_body_does_not_reach_the_log(void)
{
    struct fixture f;
    const struct create_topic_request body = fixture_topic(1, "a", 1, 1);

    fixture_up(&f);
    struct ria_msg *frame = envelope_request(API_CREATE_TOPIC, 0, -1, 1000, &body, 0, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
    frame_set(frame, ENVELOPE_REQUEST_HEADER_SIZE + 16, 0xff); /* the name's length */
    struct fixture_request *request = fixture_send_frame(&f, frame);
    fixture_advance(&f, 0);
    CU_ASSERT_NOT_EQUAL(fixture_error_code(request), RIA_OK);
    CU_ASSERT_EQUAL(coordinator_applied_index(f.coordinator), 0);
    fixture_close(&f);
}

static void a_commands_refusal_is_its_answer(void)
{
    struct fixture f;

    fixture_up(&f);
    CU_ASSERT_EQUAL(fixture_create_topic(&f, 1, "a"), RIA_ERR_NOT_ENOUGH_NODES);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.text, "0 storage nodes"));
    fixture_close(&f);
}

static void a_stopping_coordinator_takes_nothing(void)
{
    struct fixture f;
    const struct create_topic_request body = fixture_topic(1, "a", 1, 1);

    fixture_up(&f);
    coordinator_stop(f.coordinator);
    CU_ASSERT_EQUAL(fixture_call(&f, API_CREATE_TOPIC, &body, NULL), RIA_ERR_SHUTDOWN);
    fixture_close(&f);
}

static void a_huge_body_is_refused(void)
{
    struct fixture f;
    const struct create_topic_request body = fixture_topic(1, "a", 1, 1);
    enum { PADDING = 2 * 1024 * 1024 };

    /* Valid, with an unknown tagged field of 2 MiB at the end. */
    fixture_up(&f);
    struct ria_msg *small = envelope_request(API_CREATE_TOPIC, 0, -1, 1000, &body, 0, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(small);
    size_t size = ria_msg_size(small) - 1; /* without "no tagged fields" */
    struct ria_msg *frame = ria_msg_new(size + 6 + PADDING);
    CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
    memset(ria_msg_data(frame), 0, ria_msg_size(frame));
    memcpy(ria_msg_data(frame), ria_msg_data(small), size);
    struct ria_writer writer = ria_writer_of(ria_msg_data(frame) + size, 6);
    ria_write_uvarint(&writer, 1); /* fields */
    ria_write_uvarint(&writer, 9); /* tag */
    ria_write_uvarint(&writer, PADDING);
    CU_ASSERT_EQUAL(writer.pos, 6);
    size_t body_size = ria_msg_size(frame) - ENVELOPE_REQUEST_HEADER_SIZE;
    writer = ria_writer_of(ria_msg_data(frame) + 16, 4);
    ria_write_i32(&writer, (int32_t)body_size);
    struct fixture_request *request = fixture_send_frame(&f, frame);
    CU_ASSERT_EQUAL(fixture_error_code(request), RIA_ERR_TOO_LARGE);
    ria_msg_free(small);
    fixture_close(&f);
}

/* ---- groups and crashes ---- */

static void requests_of_one_turn_are_one_transaction(void)
{
    struct fixture f;
    char name[16];

    fixture_up(&f);
    fixture_register_nodes(&f, 1);
    uint64_t groups = f.coordinator->metrics.groups.value;
    for (uint32_t i = 1; i <= 50; i++) {
        (void)snprintf(name, sizeof(name), "t%u", i);
        const struct create_topic_request request = fixture_topic(i, name, 1, 1);
        (void)fixture_send(&f, API_CREATE_TOPIC, &request);
    }
    fixture_advance(&f, 0);
    CU_ASSERT_EQUAL(f.coordinator->metrics.groups.value, groups + 1);
    CU_ASSERT_EQUAL(coordinator_applied_index(f.coordinator), 51);
    while (f.unanswered != NULL) {
        CU_ASSERT_EQUAL(fixture_answer(&f, f.unanswered, NULL), RIA_OK);
    }
    fixture_close(&f);
}

static void a_power_cut_keeps_what_was_answered(void)
{
    struct fixture f;

    fixture_up(&f);
    fixture_register_nodes(&f, 1);
    for (uint32_t i = 1; i <= 20; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "t%u", i);
        CU_ASSERT_EQUAL(fixture_create_topic(&f, i, name), RIA_OK);
        uint64_t hash = coordinator_state_hash(f.coordinator);
        int64_t applied = coordinator_applied_index(f.coordinator);
        fixture_crash(&f, true);
        CU_ASSERT_EQUAL_FATAL(fixture_start(&f), RIA_OK);
        CU_ASSERT_EQUAL(coordinator_state_hash(f.coordinator), hash);
        CU_ASSERT_EQUAL(coordinator_applied_index(f.coordinator), applied);
        (void)fixture_heartbeat(&f, 1, PROCESS_STORAGE, NULL);
    }
    fixture_close(&f);
}

static void a_crash_before_the_commit_leaves_nothing(void)
{
    struct fixture f;
    const struct create_topic_request body = fixture_topic(1, "a", 4, 1);

    fixture_up(&f);
    fixture_register_nodes(&f, 1);
    uint64_t hash = coordinator_state_hash(f.coordinator);
    struct fixture_request *request = fixture_send(&f, API_CREATE_TOPIC, &body);
    fixture_crash(&f, true);
    CU_ASSERT_TRUE(fixture_is_dropped(request));
    CU_ASSERT_EQUAL(fixture_start(&f), RIA_OK);
    CU_ASSERT_EQUAL(coordinator_state_hash(f.coordinator), hash);
    fixture_close(&f);
}

static void a_crash_in_a_group_leaves_none_of_it(void)
{
    struct fixture f;
    struct register_node_request node = fixture_register(9, 1);
    uint8_t body[256];
    uint8_t *bytes = NULL;
    size_t size = 0;
    struct ria_writer writer = ria_writer_of(body, sizeof(body));
    struct command_result result;

    fixture_up(&f);
    fixture_register_nodes(&f, 1);
    uint64_t hash = coordinator_state_hash(f.coordinator);
    int64_t applied = coordinator_applied_index(f.coordinator);
    register_node_request_encode(&node, 0, &writer);
    const struct command command = {
        .kind = API_REGISTER_NODE, .body = ria_slice_of(body, writer.pos)};
    CU_ASSERT_EQUAL_FATAL(state_encode_command(&command, &bytes, &size), RIA_OK);
    state_begin(f.coordinator->state);
    state_apply(f.coordinator->state, applied + 1, ria_slice_of(bytes, size), &result);
    CU_ASSERT_EQUAL(result.err, RIA_OK);
    free(bytes);
    fixture_crash(&f, true); /* in the middle of the transaction */
    CU_ASSERT_EQUAL(fixture_start(&f), RIA_OK);
    CU_ASSERT_EQUAL(coordinator_applied_index(f.coordinator), applied);
    CU_ASSERT_EQUAL(coordinator_state_hash(f.coordinator), hash);
    fixture_close(&f);
}

/* A child that dies of the call; -1 if it did not. */
static int signal_of_child(void (*fn)(void))
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL) {
            _exit(0);
        }
        fn();
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status)) {
        return -1;
    }
    return WTERMSIG(status);
}

static void fill_the_disk(void)
{
    struct fixture f;
    const struct ria_fs_sim_faults faults = {.capacity_bytes = 1};
    const struct create_topic_request body = fixture_topic(1, "a", 10000, 1);

    fixture_up(&f);
    fixture_register_nodes(&f, 1);
    ria_fs_sim_set_faults(f.fs, &faults);
    (void)fixture_send(&f, API_CREATE_TOPIC, &body);
    fixture_advance(&f, 0);
}

static void a_full_disk_stops_the_process(void)
{
    CU_ASSERT_EQUAL(signal_of_child(fill_the_disk), SIGABRT);
}

static void a_topic_of_ten_thousand_partitions_is_created_and_read(void)
{
    struct fixture f;
    struct metadata_response response;
    const struct create_topic_request body = fixture_topic(1, "a", 10000, 3);

    fixture_up(&f);
    fixture_register_nodes(&f, 3);
    CU_ASSERT_EQUAL(fixture_call(&f, API_CREATE_TOPIC, &body, NULL), RIA_OK);
    CU_ASSERT_EQUAL(fixture_metadata(&f, 0, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions_count, 10000);
    CU_ASSERT_TRUE(has_topic(&f, 1));
    fixture_close(&f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(the_cluster_outlives_the_process),
    HARNESS_TEST(two_clusters_have_two_ids),
    HARNESS_TEST(a_folder_in_use_stops_the_start),
    HARNESS_TEST(a_missing_database_stops_the_start),
    HARNESS_TEST(another_clusters_database_stops_the_start),
    HARNESS_TEST(a_start_that_was_cut_off_is_finished_later),
    HARNESS_TEST(a_damaged_database_stops_the_start),
    HARNESS_TEST(requests_of_others_are_answered),
    HARNESS_TEST(unknown_types_and_versions_are_answered),
    HARNESS_TEST(garbage_is_dropped),
    HARNESS_TEST(a_malformed_body_does_not_reach_the_log),
    HARNESS_TEST(a_commands_refusal_is_its_answer),
    HARNESS_TEST(a_stopping_coordinator_takes_nothing),
    HARNESS_TEST(a_huge_body_is_refused),
    HARNESS_TEST(requests_of_one_turn_are_one_transaction),
    HARNESS_TEST(a_power_cut_keeps_what_was_answered),
    HARNESS_TEST(a_crash_before_the_commit_leaves_nothing),
    HARNESS_TEST(a_crash_in_a_group_leaves_none_of_it),
    HARNESS_TEST(a_full_disk_stops_the_process),
    HARNESS_TEST(a_topic_of_ten_thousand_partitions_is_created_and_read),
};
HARNESS_MAIN(tests);

#include "services/replication/service.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/metrics.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/replication/worker_fixture.h"

static struct worker_fixture *setup(int32_t partitions)
{
    static const int64_t ends[2] = {0, 0};
    struct worker_fixture *w = calloc(1, sizeof(*w));

    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    worker_init(w, partitions, ends, 0);
    return w;
}

/* Node 3 ends at `behind`, node 2 and the leader at `end`. */
static struct worker_fixture *setup_behind(int64_t behind, int64_t end, int64_t rate)
{
    const int64_t ends[2] = {end, behind};
    struct worker_fixture *w = calloc(1, sizeof(*w));

    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    worker_init(w, 1, ends, rate);
    w->appends_by_itself[2] = true;
    return w;
}

static void teardown(struct worker_fixture *w)
{
    worker_fini(w);
    free(w);
}

/* The newest fetch of the session. */
static struct fake_rpc_call *newest(struct worker_fixture *w)
{
    uint32_t count = worker_fetch_count(w, true);

    return count == 0 ? NULL : worker_fetch(w, true, count - 1);
}

/* Older fetches of the session end, as the leader ends them when a newer one comes. */
static struct fake_rpc_call *settle(struct worker_fixture *w)
{
    while (worker_fetch_count(w, true) > 1) {
        worker_answer_fetch(w, worker_fetch(w, true, 0), -1, 0, 0, 0);
        worker_run_ms(w, 0);
    }
    return newest(w);
}

/* ---- the session ---- */

static void the_first_fetch_is_full_and_names_all(void)
{
    struct worker_fixture *w = setup(3);
    uint32_t named = 0;

    CU_ASSERT_TRUE_FATAL(worker_fetch_count(w, true) > 0);
    for (uint32_t i = 0; i < worker_fetch_count(w, true); i++) {
        struct replica_fetch_request fetch = worker_open_fetch(w, worker_fetch(w, true, i));
        CU_ASSERT_EQUAL(fetch.is_full, i == 0);
        CU_ASSERT_EQUAL(fetch.number, (int64_t)i + 1);
        named += fetch.partitions_count;
    }
    CU_ASSERT_EQUAL(named, 3);
    teardown(w);
}

static void a_batch_names_its_partition_only(void)
{
    struct worker_fixture *w = setup(3);

    struct fake_rpc_call *parked = settle(w);
    int64_t number = worker_open_fetch(w, parked).number;
    worker_answer_fetch(w, parked, 1, 0, 2, 10);
    worker_run_ms(w, 0);
    CU_ASSERT_EQUAL_FATAL(worker_fetch_count(w, true), 1);
    struct replica_fetch_request fetch = worker_open_fetch(w, newest(w));
    CU_ASSERT_FALSE(fetch.is_full);
    CU_ASSERT_EQUAL(fetch.number, number + 1);
    CU_ASSERT_EQUAL_FATAL(fetch.partitions_count, 1);
    CU_ASSERT_EQUAL(fetch.partitions[0].partition, 1);
    CU_ASSERT_EQUAL(fetch.partitions[0].offset, 2);
    CU_ASSERT_EQUAL(fetch.forgotten_count, 0);
    teardown(w);
}

static void an_acknowledgement_sends_no_fetch(void)
{
    struct worker_fixture *w = setup(2);

    worker_answer_fetch(w, settle(w), 0, 0, 1, 10);
    worker_run_ms(w, 0);
    uint32_t fetches = worker_fetch_count(w, true);
    const struct fake_rpc_call *parked = newest(w);
    for (int32_t node = 2; node <= 3; node++) {
        CU_ASSERT_PTR_NOT_NULL_FATAL(worker_append(w, node, 0));
        worker_answer_append(w, worker_append(w, node, 0));
        worker_run_ms(w, 0);
    }
    CU_ASSERT_EQUAL(w->reports, 2 * 2 + 2); /* of the prepares, and of the batch */
    CU_ASSERT_EQUAL(worker_fetch_count(w, true), fetches);
    CU_ASSERT_PTR_EQUAL(newest(w), parked);
    teardown(w);
}

static void only_what_a_follower_has_on_disk_is_reported(void)
{
    struct worker_fixture *w = setup(1);

    for (int64_t offset = 0; offset < 2; offset++) {
        worker_answer_fetch(w, settle(w), 0, offset, 1, 10);
        worker_run_ms(w, 0);
    }
    CU_ASSERT_EQUAL_FATAL(worker_append_count(w, 2), 2);
    CU_ASSERT_EQUAL(w->reported[2], 0);
    for (int64_t end = 1; end <= 2; end++) {
        worker_answer_append(w, worker_append(w, 2, 0));
        worker_run_ms(w, 0);
        CU_ASSERT_EQUAL(w->reported[2], end);
    }
    CU_ASSERT_EQUAL(w->reported[3], 0);
    teardown(w);
}

static void a_follower_is_told_by_which_settings_its_leader_acts(void)
{
    struct worker_fixture *w = setup(1);

    for (int64_t offset = 0; offset < 2; offset++) {
        w->config_epoch = 3 + (int32_t)offset;
        worker_answer_fetch(w, settle(w), 0, offset, 1, 10);
        worker_run_ms(w, 0);
    }
    CU_ASSERT_EQUAL_FATAL(worker_append_count(w, 2), 2);
    for (uint32_t i = 0; i < 2; i++) {
        struct replica_append_request append = worker_open_append(w, worker_append(w, 2, i));
        CU_ASSERT_EQUAL(append.partitions_count, 1);
        CU_ASSERT_EQUAL(append.partitions[0].config_epoch, 3 + (int32_t)i);
    }
    teardown(w);
}

static void an_idle_fetch_is_followed_by_one_that_names_nothing(void)
{
    struct worker_fixture *w = setup(2);

    worker_answer_fetch(w, settle(w), -1, 0, 0, 0);
    worker_run_ms(w, 0);
    struct replica_fetch_request fetch = worker_open_fetch(w, newest(w));
    CU_ASSERT_FALSE(fetch.is_full);
    CU_ASSERT_EQUAL(fetch.partitions_count, 0);
    teardown(w);
}

static void a_session_the_leader_forgot_begins_anew_at_once(void)
{
    struct worker_fixture *w = setup(3);

    struct fake_rpc_call *parked = settle(w);
    int64_t number = worker_open_fetch(w, parked).number;
    worker_answer_fetch(w, parked, -1, 0, 0, 0);
    worker_run_ms(w, 0);
    fake_rpc_refuse(newest(w), RIA_ERR_NOT_FOUND);
    worker_run_ms(w, 0);
    CU_ASSERT_EQUAL_FATAL(worker_fetch_count(w, true), 1);
    struct replica_fetch_request fetch = worker_open_fetch(w, newest(w));
    CU_ASSERT_TRUE(fetch.is_full);
    CU_ASSERT_EQUAL(fetch.number, number + 2);
    CU_ASSERT_EQUAL(fetch.partitions_count, 3);
    teardown(w);
}

static void a_lost_fetch_makes_the_next_one_full(void)
{
    struct worker_fixture *w = setup(3);

    fake_rpc_fail(settle(w), RIA_ERR_DISCONNECTED);
    worker_run_ms(w, 0);
    CU_ASSERT_EQUAL(worker_fetch_count(w, true), 0); /* not in a tight loop */
    worker_run_ms(w, 200);
    CU_ASSERT_EQUAL_FATAL(worker_fetch_count(w, true), 1);
    struct replica_fetch_request fetch = worker_open_fetch(w, newest(w));
    CU_ASSERT_TRUE(fetch.is_full);
    CU_ASSERT_EQUAL(fetch.partitions_count, 3);
    teardown(w);
}

static void a_refused_full_fetch_is_tried_again_later(void)
{
    struct worker_fixture *w = setup(1);

    fake_rpc_fail(settle(w), RIA_ERR_DISCONNECTED);
    worker_run_ms(w, 200);
    fake_rpc_refuse(newest(w), RIA_ERR_NOT_FOUND); /* it cannot be, but it must not spin */
    worker_run_ms(w, 0);
    CU_ASSERT_EQUAL(worker_fetch_count(w, true), 0);
    worker_run_ms(w, 200);
    CU_ASSERT_EQUAL(worker_fetch_count(w, true), 1);
    teardown(w);
}

static void what_a_late_reply_says_of_an_older_wish_is_void(void)
{
    struct worker_fixture *w = setup(1);
    struct fake_rpc_call *old = settle(w);

    w->leader_epoch = 6; /* the same leader again: another wish for the same partition */
    worker_publish(w);
    CU_ASSERT_PTR_EQUAL(worker_fetch(w, true, 0), old);
    CU_ASSERT_EQUAL_FATAL(worker_open_fetch(w, newest(w)).partitions_count, 1);
    CU_ASSERT_EQUAL(worker_open_fetch(w, newest(w)).partitions[0].leader_epoch, 6);
    worker_answer_fetch(w, old, 0, 0, 3, 10); /* batches of the old epoch */
    worker_run_ms(w, 0);
    CU_ASSERT_EQUAL(worker_append_count(w, 2), 0);
    CU_ASSERT_EQUAL(worker_append_count(w, 3), 0);
    worker_answer_fetch(w, newest(w), 0, 0, 1, 10);
    worker_run_ms(w, 0);
    CU_ASSERT_EQUAL(worker_append_count(w, 2), 1);
    teardown(w);
}

static void partitions_that_are_not_its_any_more_are_forgotten(void)
{
    struct worker_fixture *w = setup(2);
    bool told = false;

    (void)settle(w);
    w->leader_epoch = 6;
    worker_publish(w);
    for (uint32_t i = 0; i < worker_fetch_count(w, true); i++) {
        struct replica_fetch_request fetch = worker_open_fetch(w, worker_fetch(w, true, i));
        told = told || fetch.forgotten_count == 2;
    }
    CU_ASSERT_TRUE(told);
    teardown(w);
}

static void another_worker_takes_its_share_and_gives_it_back(void)
{
    struct worker_fixture *w = setup(64);
    int64_t forgotten = 0;

    (void)settle(w);
    w->other_workers = 1;
    worker_run_ms(w, 600);
    worker_run_ms(w, 600);
    for (uint32_t i = 0; i < worker_fetch_count(w, true); i++) {
        forgotten += worker_open_fetch(w, worker_fetch(w, true, i)).forgotten_count;
    }
    CU_ASSERT_TRUE(forgotten > 16 && forgotten < 48);
    CU_ASSERT_EQUAL(w->prepares[2], 64); /* what it keeps goes on undisturbed */
    w->other_workers = 0;
    worker_run_ms(w, 600);
    worker_run_ms(w, 600);
    CU_ASSERT_EQUAL(w->prepares[2], 64 + forgotten);
    teardown(w);
}

static void a_wish_is_renewed_only_when_there_is_room(void)
{
    struct worker_fixture *w = setup(1);
    int64_t offset = 0;

    for (int i = 0; i < 6; i++) { /* nobody acknowledges */
        struct fake_rpc_call *parked = settle(w);
        bool names = worker_open_fetch(w, parked).partitions_count > 0;
        CU_ASSERT_EQUAL(names, i < 4 || i == 0);
        if (!names) {
            break;
        }
        worker_answer_fetch(w, parked, 0, offset++, 1, 1024 * 1024);
        worker_run_ms(w, 0);
    }
    CU_ASSERT_EQUAL(offset, 4); /* 4 MiB of one partition */
    while (worker_append_count(w, 2) > 0) {
        worker_answer_append(w, worker_append(w, 2, 0));
        worker_answer_append(w, worker_append(w, 3, 0));
        worker_run_ms(w, 0);
    }
    CU_ASSERT_EQUAL_FATAL(worker_open_fetch(w, settle(w)).partitions_count, 1);
    CU_ASSERT_EQUAL(worker_open_fetch(w, newest(w)).partitions[0].offset, 4);
    teardown(w);
}

/* ---- slow followers ---- */

static void a_node_that_does_not_answer_delays_nobody(void)
{
    struct worker_fixture *w = setup(32);

    w->appends_by_itself[2] = true; /* node 3 is stuck */
    for (int64_t round = 0; round < 40; round++) {
        for (int32_t p = 0; p < 32; p++) {
            struct fake_rpc_call *parked = settle(w);
            CU_ASSERT_PTR_NOT_NULL_FATAL(parked);
            worker_answer_fetch(w, parked, p, round, 1, 64 * 1024);
            worker_run_ms(w, 0);
            worker_run_ms(w, 0);
        }
    }
    CU_ASSERT_TRUE(w->append_bytes[2] >= 40u * 32 * 64 * 1024); /* 80 MiB, all of it */
    CU_ASSERT_EQUAL(w->append_bytes[3], 0);
    teardown(w);
}

static void catch_up_goes_in_frames_behind_in_sync_data(void)
{
    struct worker_fixture *w = setup_behind(0, 1000, 0);

    /* Node 3 is read for on its own, in pieces that do not reach the cursor. */
    CU_ASSERT_EQUAL_FATAL(worker_fetch_count(w, false), 1);
    struct replica_fetch_request read = worker_open_fetch(w, worker_fetch(w, false, 0));
    CU_ASSERT_EQUAL(read.partitions[0].offset, 0);
    CU_ASSERT_TRUE(read.max_bytes <= 256 * 1024);
    worker_answer_fetch(w, worker_fetch(w, false, 0), 0, 0, 2, 100 * 1024);
    worker_run_ms(w, 0);
    CU_ASSERT_EQUAL_FATAL(worker_append_count(w, 3), 1);
    CU_ASSERT_EQUAL(worker_open_append(w, worker_append(w, 3, 0)).partitions[0].base_offset, 0);
    /* Its append is not answered; the attached follower gets new data all the same. */
    for (int64_t i = 0; i < 10; i++) {
        worker_answer_fetch(w, settle(w), 0, 1000 + i, 1, 10);
        worker_run_ms(w, 0);
    }
    CU_ASSERT_TRUE(w->append_bytes[2] > 0);
    CU_ASSERT_EQUAL(worker_append_count(w, 3), 1); /* it has to catch up first */
    worker_answer_append(w, worker_append(w, 3, 0));
    worker_run_ms(w, 0);
    CU_ASSERT_EQUAL_FATAL(worker_fetch_count(w, false), 1);
    read = worker_open_fetch(w, worker_fetch(w, false, 0));
    CU_ASSERT_EQUAL(read.partitions[0].offset, 2);
    teardown(w);
}

static void a_follower_that_reaches_the_cursor_gets_what_the_others_get(void)
{
    struct worker_fixture *w = setup_behind(995, 1000, 0);

    w->appends_by_itself[3] = true;
    CU_ASSERT_EQUAL_FATAL(worker_fetch_count(w, false), 1);
    worker_answer_fetch(w, worker_fetch(w, false, 0), 0, 995, 5, 10);
    worker_run_ms(w, 0);
    uint32_t before = w->append_bytes[3];
    CU_ASSERT_TRUE(before > 0);
    worker_answer_fetch(w, settle(w), 0, 1000, 1, 10);
    worker_run_ms(w, 0);
    CU_ASSERT_TRUE(w->append_bytes[3] > before);
    CU_ASSERT_EQUAL(worker_fetch_count(w, false), 0);
    teardown(w);
}

static void catch_up_of_the_far_behind_flows_at_the_rate(void)
{
    struct worker_fixture *w = setup_behind(0, 1000000, 1000 * 1000);
    int64_t offset = 0;
    int64_t bytes = 0;
    int64_t end_us = w->now_us + 20 * 1000 * 1000;

    w->appends_by_itself[3] = true;
    while (w->now_us < end_us) {
        struct fake_rpc_call *read = worker_fetch(w, false, 0);
        if (read == NULL) {
            worker_run_ms(w, 10);
            struct fake_rpc_call *parked = settle(w);
            if (parked != NULL && w->now_us % 1000000 < 10000) {
                worker_answer_fetch(w, parked, -1, 0, 0, 0);
            }
            continue;
        }
        worker_answer_fetch(w, read, 0, offset++, 1, 200 * 1000);
        bytes += 200 * 1000;
        worker_run_ms(w, 0);
    }
    /* 4 MiB are free, the rest comes at 1 MB/s. */
    CU_ASSERT_TRUE(bytes > 4 * 1024 * 1024 + 18 * 1000 * 1000);
    CU_ASSERT_TRUE(bytes < 4 * 1024 * 1024 + 21 * 1000 * 1000);
    teardown(w);
}

static void a_node_that_cannot_be_reached_is_tried_one_follower_at_a_time(void)
{
    struct worker_fixture *w = setup(32);

    w->unreachable[3] = true;
    w->appends_by_itself[2] = true;
    for (int32_t p = 0; p < 32; p++) { /* all its followers fail */
        worker_answer_fetch(w, settle(w), p, 0, 1, 10);
        worker_run_ms(w, 0);
    }
    uint32_t before = w->prepares[3];
    for (int i = 0; i < 10; i++) {
        worker_run_ms(w, 500);
        worker_answer_fetch(w, settle(w), -1, 0, 0, 0);
    }
    CU_ASSERT_TRUE(w->prepares[3] - before > 5);
    CU_ASSERT_TRUE(w->prepares[3] - before <= 26); /* five a second */
    w->unreachable[3] = false;
    before = w->prepares[3];
    uint32_t calls = w->prepare_calls[3];
    worker_run_ms(w, 1500);
    CU_ASSERT_TRUE(w->prepares[3] - before >= 32);
    CU_ASSERT_TRUE(w->prepare_calls[3] - calls <= 8); /* many to a request */
    teardown(w);
}

static void many_partitions_are_prepared_by_one_request(void)
{
    struct worker_fixture *w = setup(64);

    CU_ASSERT_EQUAL(w->prepares[2], 64);
    CU_ASSERT_EQUAL(w->prepare_calls[2], 1);
    w->leader_epoch = 6;
    worker_publish(w);
    CU_ASSERT_EQUAL(w->prepares[2], 128);
    CU_ASSERT_EQUAL(w->prepare_calls[2], 2);
    teardown(w);
}

static void an_idle_follower_that_was_started_anew_is_prepared_and_reported(void)
{
    struct worker_fixture *w = setup(3);
    uint32_t reports = w->reports;

    w->incarnation[2] = 77;
    worker_publish(w);
    worker_run_ms(w, 500);
    CU_ASSERT_EQUAL(w->prepares[2], 6);
    CU_ASSERT_EQUAL(w->prepares[3], 3);
    CU_ASSERT(w->reports >= reports + 3);
    teardown(w);
}

/* Its leader forgets what it reported before. While nothing is produced nobody reported it anew: it
 * stayed out of the in-sync set, and if that was too small nothing was produced. */
static void a_follower_that_becomes_unfit_or_fit_is_prepared_and_reported_anew(void)
{
    struct worker_fixture *w = setup(1);
    uint32_t others = w->prepares[2];

    for (int32_t turn = 1; turn <= 2; turn++) {
        uint32_t prepares = w->prepares[3];
        uint32_t reports = w->reports;
        w->unfit = turn == 1 ? 3 : 0;
        worker_publish(w);
        worker_run_ms(w, 200);
        CU_ASSERT_EQUAL(w->prepares[3], prepares + 1);
        CU_ASSERT_TRUE(w->reports > reports);
        worker_publish(w); /* nothing changed: nothing is done */
        worker_run_ms(w, 200);
        CU_ASSERT_EQUAL(w->prepares[3], prepares + 1);
    }
    CU_ASSERT_EQUAL(w->prepares[2], others);
    teardown(w);
}

/* Until the coordinator knows, nobody else does its work. */
static void a_worker_that_stops_works_until_it_has_said_so(void)
{
    struct worker_fixture *w = setup(1);
    uint32_t fetches = worker_fetch_count(w, true);
    bool done = false;

    replication_stop(w->worker, &done);
    CU_ASSERT_FALSE(done);
    CU_ASSERT_EQUAL(worker_fetch_count(w, true), fetches);
    for (int i = 0; i < 20 && !done; i++) {
        worker_run_ms(w, 100); /* the fixture answers one heartbeat after the other, not at once */
    }
    CU_ASSERT_TRUE(done);
    teardown(w);
}

static void who_is_not_in_sync_is_reported_every_second(void)
{
    struct worker_fixture *w = setup(4);
    uint32_t reports = w->reports;

    worker_run_ms(w, 5000);
    CU_ASSERT_EQUAL(w->reports, reports);
    w->apart = 1;
    worker_publish(w);
    worker_run_ms(w, 3500);
    CU_ASSERT_EQUAL(w->reports, reports + 3 * 4);
    w->apart = 0;
    worker_publish(w);
    worker_run_ms(w, 5000);
    CU_ASSERT_EQUAL(w->reports, reports + 3 * 4);
    teardown(w);
}

static bool measures(const struct ria_metrics *metrics, const char *line)
{
    struct ria_buf text;

    ria_buf_init(&text, 1 << 20);
    CU_ASSERT_EQUAL(ria_metrics_render(metrics, &text), RIA_OK);
    CU_ASSERT_EQUAL(ria_buf_append(&text, "", 1), RIA_OK);
    bool found = strstr((const char *)text.data, line) != NULL;
    ria_buf_fini(&text);
    return found;
}

/* The size of a payload that an error does not have was counted: whatever was in that memory. */
static void a_refused_fetch_counts_no_bytes(void)
{
    struct worker_fixture *w = setup_behind(0, 1000, 0);
    struct ria_metrics *metrics = NULL;

    CU_ASSERT_EQUAL_FATAL(ria_metrics_new(&metrics), RIA_OK);
    replication_register_metrics(w->worker, metrics);
    fake_rpc_refuse(worker_fetch(w, false, 0), RIA_ERR_NOT_LEADER);
    fake_rpc_refuse(settle(w), RIA_ERR_NOT_FOUND);
    worker_run_ms(w, 0);
    CU_ASSERT_TRUE(measures(metrics, "\nriacho_replication_fetched_bytes_total 0\n"));
    CU_ASSERT_TRUE(measures(metrics, "\nriacho_replication_caught_up_bytes_total 0\n"));
    teardown(w);
    ria_metrics_free(metrics);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_worker_that_stops_works_until_it_has_said_so),
    HARNESS_TEST(who_is_not_in_sync_is_reported_every_second),
    HARNESS_TEST(an_idle_follower_that_was_started_anew_is_prepared_and_reported),
    HARNESS_TEST(the_first_fetch_is_full_and_names_all),
    HARNESS_TEST(a_batch_names_its_partition_only),
    HARNESS_TEST(an_acknowledgement_sends_no_fetch),
    HARNESS_TEST(only_what_a_follower_has_on_disk_is_reported),
    HARNESS_TEST(a_follower_is_told_by_which_settings_its_leader_acts),
    HARNESS_TEST(an_idle_fetch_is_followed_by_one_that_names_nothing),
    HARNESS_TEST(a_session_the_leader_forgot_begins_anew_at_once),
    HARNESS_TEST(a_lost_fetch_makes_the_next_one_full),
    HARNESS_TEST(a_refused_full_fetch_is_tried_again_later),
    HARNESS_TEST(what_a_late_reply_says_of_an_older_wish_is_void),
    HARNESS_TEST(partitions_that_are_not_its_any_more_are_forgotten),
    HARNESS_TEST(another_worker_takes_its_share_and_gives_it_back),
    HARNESS_TEST(a_wish_is_renewed_only_when_there_is_room),
    HARNESS_TEST(a_node_that_does_not_answer_delays_nobody),
    HARNESS_TEST(a_refused_fetch_counts_no_bytes),
    HARNESS_TEST(catch_up_goes_in_frames_behind_in_sync_data),
    HARNESS_TEST(a_follower_that_reaches_the_cursor_gets_what_the_others_get),
    HARNESS_TEST(catch_up_of_the_far_behind_flows_at_the_rate),
    HARNESS_TEST(a_node_that_cannot_be_reached_is_tried_one_follower_at_a_time),
    HARNESS_TEST(many_partitions_are_prepared_by_one_request),
    HARNESS_TEST(a_follower_that_becomes_unfit_or_fit_is_prepared_and_reported_anew),
};
HARNESS_MAIN(tests);

/* What only a peer can tell: which of two histories is right, and where a lost tail ends. */
#include "services/storage/doubts.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/trio.h"

enum { RECORDS = TRIO_RECORDS };

static struct trio trio;
static struct trio *const t = &trio;

/* Nobody but the leader can tell. It stayed out of sync for ever, and fenced its leader. */
static void a_flipped_epoch_in_the_last_batch_is_corrected_by_the_leader(void)
{
    trio_begin(t);
    trio_flip(t, 1, RECORDS - 1, 14); /* 5 becomes 2053 */
    trio_restart(t, 1);
    trio_run_ms(t, 5);
    CU_ASSERT_EQUAL(fixture_info(t->nodes[1]).leader_epoch, 5);
    for (int i = 0; i < 100 && fixture_logged(t->nodes[1], "storage.repaired") == 0; i++) {
        trio_run_ms(t, 10);
    }
    CU_ASSERT_EQUAL(fixture_logged(t->nodes[1], "storage.epochs_corrected"), 1);
    trio_heal(t, 1);
    trio_run_ms(t, 100);
    CU_ASSERT_EQUAL(t->told[1], 0);
    trio_check_same_files(t);
    trio_end(t);
}

/* It rejected the real epochs as old ones: no role, no prepare, and its damage stayed. */
static void two_flipped_epochs_in_the_last_batches_are_corrected_by_the_leader(void)
{
    trio_begin(t);
    trio_flip(t, 1, RECORDS - 2, 15); /* 5 becomes 13 */
    trio_flip(t, 1, RECORDS - 1, 14); /* 5 becomes 2053 */
    trio_restart(t, 1);
    trio_run_ms(t, 5);
    CU_ASSERT_EQUAL(fixture_info(t->nodes[1]).leader_epoch, 5);
    for (int i = 0; i < 100 && fixture_logged(t->nodes[1], "storage.repaired") == 0; i++) {
        trio_run_ms(t, 10);
    }
    CU_ASSERT_EQUAL(fixture_logged(t->nodes[1], "storage.epochs_corrected"), 1);
    trio_heal(t, 1);
    trio_run_ms(t, 100);
    CU_ASSERT_EQUAL(t->told[1], 0);
    trio_check_same_files(t);
    trio_end(t);
}

/* What the leader of this epoch does not have now, after the loss, need not come back. It stayed
 * unfit until the leader's log had grown, or a new epoch began. */
static void an_idle_leader_tells_where_a_lost_tail_ends(void)
{
    trio_begin(t);
    CU_ASSERT_EQUAL(trio_append(t, 1, RECORDS, 5, RECORDS), RIA_OK);
    trio_run_ms(t, 1500); /* the checkpoint */
    trio_lose_tail(t, 1, RECORDS);
    CU_ASSERT_EQUAL(trio_prepare(t, 1, RECORDS), RIA_OK);
    trio_run_ms(t, 300);
    CU_ASSERT_FALSE(fixture_info(t->nodes[1]).damaged);
    CU_ASSERT_EQUAL(t->told[1], 0);
    trio_end(t);
}

/* A history from before the loss does not shorten it: the leader has more now. */
static void a_lost_tail_that_the_leader_has_stays_lost(void)
{
    trio_begin(t);
    trio_lose_tail(t, 1, 40);
    CU_ASSERT_EQUAL(trio_prepare(t, 1, 40), RIA_OK);
    trio_run_ms(t, 300);
    CU_ASSERT_TRUE(fixture_info(t->nodes[1]).damaged);
    CU_ASSERT_EQUAL(t->told[1], 2);
    trio_end(t);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_flipped_epoch_in_the_last_batch_is_corrected_by_the_leader),
    HARNESS_TEST(two_flipped_epochs_in_the_last_batches_are_corrected_by_the_leader),
    HARNESS_TEST(an_idle_leader_tells_where_a_lost_tail_ends),
    HARNESS_TEST(a_lost_tail_that_the_leader_has_stays_lost),
};

HARNESS_MAIN(tests);

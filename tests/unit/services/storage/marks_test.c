/* What tells damage from a tail, the marks and the checkpoint, and what if they are bad, too. */
#include "services/storage/marks.h"

#include <stdlib.h>

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/trio.h"

enum { RECORDS = TRIO_RECORDS };

static struct trio trio;
static struct trio *const t = &trio;

/* Within the second before the checkpoint. It was cut as a tail, and the replica knew nothing. */
static void damage_of_a_moment_ago_is_no_tail_after_a_kill(void)
{
    trio_begin(t);
    CU_ASSERT_EQUAL(trio_append(t, 1, RECORDS, 5, RECORDS), RIA_OK);
    fixture_run_ms(t->nodes[1], 5);
    trio_flip(t, 1, RECORDS + 4, 66);
    trio_restart(t, 1);
    CU_ASSERT_TRUE(fixture_info(t->nodes[1]).damaged);
    CU_ASSERT_EQUAL(fixture_info(t->nodes[1]).end_offset, RECORDS + 4);
    CU_ASSERT_EQUAL(fixture_logged(t->nodes[1], "storage.tail_cut"), 0);
    trio_end(t);
}

/* The marks were the only thing that told this damage from a tail, and both copies are bad. The
 * node led with what it had cut off missing. */
static void damage_of_a_moment_ago_is_no_tail_if_the_marks_rot_too(void)
{
    for (int copies = 1; copies <= 2; copies++) {
        trio_begin(t);
        CU_ASSERT_EQUAL(trio_append(t, 1, RECORDS, 5, RECORDS), RIA_OK);
        fixture_run_ms(t->nodes[1], 5);
        fixture_kill(t->nodes[1]);
        for (int i = 0; i < copies; i++) {
            CU_ASSERT_EQUAL(
                ria_fs_sim_flip_bit(
                    t->nodes[1]->fs, "data/marks", (uint64_t)i * MARKS_SLOT_SIZE + 38, 2
                ),
                RIA_OK
            );
        }
        trio_flip(t, 1, RECORDS + 4, 66);
        CU_ASSERT_TRUE_FATAL(fixture_start(t->nodes[1]));
        fixture_kill(t->nodes[1]); /* before it knew anything of the log, perhaps */
        CU_ASSERT_TRUE_FATAL(fixture_start(t->nodes[1]));
        trio_run_ms(t, 50);
        CU_ASSERT_EQUAL(fixture_logged(t->nodes[1], "storage.marks_lost"), copies == 2 ? 1 : 0);
        CU_ASSERT_TRUE(fixture_info(t->nodes[1]).damaged);
        CU_ASSERT_EQUAL(t->told[1], 2);
        CU_ASSERT_EQUAL(fixture_logged(t->nodes[1], "storage.tail_cut"), 0);
        trio_end(t);
    }
}

/* What the marks hid was nothing. */
static void marks_that_rot_alone_make_nothing_unfit(void)
{
    trio_begin(t);
    fixture_kill(t->nodes[1]);
    for (uint64_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(
            ria_fs_sim_flip_bit(t->nodes[1]->fs, "data/marks", i * MARKS_SLOT_SIZE + 38, 2), RIA_OK
        );
    }
    CU_ASSERT_TRUE_FATAL(fixture_start(t->nodes[1]));
    trio_run_ms(t, 1500);
    CU_ASSERT_EQUAL(fixture_logged(t->nodes[1], "storage.marks_lost"), 1);
    CU_ASSERT_FALSE(fixture_info(t->nodes[1]).damaged);
    CU_ASSERT_EQUAL(fixture_info(t->nodes[1]).end_offset, RECORDS);
    trio_end(t);
}

static void spoil_checkpoint(int32_t number, int copies)
{
    uint8_t *data = NULL;
    size_t size = 0;

    fixture_kill(t->nodes[number]);
    CU_ASSERT_EQUAL_FATAL(
        ria_fs_read_all(t->nodes[number]->fs, "data/checkpoint", TRIO_BYTES_MAX, &data, &size),
        RIA_OK
    );
    free(data);
    for (int i = 0; i < copies; i++) {
        CU_ASSERT_EQUAL(
            ria_fs_sim_flip_bit(
                t->nodes[number]->fs, "data/checkpoint", (size_t)i * (size / 2) + 30, 3
            ),
            RIA_OK
        );
    }
    if (copies == 2) { /* after a power cut there may be no marks either */
        CU_ASSERT_EQUAL(ria_fs_unlink(t->nodes[number]->fs, "data/marks"), RIA_OK);
    }
}

/* It was taken for a missing one; with it went what tells damage from a tail. */
static void a_damaged_checkpoint_takes_no_damage_for_a_tail(void)
{
    for (int copies = 1; copies <= 2; copies++) {
        trio_begin(t);
        spoil_checkpoint(1, copies);
        trio_flip(t, 1, RECORDS - 1, 66);
        CU_ASSERT_TRUE_FATAL(fixture_start(t->nodes[1]));
        trio_run_ms(t, 50);
        CU_ASSERT_TRUE(fixture_info(t->nodes[1]).damaged);
        CU_ASSERT_EQUAL(t->told[1], 2);
        CU_ASSERT_EQUAL(fixture_logged(t->nodes[1], "storage.tail_cut"), 0);
        CU_ASSERT_EQUAL(trio_prepare(t, 1, RECORDS), RIA_OK);
        CU_ASSERT_EQUAL(trio_append(t, 1, RECORDS - 1, 1, RECORDS), RIA_OK);
        trio_run_ms(t, 300);
        CU_ASSERT_FALSE(fixture_info(t->nodes[1]).damaged);
        CU_ASSERT_EQUAL(t->told[1], 0);
        trio_check_same_files(t);
        trio_end(t);
    }
}

/* Where the log itself shows no damage, none is made up. */
static void a_damaged_checkpoint_alone_makes_nothing_unfit(void)
{
    trio_begin(t);
    spoil_checkpoint(1, 2);
    CU_ASSERT_TRUE_FATAL(fixture_start(t->nodes[1]));
    trio_run_ms(t, 50);
    CU_ASSERT_FALSE(fixture_info(t->nodes[1]).damaged);
    CU_ASSERT_EQUAL(fixture_info(t->nodes[1]).end_offset, RECORDS);
    trio_end(t);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(damage_of_a_moment_ago_is_no_tail_after_a_kill),
    HARNESS_TEST(damage_of_a_moment_ago_is_no_tail_if_the_marks_rot_too),
    HARNESS_TEST(marks_that_rot_alone_make_nothing_unfit),
    HARNESS_TEST(a_damaged_checkpoint_takes_no_damage_for_a_tail),
    HARNESS_TEST(a_damaged_checkpoint_alone_makes_nothing_unfit),
};

HARNESS_MAIN(tests);

#include "services/coordinator/leader_choice.h"

#include "tests/lib/harness.h"

enum { NODES = 4, MASKS = 1 << NODES };

/* Bit i of a mask is node i + 1. */
static struct node_list list_of(uint32_t mask)
{
    struct node_list list = {.count = 0};

    for (int32_t i = 0; i < NODES; i++) {
        if ((mask >> i & 1) != 0) {
            node_list_add(&list, i + 1);
        }
    }
    return list;
}

static struct node_set set_of(uint32_t mask)
{
    struct node_set set = {{0}};

    for (int32_t i = 0; i < NODES; i++) {
        if ((mask >> i & 1) != 0) {
            node_set_add(&set, i + 1);
        }
    }
    return set;
}

static uint32_t mask_of(const struct node_list *list)
{
    uint32_t mask = 0;

    for (uint32_t i = 0; i < list->count; i++) {
        mask |= UINT32_C(1) << (list->ids[i] - 1);
    }
    return mask;
}

static uint32_t bit_of(int32_t node_id)
{
    return node_id == -1 ? 0 : UINT32_C(1) << (node_id - 1);
}

static uint32_t count_of(uint32_t mask)
{
    return (uint32_t)__builtin_popcount(mask);
}

/* Called with every state of a partition with four replicas that the rules allow, and every minimum
 * and set of usable nodes. */
typedef void (*state_fn)(const struct partition_row *row, uint32_t usable, int64_t min_insync);

static bool is_bounded(uint32_t isr, uint32_t eligible, uint32_t min_insync)
{
    return eligible == 0 || count_of(isr) + count_of(eligible) <= min_insync;
}

static bool is_allowed(const struct partition_row *row, uint32_t min_insync)
{
    uint32_t isr = mask_of(&row->isr);
    uint32_t eligible = mask_of(&row->eligible);

    return isr != 0 && (isr & eligible) == 0 &&
           (row->leader == -1 ||
            (node_list_has(&row->isr, row->leader) && is_bounded(isr, eligible, min_insync)));
}

static void with_leaders(struct partition_row *row, uint32_t usable, uint32_t min, state_fn fn)
{
    for (int32_t leader = 0; leader <= NODES; leader++) {
        row->leader = leader == 0 ? -1 : leader;
        if (is_allowed(row, min)) {
            fn(row, usable, min);
        }
    }
}

/* Until one is wrong: the others would be too, by the hundred thousand. */
static void each_state(state_fn fn)
{
    unsigned failures = CU_get_number_of_failures();

    for (uint32_t code = 0; code < MASKS * MASKS * MASKS && CU_get_number_of_failures() == failures;
         code++) {
        uint32_t isr = code % MASKS;
        uint32_t eligible = code / MASKS % MASKS;
        uint32_t usable = code / MASKS / MASKS;
        for (uint32_t min = 1; min <= NODES; min++) {
            for (uint32_t unfit = 0; unfit < MASKS && isr != 0; unfit++) {
                struct partition_row row = {
                    .replicas = {.ids = {3, 1, 4, 2}, .count = NODES},
                    .isr = list_of(isr),
                    .eligible = list_of(eligible),
                    .unfit = list_of(unfit),
                    .leader_epoch = 7,
                    .forced_epoch = -1,
                };
                with_leaders(&row, usable, min, fn);
            }
        }
    }
}

/* One failure of a rule is enough to be told of. */
#define MUST(condition)                \
    do {                               \
        if (!(condition)) {            \
            CU_ASSERT_TRUE(condition); \
        }                              \
    } while (0)

static void must_be_allowed(const struct partition_row *row, int64_t min_insync)
{
    MUST(is_allowed(row, (uint32_t)min_insync));
}

/* ---- the choice ---- */

static void check_choice(const struct partition_row *row, uint32_t usable, int64_t min_insync)
{
    static const int32_t order[NODES] = {3, 1, 4, 2};
    const struct node_set set = set_of(usable);
    uint32_t fit = usable & ~mask_of(&row->unfit);
    uint32_t candidates = fit & mask_of(&row->isr);
    int32_t expected = -1;

    (void)min_insync;
    candidates = candidates != 0 ? candidates : fit & mask_of(&row->eligible);
    for (int i = NODES - 1; i >= 0; i--) {
        expected = (candidates & bit_of(order[i])) != 0 ? order[i] : expected;
    }
    MUST(leader_choice(row, &set) == expected);

    bool preferred =
        (fit & mask_of(&row->isr) & bit_of(3)) != 0 && row->leader != 3 && row->leader != -1;
    MUST(leader_preferred(row, &set) == (preferred ? 3 : -1));
}

static void the_first_in_sync_leads_else_the_first_eligible(void)
{
    each_state(check_choice);
}

static void nobody_else_ever_leads(void)
{
    struct partition_row row = {
        .leader = -1,
        .replicas = {.ids = {1, 2, 3}, .count = 3},
        .isr = {.ids = {1}, .count = 1},
    };
    const struct node_set others = set_of(2 | 4);

    CU_ASSERT_EQUAL(leader_choice(&row, &others), -1);
    row.eligible = list_of(4);
    CU_ASSERT_EQUAL(leader_choice(&row, &others), 3);
    row.unfit = list_of(4);
    CU_ASSERT_EQUAL(leader_choice(&row, &others), -1);
}

/* ---- a new leader ---- */

static void check_set(const struct partition_row *row, uint32_t usable, int64_t min_insync)
{
    const struct node_set set = set_of(usable);
    int32_t leader = leader_choice(row, &set);
    struct partition_row next = *row;

    if (leader == -1) {
        return;
    }
    leader_set(&next, leader, min_insync);
    must_be_allowed(&next, min_insync);
    MUST(next.leader == leader);
    MUST(next.leader_epoch == 8);
    MUST(next.forced_epoch == -1);
    if (node_list_has(&row->isr, leader)) {
        MUST(node_list_equal(&next.isr, &row->isr));
        MUST(
            node_list_equal(&next.eligible, &row->eligible) ||
            !is_bounded(mask_of(&row->isr), mask_of(&row->eligible), (uint32_t)min_insync)
        );
    } else {
        MUST(mask_of(&next.isr) == bit_of(leader));
        /* All of them have what is committed, and the high watermark does not move: as many as may
         * be are eligible. */
        uint32_t whole = mask_of(&row->isr) | mask_of(&row->eligible);
        MUST(((mask_of(&next.eligible) | bit_of(leader)) & ~whole) == 0);
        MUST((int64_t)next.eligible.count + 1 == ria_min_i64(count_of(whole), min_insync));
    }
}

static void an_eligible_leader_begins_a_set_of_its_own(void)
{
    each_state(check_set);
}

static void a_forced_leader_is_alone_and_remembered(void)
{
    struct partition_row row = {
        .leader = 1,
        .leader_epoch = 4,
        .forced_epoch = -1,
        .replicas = {.ids = {1, 2, 3}, .count = 3},
        .isr = {.ids = {1}, .count = 1},
        .eligible = {.ids = {2}, .count = 1},
    };

    leader_force(&row, 3);
    CU_ASSERT_EQUAL(row.leader, 3);
    CU_ASSERT_EQUAL(row.leader_epoch, 5);
    CU_ASSERT_EQUAL(row.forced_epoch, 5);
    CU_ASSERT_EQUAL(mask_of(&row.isr), 4);
    CU_ASSERT_EQUAL(row.eligible.count, 0);
}

/* ---- leaving ---- */

static void check_leave(const struct partition_row *row, uint32_t usable, int64_t min_insync)
{
    (void)usable;
    for (int32_t id = 1; id <= NODES; id++) {
        struct partition_row next = *row;
        if (row->leader == id) {
            continue;
        }
        leader_leave(&next, id, min_insync);
        must_be_allowed(&next, min_insync);
        MUST(next.leader_epoch == row->leader_epoch);
        bool leaves = row->isr.count > 1 && node_list_has(&row->isr, id);
        uint32_t isr = mask_of(&row->isr) & ~(leaves ? bit_of(id) : 0);
        bool eligible = leaves && (count_of(isr) < min_insync || row->leader == -1);
        MUST(mask_of(&next.isr) == isr);
        MUST(mask_of(&next.eligible) == (mask_of(&row->eligible) | (eligible ? bit_of(id) : 0)));
    }
}

static void who_leaves_a_set_below_its_minimum_is_eligible(void)
{
    each_state(check_leave);
}

static void check_retire(const struct partition_row *row, uint32_t usable, int64_t min_insync)
{
    for (int32_t id = 1; id <= NODES; id++) {
        const struct node_set set = set_of(usable & ~bit_of(id));
        struct partition_row gone = *row;
        struct partition_row kept = *row;
        leader_retire(&gone, id, &set, min_insync, false);
        leader_retire(&kept, id, &set, min_insync, true);
        must_be_allowed(&gone, min_insync);
        must_be_allowed(&kept, min_insync);
        MUST(gone.leader != id);
        MUST(gone.isr.count == 1 || !node_list_has(&gone.isr, id));
        /* Nobody leads: who had it all may lead later. */
        uint32_t whole = mask_of(&row->isr) | mask_of(&row->eligible);
        MUST(gone.leader != -1 || (mask_of(&gone.isr) | mask_of(&gone.eligible)) == whole);
        MUST((gone.leader != row->leader && gone.leader != -1) == (gone.leader_epoch == 8));
        if (row->leader != id) {
            MUST(gone.leader == row->leader);
            MUST(kept.leader == row->leader);
        } else if (gone.leader == -1) {
            MUST(kept.leader == id);
            MUST(node_list_equal(&kept.isr, &row->isr));
            MUST(kept.leader_epoch == 7);
        } else {
            MUST(node_set_has(&set, gone.leader));
            MUST(kept.leader == gone.leader);
        }
    }
}

static void who_retires_leads_nothing_unless_it_is_kept(void)
{
    each_state(check_retire);
}

/* ---- sets that the leader asks for ---- */

static void check_change(const struct partition_row *row, uint32_t usable, int64_t min_insync)
{
    uint32_t isr = usable; /* any set will do */
    uint32_t before = mask_of(&row->isr);

    if (isr == 0) {
        return;
    }
    struct partition_row next = *row;
    const struct node_list list = list_of(isr);
    next.leader = list.ids[0];
    leader_change_isr(&next, &list, min_insync);
    must_be_allowed(&next, min_insync);
    uint32_t eligible = mask_of(&next.eligible);
    MUST(mask_of(&next.isr) == isr);
    MUST((eligible & ~(before | mask_of(&row->eligible))) == 0); /* nobody from elsewhere */
    MUST(count_of(isr) < min_insync || eligible == 0);
    if (count_of(isr | before | mask_of(&row->eligible)) <= min_insync) {
        MUST((eligible | isr) == (isr | before | mask_of(&row->eligible)));
    }
}

static void a_set_that_reaches_its_minimum_leaves_nobody_eligible(void)
{
    each_state(check_change);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(the_first_in_sync_leads_else_the_first_eligible),
    HARNESS_TEST(nobody_else_ever_leads),
    HARNESS_TEST(an_eligible_leader_begins_a_set_of_its_own),
    HARNESS_TEST(a_forced_leader_is_alone_and_remembered),
    HARNESS_TEST(who_leaves_a_set_below_its_minimum_is_eligible),
    HARNESS_TEST(who_retires_leads_nothing_unless_it_is_kept),
    HARNESS_TEST(a_set_that_reaches_its_minimum_leaves_nobody_eligible),
};
HARNESS_MAIN(tests);

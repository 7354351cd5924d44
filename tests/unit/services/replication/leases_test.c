#include "services/replication/leases.h"

#include "tests/lib/harness.h"

enum { PARTITIONS = 5000, WORKERS_MAX = 8 };

static struct ria_uuid id_of(uint32_t number)
{
    struct ria_uuid id = {{0}};

    for (size_t i = 0; i < RIA_UUID_SIZE; i++) {
        id.bytes[i] = (uint8_t)((number + 1) * (i + 7) * 31 + i);
    }
    return id;
}

/* Owners of all partitions, as numbers of id_of(), with workers first..first+count-1 alive. */
static void compute(uint32_t first, uint32_t count, uint32_t *out_owners)
{
    struct ria_uuid workers[WORKERS_MAX];
    struct leases leases;
    struct ria_uuid topic_id = id_of(100);

    leases_init(&leases);
    for (uint32_t i = 0; i < count; i++) {
        workers[i] = id_of(first + i);
    }
    CU_ASSERT_EQUAL_FATAL(leases_set(&leases, workers, count, 0), RIA_OK);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        out_owners[i] = first + leases_owner(&leases, &topic_id, i);
    }
    leases_fini(&leases);
}

static void nobody_has_a_lease_before_the_first_list(void)
{
    struct leases leases;
    struct ria_uuid topic_id = id_of(100);

    leases_init(&leases);
    CU_ASSERT_FALSE(leases_has(&leases, &topic_id, 0));
    leases_fini(&leases);
}

static void every_partition_has_exactly_one_worker(void)
{
    struct ria_uuid workers[3] = {id_of(0), id_of(1), id_of(2)};
    struct ria_uuid topic_id = id_of(100);
    struct leases leases[3];

    for (uint32_t w = 0; w < 3; w++) {
        leases_init(&leases[w]);
        CU_ASSERT_EQUAL(leases_set(&leases[w], workers, 3, w), RIA_OK);
    }
    for (int32_t i = 0; i < PARTITIONS; i++) {
        int owners = 0;
        for (uint32_t w = 0; w < 3; w++) {
            owners += leases_has(&leases[w], &topic_id, i) ? 1 : 0;
        }
        CU_ASSERT_EQUAL(owners, 1);
    }
    for (uint32_t w = 0; w < 3; w++) {
        leases_fini(&leases[w]);
    }
}

static void leases_are_even(void)
{
    static const uint32_t counts[] = {1, 2, 3, 5, 8};
    uint32_t owners[PARTITIONS];

    for (size_t c = 0; c < RIA_COUNT(counts); c++) {
        uint32_t had[WORKERS_MAX] = {0};
        compute(0, counts[c], owners);
        for (int32_t i = 0; i < PARTITIONS; i++) {
            had[owners[i]]++;
        }
        for (uint32_t w = 0; w < counts[c]; w++) {
            uint32_t fair = PARTITIONS / counts[c];
            CU_ASSERT_TRUE(had[w] >= fair - fair / 8);
            CU_ASSERT_TRUE(had[w] <= fair + fair / 8);
        }
    }
}

static void a_join_moves_only_what_the_new_worker_takes(void)
{
    uint32_t before[PARTITIONS];
    uint32_t after[PARTITIONS];
    uint32_t moved = 0;

    compute(0, 4, before);
    compute(0, 5, after);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        CU_ASSERT_TRUE(after[i] == before[i] || after[i] == 4);
        moved += after[i] != before[i] ? 1 : 0;
    }
    CU_ASSERT_TRUE(moved > PARTITIONS / 5 - PARTITIONS / 40);
    CU_ASSERT_TRUE(moved < PARTITIONS / 5 + PARTITIONS / 40);
}

static void a_leave_moves_only_what_the_worker_had(void)
{
    uint32_t before[PARTITIONS];
    uint32_t after[PARTITIONS];
    uint32_t taken[WORKERS_MAX] = {0};

    compute(0, 4, before); /* then 0 dies */
    compute(1, 3, after);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        CU_ASSERT_TRUE(before[i] == 0 || after[i] == before[i]);
        taken[after[i]] += before[i] == 0 ? 1 : 0;
    }
    for (uint32_t w = 1; w < 4; w++) { /* its share is spread over all others */
        CU_ASSERT_TRUE(taken[w] > PARTITIONS / 4 / 3 - PARTITIONS / 40);
    }
}

static void another_list_is_another_even_if_it_is_as_long(void)
{
    struct ria_uuid workers[2] = {id_of(0), id_of(1)};
    struct ria_uuid others[2] = {id_of(0), id_of(2)};
    struct leases leases;

    leases_init(&leases);
    CU_ASSERT_FALSE(leases_are(&leases, workers, 2, 0));
    CU_ASSERT_EQUAL(leases_set(&leases, workers, 2, 0), RIA_OK);
    CU_ASSERT_TRUE(leases_are(&leases, workers, 2, 0));
    CU_ASSERT_FALSE(leases_are(&leases, others, 2, 0));
    CU_ASSERT_FALSE(leases_are(&leases, workers, 2, 1));
    CU_ASSERT_FALSE(leases_are(&leases, workers, 1, 0));
    leases_fini(&leases);
}

static void the_index_in_the_list_decides_nothing(void)
{
    uint32_t shifted[PARTITIONS];
    uint32_t whole[PARTITIONS];

    compute(0, 3, whole);
    compute(1, 2, shifted); /* 1 and 2 are now first and second */
    for (int32_t i = 0; i < PARTITIONS; i++) {
        CU_ASSERT_TRUE(whole[i] == 0 || whole[i] == shifted[i]);
    }
}

static const struct harness_test tests[] = {
    HARNESS_TEST(nobody_has_a_lease_before_the_first_list),
    HARNESS_TEST(every_partition_has_exactly_one_worker),
    HARNESS_TEST(leases_are_even),
    HARNESS_TEST(a_join_moves_only_what_the_new_worker_takes),
    HARNESS_TEST(a_leave_moves_only_what_the_worker_had),
    HARNESS_TEST(another_list_is_another_even_if_it_is_as_long),
    HARNESS_TEST(the_index_in_the_list_decides_nothing),
};
HARNESS_MAIN(tests);

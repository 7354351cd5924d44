/* DescribeGroups. */
#include <stdio.h>
#include <string.h>

#include "schemas/gen/describe_groups_request.h"
#include "schemas/gen/describe_groups_response.h"

#include "services/shared/group_operations.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/group_fixture.h"

static ria_err describe(
    struct fixture *f,
    const char *name,
    const char *after,
    int32_t limit,
    struct describe_groups_response *out
)
{
    const struct describe_groups_request r = {
        .name = ria_slice_cstr(name), .after = ria_slice_cstr(after), .limit = limit};

    return fixture_call(f, API_DESCRIBE_GROUPS, &r, out);
}

static void who_has_what_until_when(void)
{
    struct fixture f;
    struct group_read_result read;
    struct describe_groups_response result;

    group_up(&f);
    CU_ASSERT_EQUAL(
        group_call_read(&f, (struct group_ask){.member = "one", .end = 10, .max = 1}, &read), RIA_OK
    );
    int32_t partition = read.granted[0].partition;
    int64_t lease = read.granted[0].lease_id;
    fixture_advance(&f, 1000);
    CU_ASSERT_EQUAL(describe(&f, "g", "", 0, &result), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(result.groups_count, 1);
    CU_ASSERT_EQUAL(result.groups[0].mode, 0);
    CU_ASSERT_EQUAL(result.groups[0].member_count, 1);
    CU_ASSERT_EQUAL_FATAL(result.groups[0].members_count, 1);
    CU_ASSERT_TRUE(ria_slice_equal(result.groups[0].members[0].name, RIA_SLICE_LITERAL("one")));
    CU_ASSERT_EQUAL(result.groups[0].members[0].left_ms, GROUP_SESSION_MS - 1000);
    CU_ASSERT_EQUAL(result.groups[0].members[0].topics_count, 1);
    CU_ASSERT_EQUAL_FATAL(result.groups[0].partitions_count, GROUP_PARTITIONS_A);
    for (int32_t i = 0; i < GROUP_PARTITIONS_A; i++) {
        const struct describe_groups_response_described_group_partition *p =
            &result.groups[0].partitions[i];
        CU_ASSERT_EQUAL(p->partition, i);
        CU_ASSERT_EQUAL(p->position, 0);
        CU_ASSERT_TRUE(ria_slice_equal(p->member, RIA_SLICE_LITERAL("one")));
        CU_ASSERT_EQUAL(p->lease_id, i == partition ? lease : 0);
        CU_ASSERT_EQUAL(p->lease_left_ms, i == partition ? GROUP_LEASE_MS - 1000 : 0);
        CU_ASSERT_EQUAL(p->frontier, -1);
        CU_ASSERT_EQUAL(p->next, -1);
    }
    /* Nothing is written by looking; what is past shows as past. */
    fixture_advance(&f, GROUP_SESSION_MS);
    CU_ASSERT_EQUAL(describe(&f, "g", "", 0, &result), RIA_OK);
    CU_ASSERT_EQUAL(result.groups[0].member_count, 0);
    CU_ASSERT_EQUAL(result.groups[0].members_count, 0);
    CU_ASSERT_TRUE(result.groups[0].partitions[partition].lease_left_ms < 0);
    CU_ASSERT_EQUAL(describe(&f, "nobody", "", 0, &result), RIA_ERR_NOT_FOUND);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.text, "\"nobody\""));
    fixture_close(&f);
}

static void a_held_lease_ends_with_its_members_session(void)
{
    struct fixture f;
    struct group_read_result read;
    struct describe_groups_response result;

    group_up(&f);
    struct group_ask ask = {.member = "one", .end = 10, .hold = true};
    CU_ASSERT_EQUAL(group_call_read(&f, ask, &read), RIA_OK);
    fixture_advance(&f, 500);
    CU_ASSERT_EQUAL(describe(&f, "g", "", 0, &result), RIA_OK);
    CU_ASSERT_EQUAL(result.groups[0].partitions[2].lease_left_ms, GROUP_SESSION_MS - 500);
    CU_ASSERT_EQUAL(result.groups[0].partitions[2].next, 0);
    CU_ASSERT_TRUE(ria_slice_equal(result.groups[0].partitions[2].holder, RIA_SLICE_LITERAL("one"))
    );
    fixture_close(&f);
}

static void groups_come_in_pages(void)
{
    struct fixture f;
    struct group_read_result read;
    struct describe_groups_response result;
    char after[32] = "";
    int pages = 0;
    int count = 0;

    group_up(&f);
    for (int i = 0; i < 25; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "g%02d", 24 - i);
        struct group_ask ask = {.group = name};
        CU_ASSERT_EQUAL(group_call_read(&f, ask, &read), RIA_OK);
    }
    do {
        CU_ASSERT_EQUAL_FATAL(describe(&f, "", after, 10, &result), RIA_OK);
        for (uint32_t i = 0; i < result.groups_count; i++) {
            char name[32];
            (void)snprintf(name, sizeof(name), "g%02d", count++);
            CU_ASSERT_TRUE(ria_slice_equal(result.groups[i].group, ria_slice_cstr(name)));
            CU_ASSERT_EQUAL(result.groups[i].partitions_count, 0);
            (void)snprintf(after, sizeof(after), "%s", name);
        }
        pages++;
    } while (result.more);
    CU_ASSERT_EQUAL(pages, 3);
    CU_ASSERT_EQUAL(count, 25);
    fixture_close(&f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(who_has_what_until_when),
    HARNESS_TEST(a_held_lease_ends_with_its_members_session),
    HARNESS_TEST(groups_come_in_pages),
};
HARNESS_MAIN(tests);

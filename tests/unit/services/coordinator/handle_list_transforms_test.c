/* ListTransforms through the whole coordinator. */
#include <string.h>

#include "schemas/gen/list_transforms_request.h"
#include "schemas/gen/list_transforms_response.h"

#include "services/coordinator/service.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

static void set_up_transform(struct fixture *f)
{
    const struct create_transform_request request = fixture_transform(100, "big", "a");

    fixture_up(f);
    fixture_register_nodes(f, 1);
    CU_ASSERT_EQUAL(fixture_create_topic(f, 1, "a"), RIA_OK);
    CU_ASSERT_EQUAL(fixture_call(f, API_CREATE_TRANSFORM, &request, NULL), RIA_OK);
}

static void transforms_are_listed_by_name(void)
{
    struct fixture f;
    struct list_transforms_response response;
    struct list_transforms_request request = {.name = RIA_SLICE_EMPTY};
    const struct create_transform_request second = fixture_transform(200, "alpha", "a");

    set_up_transform(&f);
    CU_ASSERT_EQUAL(fixture_call(&f, API_CREATE_TRANSFORM, &second, NULL), RIA_OK);
    CU_ASSERT_EQUAL(fixture_call(&f, API_LIST_TRANSFORMS, &request, &response), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(response.transforms_count, 2);
    CU_ASSERT_TRUE(ria_slice_equal(response.transforms[0].name, ria_slice_cstr("alpha")));
    CU_ASSERT_TRUE(
        ria_slice_equal(response.transforms[1].errors_topic, ria_slice_cstr("big.errors"))
    );
    CU_ASSERT_EQUAL(response.transforms[1].tasks_count, 4);
    CU_ASSERT_EQUAL(response.transforms[1].created_ms, f.wall_ms);
    request.name = RIA_SLICE_LITERAL("nothing");
    CU_ASSERT_EQUAL(fixture_call(&f, API_LIST_TRANSFORMS, &request, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.transforms_count, 0);
    fixture_close(&f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(transforms_are_listed_by_name),
};
HARNESS_MAIN(tests);

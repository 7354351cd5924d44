#include "services/gateway/router.h"

#include <string.h>

#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/fake_request.h"

static const struct route routes[] = {
    {HTTP_GET, ROUTE_BODY_NONE, true, "/", NULL},
    {HTTP_GET, ROUTE_BODY_NONE, true, "/topics/{t}", NULL},
    {HTTP_POST, ROUTE_BODY_RECORDS, true, "/topics/{t}", NULL},
    {HTTP_GET, ROUTE_BODY_NONE, false, "/v1/topics/{t}/partitions/{p}/records", NULL},
    {HTTP_OTHER, ROUTE_BODY_NONE, false, NULL, NULL},
};

/* Index of the route, or -1 - match. */
static int match(struct fake_request *fake, const char *method, const char *path)
{
    fake_request_init(fake, method, path, NULL);
    route_match result = router_match(routes, &fake->request);
    return result == ROUTE_FOUND ? (int)(fake->request.route - routes) : -1 - (int)result;
}

static bool param_is(const struct fake_request *fake, uint32_t index, const char *wanted)
{
    return index < fake->request.param_count &&
           ria_slice_equal(fake->request.params[index], ria_slice_cstr(wanted));
}

static void routes_are_found_by_method_and_path(void)
{
    struct fake_request fake;

    CU_ASSERT_EQUAL(match(&fake, "GET", "/"), 0);
    fake_request_fini(&fake);
    CU_ASSERT_EQUAL(match(&fake, "GET", "/topics/a"), 1);
    CU_ASSERT_TRUE(param_is(&fake, 0, "a"));
    fake_request_fini(&fake);
    CU_ASSERT_EQUAL(match(&fake, "POST", "/topics/a/"), 2);
    fake_request_fini(&fake);
    CU_ASSERT_EQUAL(match(&fake, "GET", "/v1/topics/x/partitions/12/records?offset=1"), 3);
    CU_ASSERT_TRUE(param_is(&fake, 0, "x") && param_is(&fake, 1, "12"));
    fake_request_fini(&fake);
}

static void an_encoded_slash_does_not_split(void)
{
    struct fake_request fake;

    CU_ASSERT_EQUAL(match(&fake, "GET", "/topics/a%2Fb"), 1);
    CU_ASSERT_TRUE(param_is(&fake, 0, "a/b"));
    fake_request_fini(&fake);
    CU_ASSERT_EQUAL(match(&fake, "GET", "/%74opics/a"), -1 - ROUTE_NO_PATH);
    fake_request_fini(&fake);
}

static void unknown_paths_are_not_found(void)
{
    static const char *const paths[] = {
        "/topic",
        "/topics",
        "/topics/a/b",
        "//",
        "/topics//",
        "topics/a",
        "",
        "*",
        "/a/b/c/d/e/f/g/h/i/j/k/l/m",
    };

    for (size_t i = 0; i < RIA_COUNT(paths); i++) {
        struct fake_request fake;
        CU_ASSERT_EQUAL(match(&fake, "GET", paths[i]), -1 - ROUTE_NO_PATH);
        fake_request_fini(&fake);
    }
}

static void a_wrong_method_says_which_are_allowed(void)
{
    struct fake_request fake;

    CU_ASSERT_EQUAL(match(&fake, "DELETE", "/topics/a"), -1 - ROUTE_NO_METHOD);
    CU_ASSERT_EQUAL(fake.request.extra_count, 1);
    CU_ASSERT_STRING_EQUAL(fake.request.extra[0].name, "Allow");
    CU_ASSERT_STRING_EQUAL(fake.request.extra[0].value, "GET, HEAD, POST");
    fake_request_fini(&fake);
    CU_ASSERT_EQUAL(match(&fake, "GET", "/topics/%zz"), -1 - ROUTE_BAD_PATH);
    fake_request_fini(&fake);
}

static bool dialect_is_v2(const char *path)
{
    struct fake_request fake;

    fake_request_init(&fake, "GET", path, NULL);
    bool is_v2 = router_is_v2(&fake.request);
    fake_request_fini(&fake);
    return is_v2;
}

static void the_dialect_follows_the_path(void)
{
    CU_ASSERT_TRUE(dialect_is_v2("/topics/x/nothing"));
    CU_ASSERT_TRUE(dialect_is_v2("/consumers/g"));
    CU_ASSERT_TRUE(dialect_is_v2("/"));
    CU_ASSERT_FALSE(dialect_is_v2("/topicsx"));
    CU_ASSERT_FALSE(dialect_is_v2("/v1/nothing"));
}

static const char *choose(const char *accept)
{
    static const char *const types[] = {"application/a+json", "application/json", "text/x", NULL};
    const char *chosen = media_type_choose(ria_slice_cstr(accept), types);

    return chosen == NULL ? "none" : chosen;
}

static void accept_is_honoured_with_weights(void)
{
    CU_ASSERT_STRING_EQUAL(choose(NULL), "application/a+json");
    CU_ASSERT_STRING_EQUAL(choose(""), "application/a+json");
    CU_ASSERT_STRING_EQUAL(choose("*/*"), "application/a+json");
    CU_ASSERT_STRING_EQUAL(choose("application/json"), "application/json");
    CU_ASSERT_STRING_EQUAL(choose("Application/JSON ; q=0.4 , text/*;q=0.5"), "text/x");
    CU_ASSERT_STRING_EQUAL(choose("application/*, application/a+json;q=0"), "application/json");
    CU_ASSERT_STRING_EQUAL(choose("text/html, */*;q=0.1"), "application/a+json");
    CU_ASSERT_STRING_EQUAL(choose("text/html"), "none");
    CU_ASSERT_STRING_EQUAL(choose("application/json;q=0"), "none");
    CU_ASSERT_STRING_EQUAL(choose("application/json;q=0.000, text/x;q=0.001"), "text/x");
    CU_ASSERT_STRING_EQUAL(choose(",;,=;q"), "none");
}

static void media_types_ignore_case_and_parameters(void)
{
    CU_ASSERT_TRUE(
        media_type_is(RIA_SLICE_LITERAL("Application/Json; charset=utf-8"), "application/json")
    );
    CU_ASSERT_FALSE(media_type_is(RIA_SLICE_LITERAL("application/jsonx"), "application/json"));
    CU_ASSERT_FALSE(media_type_is(RIA_SLICE_NULL, "application/json"));
}

static const struct harness_test tests[] = {
    HARNESS_TEST(routes_are_found_by_method_and_path),
    HARNESS_TEST(an_encoded_slash_does_not_split),
    HARNESS_TEST(unknown_paths_are_not_found),
    HARNESS_TEST(a_wrong_method_says_which_are_allowed),
    HARNESS_TEST(the_dialect_follows_the_path),
    HARNESS_TEST(accept_is_honoured_with_weights),
    HARNESS_TEST(media_types_ignore_case_and_parameters),
};

HARNESS_MAIN(tests);

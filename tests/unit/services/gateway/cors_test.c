#include "services/gateway/cors.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/fake_request.h"

#define TWO "https://a.example,http://b.example:8080"

/* An answer as a handler gives it, if the preflight did not. */
static bool has_fields(
    const char *origins,
    const char *method,
    const char *path,
    const char *origin,
    const char *wanted_fields
)
{
    struct fake_request fake;

    fake_request_init(&fake, method, path, NULL);
    if (origin != NULL) {
        fake_request_header(&fake, "Origin", origin);
    }
    if (strcmp(method, "OPTIONS") == 0) {
        fake_request_header(&fake, "Access-Control-Request-Method", "POST");
        fake_request_header(&fake, "Access-Control-Request-Headers", "riacho-key,content-type");
    }
    if (!cors_begin(origins, &fake.request)) {
        request_respond_static(&fake.request, 200, "text/plain", "hello");
    }
    bool same = fake.answers == 1 && strcmp(fake.fields, wanted_fields) == 0;
    if (!same) {
        (void)printf("[%d %s]", fake.status, fake.fields);
    }
    fake_request_fini(&fake);
    return same;
}

static void off_it_adds_nothing(void)
{
    CU_ASSERT_TRUE(has_fields(NULL, "GET", "/v1/topics", "https://a.example", ""));
    CU_ASSERT_TRUE(has_fields("", "GET", "/v1/topics", "https://a.example", ""));
    CU_ASSERT_TRUE(has_fields("", "OPTIONS", "/v1/topics", "https://a.example", ""));
}

static void listed_origins_are_allowed(void)
{
    CU_ASSERT_TRUE(has_fields(
        TWO,
        "GET",
        "/v1/topics",
        "http://b.example:8080",
        "Vary: Origin\nAccess-Control-Allow-Origin: http://b.example:8080\n"
        "Access-Control-Expose-Headers: *\n"
    ));
    CU_ASSERT_TRUE(has_fields(TWO, "GET", "/v1/topics", "http://b.example", "Vary: Origin\n"));
    CU_ASSERT_TRUE(has_fields(TWO, "GET", "/v1/topics", TWO, "Vary: Origin\n"));
    CU_ASSERT_TRUE(has_fields(TWO, "GET", "/v1/topics", NULL, "Vary: Origin\n"));
    CU_ASSERT_TRUE(has_fields(TWO, "GET", "/topics", "https://a.example", ""));
}

static void any_origin_may_be_allowed(void)
{
    CU_ASSERT_TRUE(has_fields(
        "*",
        "GET",
        "/v1/topics",
        "https://c.example",
        "Access-Control-Allow-Origin: *\nAccess-Control-Expose-Headers: *\n"
    ));
    CU_ASSERT_TRUE(has_fields("*", "GET", "/v1/topics", NULL, ""));
}

static void preflights_are_answered(void)
{
    CU_ASSERT_TRUE(has_fields(
        TWO,
        "OPTIONS",
        "/v1/anything",
        "https://a.example",
        "Vary: Origin\nAccess-Control-Allow-Origin: https://a.example\n"
        "Access-Control-Allow-Methods: GET, HEAD, POST, PUT, PATCH, DELETE\n"
        "Access-Control-Allow-Headers: riacho-key,content-type\nAccess-Control-Max-Age: 600\n"
    ));
    CU_ASSERT_TRUE(
        has_fields(TWO, "OPTIONS", "/v1/anything", "https://evil.example", "Vary: Origin\n")
    );
}

static void lists_are_checked(void)
{
    CU_ASSERT_TRUE(cors_is_valid(""));
    CU_ASSERT_TRUE(cors_is_valid("*"));
    CU_ASSERT_TRUE(cors_is_valid(TWO));
    CU_ASSERT_TRUE(cors_is_valid("http://[::1]:80"));
    CU_ASSERT_FALSE(cors_is_valid("a.example"));
    CU_ASSERT_FALSE(cors_is_valid("https://a.example/"));
    CU_ASSERT_FALSE(cors_is_valid("https://A.example"));
    CU_ASSERT_FALSE(cors_is_valid("https://*.example"));
    CU_ASSERT_FALSE(cors_is_valid("https://a.example, https://b.example"));
    CU_ASSERT_FALSE(cors_is_valid("https://a.example,"));
    CU_ASSERT_FALSE(cors_is_valid("*,https://a.example"));
    CU_ASSERT_FALSE(cors_is_valid("://a"));
}

static const struct harness_test tests[] = {
    HARNESS_TEST(off_it_adds_nothing),
    HARNESS_TEST(listed_origins_are_allowed),
    HARNESS_TEST(any_origin_may_be_allowed),
    HARNESS_TEST(preflights_are_answered),
    HARNESS_TEST(lists_are_checked),
};
HARNESS_MAIN(tests);

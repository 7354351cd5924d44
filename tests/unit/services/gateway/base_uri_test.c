#include "services/gateway/base_uri.h"

#include <string.h>

#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/fake_request.h"

struct header {
    const char *name;
    const char *value;
};

static bool gives(const struct header *headers, const char *advertised, const char *expected)
{
    struct fake_request fake;
    struct ria_buf out;

    fake_request_init(&fake, "POST", "/consumers/g", NULL);
    for (; headers->name != NULL; headers++) {
        fake_request_header(&fake, headers->name, headers->value);
    }
    ria_buf_init(&out, 4096);
    CU_ASSERT_EQUAL(base_uri_append(&out, &fake.request, advertised), RIA_OK);
    bool same = ria_slice_equal(ria_buf_slice(&out), ria_slice_cstr(expected));
    if (!same) {
        (void)printf("[%.*s]", (int)out.size, (const char *)out.data);
    }
    ria_buf_fini(&out);
    fake_request_fini(&fake);
    return same;
}

static void clients_are_told_what_they_see(void)
{
    const struct header plain[] = {{"Host", "a.example:8080"}, {NULL, NULL}};
    const struct header none[] = {{NULL, NULL}};
    const struct header proxied[] = {
        {"Host", "10.0.0.1:8080"},
        {"X-Forwarded-Proto", "HTTPS, http"},
        {"X-Forwarded-Host", " api.example , inner"},
        {"X-Forwarded-Prefix", "/kafka/v2//"},
        {NULL, NULL},
    };
    const struct header v6[] = {{"Host", "[::1]:8080"}, {NULL, NULL}};

    CU_ASSERT_TRUE(gives(plain, NULL, "http://a.example:8080"));
    CU_ASSERT_TRUE(gives(plain, "", "http://a.example:8080"));
    CU_ASSERT_TRUE(gives(none, NULL, "http://localhost"));
    CU_ASSERT_TRUE(gives(v6, NULL, "http://[::1]:8080"));
    CU_ASSERT_TRUE(gives(proxied, NULL, "https://api.example/kafka/v2"));
    CU_ASSERT_TRUE(gives(proxied, "https://lb.example/x/", "https://lb.example/x"));
}

static void what_is_no_host_or_prefix_is_ignored(void)
{
    const struct header odd[] = {
        {"Host", "a.example"},
        {"X-Forwarded-Proto", "javascript"},
        {"X-Forwarded-Host", "evil\"/><script>"},
        {"X-Forwarded-Prefix", "no-slash"},
        {NULL, NULL},
    };
    const struct header empty[] = {
        {"Host", "a/b"}, {"X-Forwarded-Host", ""}, {"X-Forwarded-Prefix", "/ \""}, {NULL, NULL}};

    CU_ASSERT_TRUE(gives(odd, NULL, "http://a.example"));
    CU_ASSERT_TRUE(gives(empty, NULL, "http://localhost"));
}

static void names_are_percent_encoded(void)
{
    struct ria_buf out;

    ria_buf_init(&out, 4096);
    CU_ASSERT_EQUAL(
        base_uri_append_segment(&out, RIA_SLICE_LITERAL("a/b c;\xc3\xa4-._~9")), RIA_OK
    );
    CU_ASSERT_TRUE(
        ria_slice_equal(ria_buf_slice(&out), RIA_SLICE_LITERAL("a%2Fb%20c%3B%C3%A4-._~9"))
    );
    ria_buf_fini(&out);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(clients_are_told_what_they_see),
    HARNESS_TEST(what_is_no_host_or_prefix_is_ignored),
    HARNESS_TEST(names_are_percent_encoded),
};

HARNESS_MAIN(tests);

/* CREATE STREAM name AS, the scanner, and where mistakes are said to be. */
#include "services/transform/statement.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/harness.h"

static ria_err split(const char *sql, struct statement *out, struct statement_refusal *refusal)
{
    return statement_split(ria_slice_cstr(sql), out, refusal);
}

static void name_and_select_come_out(void)
{
    static const struct {
        const char *sql;
        const char *name;
        const char *select;
    } cases[] = {
        {"CREATE STREAM big AS SELECT 1", "big", "SELECT 1"},
        {"create\nstream\tbig aS select 1 ", "big", "select 1 "},
        {"CREATE STREAM \"big-er.2\" AS SELECT 1", "big-er.2", "SELECT 1"},
        {"CREATE STREAM `big` AS SELECT 1", "big", "SELECT 1"},
        {"CREATE STREAM [big] AS SELECT 1", "big", "SELECT 1"},
        {"CREATE STREAM big-er.2_x AS SELECT 1", "big-er.2_x", "SELECT 1"},
        {"CREATE STREAM 2nd AS SELECT 1", "2nd", "SELECT 1"},
        {"CREATE STREAM select AS SELECT 1", "select", "SELECT 1"},
        {"-- why\nCREATE /* a stream */ STREAM x AS SELECT 1", "x", "SELECT 1"},
    };

    for (size_t i = 0; i < RIA_COUNT(cases); i++) {
        struct statement statement = {.name = ""};
        struct statement_refusal refusal = {.text = ""};
        CU_ASSERT_EQUAL(split(cases[i].sql, &statement, &refusal), RIA_OK);
        CU_ASSERT_STRING_EQUAL(refusal.text, "");
        CU_ASSERT_STRING_EQUAL(statement.name, cases[i].name);
        CU_ASSERT(ria_slice_equal(statement.select, ria_slice_cstr(cases[i].select)));
    }
}

static void what_is_no_create_stream_is_refused_where_it_goes_wrong(void)
{
    static const struct {
        const char *sql;
        const char *text; /* the refusal begins so */
    } cases[] = {
        {"", "line 1, column 1: expected CREATE, found the end"},
        {"DROP STREAM x", "line 1, column 1: expected CREATE, found DROP"},
        {"CREATE TABLE x(a)", "line 1, column 8: expected STREAM, found TABLE"},
        {"CREATE STREAM x", "line 1, column 16: expected AS, found the end"},
        {"CREATE STREAM x AS\nPRAGMA y", "line 2, column 1: expected SELECT, found PRAGMA"},
        {"CREATE STREAM x AS WITH y AS (SELECT 1) SELECT 2", "line 1, column 20: expected SELECT"},
        {"CREATE STREAM (x) AS SELECT 1", "line 1, column 15: expected the name of the stream"},
        {"CREATE STREAM \"a b\" AS SELECT 1", "line 1, column 15: name of the stream: "},
        {"CREATE STREAM \"\" AS SELECT 1", "line 1, column 15: expected the name of the stream"},
        {"CREATE STREAM .. AS SELECT 1", "line 1, column 15: name of the stream: "},
        {"CREATE STREAM \"x AS SELECT 1", "line 1, column 15: expected the name of the stream"},
        {"/* \xC3\xA9\xC3\xA9 */ DROP", "line 1, column 10: expected CREATE, found DROP"},
    };

    for (size_t i = 0; i < RIA_COUNT(cases); i++) {
        struct statement statement;
        struct statement_refusal refusal = {.text = ""};
        CU_ASSERT_EQUAL(split(cases[i].sql, &statement, &refusal), RIA_ERR_SQL);
        if (strncmp(refusal.text, cases[i].text, strlen(cases[i].text)) != 0) {
            (void)printf("    %s -> %s\n", cases[i].sql, refusal.text);
            CU_FAIL("another text");
        }
    }
}

static void name_leaves_room_for_the_errors_topic(void)
{
    char sql[512];
    char name[256];
    struct statement statement;
    struct statement_refusal refusal;

    memset(name, 'n', sizeof(name));
    name[STATEMENT_NAME_MAX] = '\0';
    (void)snprintf(sql, sizeof(sql), "CREATE STREAM %s AS SELECT 1", name);
    CU_ASSERT_EQUAL(split(sql, &statement, &refusal), RIA_OK);
    CU_ASSERT_EQUAL(strlen(statement.name) + strlen(".errors"), RIA_TOPIC_NAME_MAX);
    name[STATEMENT_NAME_MAX] = 'n';
    name[STATEMENT_NAME_MAX + 1] = '\0';
    (void)snprintf(sql, sizeof(sql), "CREATE STREAM %s AS SELECT 1", name);
    CU_ASSERT_EQUAL(split(sql, &statement, &refusal), RIA_ERR_SQL);
    CU_ASSERT_PTR_NOT_NULL(strstr(refusal.text, "193"));
}

static void text_that_is_no_text_is_refused(void)
{
    static const char nul[] = "CREATE STREAM x AS SELECT 1\0FROM t";
    static char large[RIA_SQL_MAX + 2];
    struct statement statement;
    struct statement_refusal refusal;

    CU_ASSERT_EQUAL(
        statement_split(ria_slice_of(nul, sizeof(nul) - 1), &statement, &refusal), RIA_ERR_SQL
    );
    CU_ASSERT_EQUAL(refusal.at, 27);
    CU_ASSERT_EQUAL(split("CREATE STREAM x AS SELECT '\xFF'", &statement, &refusal), RIA_ERR_SQL);
    CU_ASSERT_EQUAL(refusal.at, 27);
    CU_ASSERT_EQUAL(statement_split(RIA_SLICE_NULL, &statement, &refusal), RIA_ERR_SQL);
    memset(large, ' ', sizeof(large) - 1);
    CU_ASSERT_EQUAL(split(large, &statement, &refusal), RIA_ERR_SQL);
    CU_ASSERT_PTR_NOT_NULL(strstr(refusal.text, "at most 16384"));
}

/* Types of the tokens, as letters. */
static void types_of(const char *text, char *out)
{
    static const char letters[] = "wqsnvo!";
    struct token_scanner scanner = token_scanner_of(ria_slice_cstr(text), 0);

    for (;;) {
        struct token token = token_next(&scanner);
        if (token.type == TOKEN_END) {
            break;
        }
        *out++ = letters[token.type];
        if (token.type == TOKEN_OPEN) {
            break;
        }
    }
    *out = '\0';
}

static void scanner_cuts_where_sqlite_does(void)
{
    static const struct {
        const char *text;
        const char *types;
    } cases[] = {
        {"a b1 _c d$e \xC3\xA9", "wwwww"},
        {"'it''s' \"a\"\"b\" `a``b` [a'b]", "sqqq"},
        {"x'00' X'ff' x 'a'", "nnws"},
        {"12 3.5 1e9", "nnonn"},
        {"?1 :a @b $c ?", "vvvvv"},
        {"a->>'b' -- 'c\n d", "wooosw"},
        {"a /* ' \" */ b /**/ c", "www"},
        {"a - - b / * c", "woowoow"},
        {"a /* open", "w!"},
        {"a 'open", "w!"},
        {"a \"open", "w!"},
        {"a [open", "w!"},
        {"", ""},
        {" -- only", ""},
    };
    char types[64];

    for (size_t i = 0; i < RIA_COUNT(cases); i++) {
        types_of(cases[i].text, types);
        CU_ASSERT_STRING_EQUAL(types, cases[i].types);
    }
}

static void scanner_counts_parentheses(void)
{
    struct ria_slice text = RIA_SLICE_LITERAL("a(b(c)d)e ')' f");
    struct token_scanner scanner = token_scanner_of(text, 0);
    const unsigned depths[] = {0, 0, 1, 1, 2, 1, 1, 0, 0, 0, 0};

    for (size_t i = 0; i < RIA_COUNT(depths); i++) {
        struct token token = token_next(&scanner);
        CU_ASSERT_EQUAL(token.depth, depths[i]);
    }
    CU_ASSERT_EQUAL(token_next(&scanner).type, TOKEN_END);
}

static void names_are_found(void)
{
    struct ria_slice text = RIA_SLICE_LITERAL("SELECT 'b' AS \"two \"\" words\", [x y] FROM b");

    CU_ASSERT_EQUAL(token_find_name(text, "b"), text.size - 1);
    CU_ASSERT_EQUAL(token_find_name(text, "from"), text.size - 6);
    CU_ASSERT_EQUAL(token_find_name(text, "nothing"), SIZE_MAX);
    CU_ASSERT(token_quoted_exists(text, "two \" words"));
    CU_ASSERT(token_quoted_exists(text, "x y"));
    CU_ASSERT(token_quoted_exists(text, "b"));
    CU_ASSERT_FALSE(token_quoted_exists(text, "two"));
    CU_ASSERT_FALSE(token_quoted_exists(text, "x y z"));
    CU_ASSERT_FALSE(token_quoted_exists(text, "FROM"));
}

static const struct harness_test tests[] = {
    HARNESS_TEST(name_and_select_come_out),
    HARNESS_TEST(what_is_no_create_stream_is_refused_where_it_goes_wrong),
    HARNESS_TEST(name_leaves_room_for_the_errors_topic),
    HARNESS_TEST(text_that_is_no_text_is_refused),
    HARNESS_TEST(scanner_cuts_where_sqlite_does),
    HARNESS_TEST(scanner_counts_parentheses),
    HARNESS_TEST(names_are_found),
};
HARNESS_MAIN(tests);

/* Which statements are accepted, and what is said of the others. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/transform/sql_engine.h"
#include "tests/lib/harness.h"

#define STREAM "CREATE STREAM s AS "

static struct sql_engine *compile(const char *sql)
{
    struct sql_engine *engine = NULL;
    struct statement_refusal refusal = {.text = ""};

    if (sql_engine_new(ria_slice_cstr(sql), &engine, &refusal) != RIA_OK) {
        (void)printf("    %s\n    -> %s\n", sql, refusal.text);
    }
    return engine;
}

static void accept(const char *const *cases, size_t count)
{
    char sql[1024];

    for (size_t i = 0; i < count; i++) {
        (void)snprintf(sql, sizeof(sql), STREAM "%s", cases[i]);
        struct sql_engine *engine = compile(sql);
        CU_ASSERT_PTR_NOT_NULL(engine);
        sql_engine_free(engine);
    }
}

struct refused {
    const char *select;
    unsigned column; /* of the select, counted from 1; 0 = not looked at */
    const char *text;
};

static void refuse(const struct refused *cases, size_t count)
{
    char sql[1024];
    char begin[64];

    for (size_t i = 0; i < count; i++) {
        struct sql_engine *engine = NULL;
        struct statement_refusal refusal = {.text = ""};
        (void)snprintf(sql, sizeof(sql), STREAM "\n%s", cases[i].select);
        ria_err err = sql_engine_new(ria_slice_cstr(sql), &engine, &refusal);
        (void)snprintf(begin, sizeof(begin), "line 2, column %u: ", cases[i].column);
        bool placed = cases[i].column == 0 || strncmp(refusal.text, begin, strlen(begin)) == 0;
        if (err != RIA_ERR_SQL || !placed || strstr(refusal.text, cases[i].text) == NULL) {
            (void)printf("    %s\n    -> %s\n", cases[i].select, refusal.text);
            CU_FAIL("another answer");
        }
        sql_engine_free(engine);
    }
}

static void filters_and_projections_are_accepted(void)
{
    static const char *const cases[] = {
        "SELECT * FROM t",
        "SELECT t.* FROM t WHERE value IS NOT NULL",
        "SELECT key, value FROM t",
        "SELECT ALL value FROM t;",
        "SELECT value FROM t -- all of it",
        "SELECT value FROM t /* all\n of it */ ; ; -- really",
        "SELECT value->>'a' AS a FROM t",
        "SELECT value->>'$.a.b[0]' AS \"two words\" FROM t",
        "SELECT value->>'package' AS package FROM packages WHERE value->>'size' > 10000",
        "SELECT offset, partition, timestamp, headers FROM t",
        "SELECT x.value AS value FROM t AS x WHERE x.key BETWEEN 'a' AND 'z'",
        "SELECT value FROM \"my-topic.v2\"",
        "SELECT value FROM [my-topic]",
        "SELECT value FROM t WHERE key IN ('a', 'b', 'c', 'd', 'e')",
        "SELECT value FROM t WHERE key NOT IN ('a', 'b', 'c')",
        "SELECT value FROM t WHERE value LIKE '%x%' ESCAPE '!' OR key GLOB 'a*'",
        "SELECT value FROM t WHERE key IS NOT DISTINCT FROM 'a'",
        "SELECT CASE WHEN key = 'a' THEN 1 WHEN key = 'b' THEN 2 ELSE 3 END AS n FROM t",
        "SELECT CAST(value->>'a' AS REAL) / 2 AS half, 1 + 2 * 3 % 4 AS n, 'x' || key AS k2 FROM t",
        "SELECT max(offset, 5) AS n, min(1, 2) AS m FROM t",
        "SELECT coalesce(key, 'none') AS key, value FROM t",
        "SELECT json_object('a', value->'a', 'k', key) AS value FROM t",
        "SELECT json_set(value, '$.seen', json('true')) AS value FROM t",
        "SELECT iif(offset > 5, 'a', 'b') AS x, nullif(key, '') AS y, typeof(value) AS z FROM t",
        "SELECT datetime(timestamp / 1000, 'unixepoch') AS at FROM t",
        "SELECT strftime('%Y', value->>'when') AS year, unixepoch('2020-01-01') AS u FROM t",
        "SELECT upper(key) AS key, substr(value, 1, 10) AS value FROM t WHERE length(value) > 3",
        "SELECT printf('%05d', offset) AS a, hex(key) AS b, quote(value) AS c FROM t",
        "SELECT abs(offset) AS a, round(1.5) AS b, sqrt(2) AS c, floor(2.5) AS d FROM t",
        "SELECT 'now' AS state, value->>'state' = 'now' AS is_now FROM t",
        "SELECT key AS \"window\", value->>'limit' AS \"limit\" FROM t",
        "SELECT value FROM t WHERE 0",
        "SELECT x'00ff' AS value FROM t",
        "SELECT value FROM sqlite_topic",
        "SELECT value FROM json",
        "SELECT value FROM fts5",
    };

    accept(cases, RIA_COUNT(cases));
}

static void clauses_over_several_records_are_refused(void)
{
    static const struct refused cases[] = {
        {"SELECT value FROM t GROUP BY key", 21, "GROUP BY is not supported yet"},
        {"SELECT value FROM t GROUP BY key HAVING 1", 21, "GROUP BY is not supported yet"},
        {"SELECT value FROM t ORDER BY key", 21, "ORDER BY is not supported"},
        {"SELECT value FROM t ORDER BY 'constant'", 21, "ORDER BY is not supported"},
        {"SELECT value FROM t LIMIT 5", 21, "LIMIT is not supported"},
        {"SELECT value FROM t LIMIT -1 OFFSET 5", 21, "LIMIT is not supported"},
        {"SELECT DISTINCT value FROM t", 8, "DISTINCT is not supported"},
        {"SELECT DISTINCT 1 AS a FROM t", 8, "DISTINCT is not supported"},
        {"SELECT value FROM t UNION ALL SELECT value FROM t", 21, "UNION is not supported"},
        {"SELECT value FROM t EXCEPT SELECT value FROM t", 21, "EXCEPT is not supported"},
        {"SELECT value FROM t INTERSECT SELECT 1", 21, "INTERSECT is not supported"},
        {"SELECT count(*) AS n FROM t", 8, "count is an aggregate"},
        {"SELECT sum(offset) AS n FROM t", 8, "sum is an aggregate"},
        {"SELECT group_concat(key) AS n FROM t", 8, "group_concat is an aggregate"},
        {"SELECT json_group_array(value) AS n FROM t", 8, "is an aggregate"},
        {"SELECT max(offset) AS n FROM t", 0, "aggregates are not supported yet"},
        {"SELECT value FROM t WHERE offset = (SELECT max(offset) FROM t)", 0, "SELECT"},
        {"SELECT row_number() OVER () AS n FROM t", 8, "window function"},
        {"SELECT lag(key) OVER (ORDER BY offset) AS n FROM t", 8, "window function"},
        {"SELECT sum(offset) OVER w AS n FROM t WINDOW w AS (ORDER BY key)", 8, "aggregate"},
        {"SELECT max(offset) OVER () AS n FROM t", 0, "not supported"},
        {"SELECT value FROM t WINDOW w AS (ORDER BY key)", 21, "WINDOW is not supported yet"},
    };

    refuse(cases, RIA_COUNT(cases));
}

static void anything_but_one_topic_is_refused(void)
{
    static const struct refused cases[] = {
        {"SELECT 1", 9, "FROM is missing"},
        {"SELECT 1 AS a WHERE 1", 22, "FROM is missing"},
        {"SELECT value FROM t, u", 22, "joins are not supported yet"},
        {"SELECT t.value FROM t JOIN u", 28, "joins are not supported yet"},
        {"SELECT t.value FROM t JOIN t AS u ON u.key = t.key", 23, "JOIN is not supported yet"},
        {"SELECT t.value FROM t NATURAL LEFT JOIN t AS u", 36, "JOIN is not supported yet"},
        {"SELECT t.value FROM t, t AS u", 0, "the topic is read twice"},
        {"SELECT t.value FROM t, json_each(t.value) AS j", 24, "json_each is not a topic"},
        {"SELECT value FROM json_each('[1]')", 19, "json_each is not a topic"},
        {"SELECT name AS value FROM sqlite_master", 0, "is not a topic"},
        {"SELECT name AS value FROM sqlite_schema", 0, "is not a topic"},
        {"SELECT name AS value FROM pragma_database_list", 0, "one topic"},
        {"SELECT value FROM (SELECT value FROM t)", 0, "SELECT inside"},
        {"SELECT value FROM (SELECT value FROM t LIMIT 1)", 0, "not supported"},
        {"SELECT value FROM (VALUES (1)) AS t", 0, ""},
        {"SELECT (SELECT 1) AS a FROM t", 0, "SELECT inside"},
        {"SELECT value FROM t WHERE EXISTS (SELECT 1 FROM t)", 0, "SELECT inside"},
        {"SELECT value FROM t WHERE key IN (SELECT key FROM t)", 0, "SELECT inside"},
        {"SELECT value FROM t WHERE key IN (VALUES ('a'))", 0, "SELECT inside"},
        {"SELECT value FROM t WHERE key IN t", 0, ""},
        {"SELECT (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c)"
         " AS y FROM t",
         0,
         "RECURSIVE"},
        {"SELECT value FROM s", 0, "cannot be derived from itself"},
        {"SELECT value FROM a.b", 0, "must be in double quotes"},
        {"SELECT value FROM main.t", 0, "must be in double quotes"},
        {"SELECT value FROM my-topic", 21, "must be in double quotes"},
        {"SELECT value FROM \"a b\"", 19, "name of the topic"},
        {"SELECT value FROM t(1)", 0, "too many arguments"},
        {"SELECT value FROM t INDEXED BY i", 0, "no such index"},
    };

    refuse(cases, RIA_COUNT(cases));
}

static void other_statements_are_refused(void)
{
    static const struct refused cases[] = {
        {"SELECT value FROM t; SELECT 1", 22, "one statement only"},
        {"SELECT value FROM t; DROP TABLE t", 22, "one statement only"},
        {"SELECT value FROM t;; x", 23, "one statement only"},
        {"VALUES (1)", 1, "expected SELECT"},
        {"PRAGMA user_version", 1, "expected SELECT"},
        {"ATTACH 'x' AS y", 1, "expected SELECT"},
        {"EXPLAIN SELECT 1", 1, "expected SELECT"},
        {"SELECT value FROM t /* open", 21, "a comment has no end"},
        {"SELECT value FROM t WHERE offset > ?1", 36, "parameters"},
        {"SELECT value FROM t WHERE offset > :from", 36, "parameters"},
        {"SELECT value FRM t", 18, "syntax error"},
        {"SELECT value FROM t WHERE", 26, "incomplete input"},
        {"SELECT value FROM t WHERE key = 'a", 33, "unrecognized token"},
        {"SELECT RAISE(ABORT, 'x') AS x FROM t", 0, "RAISE"},
        {"SELECT value FROM t RETURNING 1", 0, "syntax error"},
    };

    refuse(cases, RIA_COUNT(cases));
}

static void functions_outside_the_list_are_refused(void)
{
    static const struct refused cases[] = {
        {"SELECT random() AS r FROM t", 8, "random is not a function that streams may use"},
        {"SELECT value FROM t WHERE random() % 2", 27, "random is not"},
        {"SELECT hex(randomblob(8)) AS r FROM t", 0, "randomblob is not"},
        {"SELECT load_extension('x') AS r FROM t", 8, "load_extension is not"},
        {"SELECT sqlite_version() AS r FROM t", 8, "sqlite_version is not"},
        {"SELECT changes() AS r FROM t", 8, "changes is not"},
        {"SELECT last_insert_rowid() AS r FROM t", 8, "last_insert_rowid is not"},
        {"SELECT sin(1) AS r FROM t", 8, "sin is not"},
        {"SELECT CURRENT_TIMESTAMP AS r FROM t", 8, "current_timestamp is not"},
        {"SELECT CURRENT_DATE AS r FROM t", 8, "current_date is not"},
        {"SELECT value MATCH 'x' AS r FROM t", 0, "match is not"},
        {"SELECT value REGEXP 'x' AS r FROM t", 0, "no such function: REGEXP"},
        {"SELECT nosuch(1) AS r FROM t", 8, "no such function: nosuch"},
        {"SELECT abs(1, 2) AS r FROM t", 8, "wrong number of arguments"},
        {"SELECT date('now') AS r FROM t", 13, "'now' is not allowed"},
        {"SELECT date( 'NOW', 'start of month') AS r FROM t", 14, "'now' is not allowed"},
        {"SELECT date() AS r FROM t", 13, "'now' is not allowed"},
        {"SELECT strftime('%Y', 'now') AS r FROM t", 23, "'now' is not allowed"},
        {"SELECT value FROM t WHERE datetime('now') > key", 36, "'now' is not allowed"},
        {"SELECT value FROM t WHERE datetime(trim(' now')) > 'a'", 0, "'now' is not allowed"},
    };

    refuse(cases, RIA_COUNT(cases));
}

static void result_columns_have_one_name_and_a_place(void)
{
    static const struct refused cases[] = {
        {"SELECT nosuch FROM t", 8, "no such column: nosuch"},
        {"SELECT \"nosuch\" AS a FROM t", 8, "no such column"},
        {"SELECT rowid AS a FROM t", 8, "is not a column of a topic"},
        {"SELECT value->>'a' FROM t", 8, "\"value->>'a'\" needs a name"},
        {"SELECT 'abc' FROM t", 8, "needs a name"},
        {"SELECT 1 FROM t", 8, "needs a name"},
        {"SELECT 1 AS a, 2 AS a FROM t", 13, "\"a\" is there twice"},
        {"SELECT 1 AS a, 2 AS A FROM t", 13, "\"A\" is there twice"},
        {"SELECT value, offset FROM t", 15, "\"offset\" has no place"},
        {"SELECT *, 1 AS a FROM t", 0, "has no place"},
        {"SELECT key FROM t", 8, "the record would have no value"},
    };

    refuse(cases, RIA_COUNT(cases));
}

static void columns_and_bytes_have_a_limit(void)
{
    char sql[8000] = "CREATE STREAM s AS SELECT ";
    struct statement_refusal refusal;
    struct sql_engine *engine = NULL;

    for (int i = 0; i < SQL_COLUMNS_MAX; i++) {
        (void)snprintf(sql + strlen(sql), 32, "%d AS c%d, ", i, i);
    }
    size_t size = strlen(sql);
    (void)snprintf(sql + size - 2, 32, " FROM t");
    CU_ASSERT_EQUAL(sql_engine_new(ria_slice_cstr(sql), &engine, &refusal), RIA_OK);
    CU_ASSERT_EQUAL(sql_engine_column_count(engine), SQL_COLUMNS_MAX);
    CU_ASSERT_STRING_EQUAL(sql_engine_column(engine, 99), "c99");
    sql_engine_free(engine);
    (void)snprintf(sql + size - 2, 32, ", 1 AS one_more FROM t");
    CU_ASSERT_EQUAL(sql_engine_new(ria_slice_cstr(sql), &engine, &refusal), RIA_ERR_SQL);
    CU_ASSERT_PTR_NOT_NULL(strstr(refusal.text, "too many columns"));
}

static void a_deep_expression_is_refused(void)
{
    char sql[RIA_SQL_MAX] = "CREATE STREAM s AS SELECT ";
    struct statement_refusal refusal;
    struct sql_engine *engine = NULL;

    for (int i = 0; i < 3000; i++) {
        (void)strcat(sql, "1+");
    }
    (void)strcat(sql, "1 AS a FROM t");
    CU_ASSERT_EQUAL(sql_engine_new(ria_slice_cstr(sql), &engine, &refusal), RIA_ERR_SQL);
    CU_ASSERT_PTR_NOT_NULL(strstr(refusal.text, "Expression tree is too large"));
}

static void names_come_out(void)
{
    struct sql_engine *engine =
        compile("CREATE STREAM \"big.ones\" AS SELECT key, 1 AS a, 2 AS \"b c\" FROM \"my-topic\"");

    CU_ASSERT_PTR_NOT_NULL_FATAL(engine);
    CU_ASSERT_STRING_EQUAL(sql_engine_name(engine), "big.ones");
    CU_ASSERT_STRING_EQUAL(sql_engine_source(engine), "my-topic");
    CU_ASSERT_EQUAL(sql_engine_column_count(engine), 3);
    CU_ASSERT_STRING_EQUAL(sql_engine_column(engine, 0), "key");
    CU_ASSERT_STRING_EQUAL(sql_engine_column(engine, 2), "b c");
    sql_engine_free(engine);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(filters_and_projections_are_accepted),
    HARNESS_TEST(clauses_over_several_records_are_refused),
    HARNESS_TEST(anything_but_one_topic_is_refused),
    HARNESS_TEST(other_statements_are_refused),
    HARNESS_TEST(functions_outside_the_list_are_refused),
    HARNESS_TEST(result_columns_have_one_name_and_a_place),
    HARNESS_TEST(columns_and_bytes_have_a_limit),
    HARNESS_TEST(a_deep_expression_is_refused),
    HARNESS_TEST(names_come_out),
};
HARNESS_MAIN(tests);

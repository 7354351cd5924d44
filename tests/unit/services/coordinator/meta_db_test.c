#include "services/coordinator/meta_db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "services/coordinator/migrations.h"
#include "services/coordinator/range_rows.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

enum { PATH_SIZE = 512 };

static void temp_path(char out[PATH_SIZE])
{
    char dir[PATH_SIZE - 16];

    harness_tmpdir(dir, sizeof(dir));
    (void)snprintf(out, PATH_SIZE, "%s/meta.db", dir);
}

static ria_err open_db(const char *path, char *reason, size_t reason_size, struct meta_db **out)
{
    return meta_db_open(path, NULL, NULL, reason, reason_size, out);
}

/* ---- the statements ---- */

/* A SELECT gives one row (by key, count, sum or a single-row table) or says in which order. */
static void every_select_is_ordered_or_single(void)
{
    static const char *const single[] = {
        "WHERE one = 1",
        "SELECT count(*)",
        "SELECT coalesce(sum(",
        "SELECT (SELECT count(*)",
        "WHERE process_uuid = ?1",
        "WHERE p.topic_id = ?1 AND p.partition = ?2",
        "WHERE node_id = ?1",
        "WHERE transform_id = ?1 AND partition = ?2",
        "WHERE name = ?1 AND deleted = 0",
        "FROM topics WHERE topic_id = ?1",
        "FROM topic_configs WHERE topic_id = ?1 AND name = ?2",
        "FROM consumer_groups WHERE name = ?1",
        "WHERE group_id = ?1 AND topic_id = ?2 AND partition = ?3",
        "SELECT EXISTS",
        "FROM group_members WHERE group_id = ?1 AND name = ?2",
        "FROM transforms WHERE transform_id = ?1"};

    for (int i = 0; i < META_SQL_COUNT; i++) {
        const char *text = meta_sql_text((meta_sql)i);
        bool ok = strncmp(text, "SELECT", 6) != 0 || strstr(text, "ORDER BY") != NULL;
        for (size_t k = 0; k < RIA_COUNT(single) && !ok; k++) {
            ok = strstr(text, single[k]) != NULL;
        }
        if (!ok) {
            (void)printf("not ordered: %s\n", text);
        }
        CU_ASSERT_TRUE(ok);
    }
}

static void no_statement_asks_the_world(void)
{
    static const char *const words[] = {
        "random",
        "datetime",
        "now",
        "strftime",
        "CURRENT_",
        "changes(",
        "last_insert_rowid",
        "rowid"};

    for (int i = 0; i < META_SQL_COUNT; i++) {
        for (size_t k = 0; k < RIA_COUNT(words); k++) {
            CU_ASSERT_PTR_NULL(strstr(meta_sql_text((meta_sql)i), words[k]));
        }
    }
}

/* On the paths of every request. */
static const meta_sql hot[] = {
    META_NODE_BY_UUID,
    META_NODES_SINCE,
    META_TOPIC_BY_ID,
    META_TOPIC_BY_NAME,
    META_TOPICS_SINCE,
    META_PARTITION_GET,
    META_TOPIC_CONFIGS,
    META_PARTITIONS_SINCE,
    META_PARTITIONS_OF_NODE,
    META_PARTITIONS_LED,
    META_PARTITION_SET_SYNC,
    META_PARTITION_SET,
    META_NODE_BY_ID,
    META_REPLICA_DELETE,
    META_REPLICAS_DELETE,
    META_TASK_GET,
    META_TASK_COMMIT,
    META_TASKS_SINCE,
    META_TRANSFORMS_SINCE,
    META_TRANSFORM_BY_NAME,
    META_GROUP_BY_NAME,
    META_QUEUE_GET,
    META_QUEUE_SET,
    META_RANGE_AT,
    META_RANGES_WITHIN,
    META_RANGES_READY,
    META_RANGES_DUE,
    META_RANGES_DEAD,
    META_RANGES_OF_KEY,
    META_RANGE_LEASE,
    META_RANGES_DELETE,
    META_GROUP_SET,
    META_GROUP_CHANGED,
    META_GROUP_PARTITION_GET,
    META_GROUP_PARTITIONS_OF_TOPIC,
    META_GROUP_PARTITION_SET,
    META_GROUP_PARTITIONS_OF_MEMBER,
    META_GROUP_PARTITIONS_PLANNED,
    META_GROUP_MEMBER_GET,
    META_GROUP_MEMBER_SET,
    META_GROUP_MEMBERS_EXPIRED,
    META_GROUP_MEMBERS_NEXT_DEADLINE,
    META_GROUP_SUBSCRIPTIONS_OF_MEMBER,
    META_GROUP_SUBSCRIPTIONS_PLANNED,
    META_GROUPS_LISTED,
    META_GROUP_PARTITIONS_DELETE_OF_TOPIC,
    META_GROUP_SUBSCRIPTIONS_DELETE_OF_TOPIC,
    META_GROUP_PARTITION_LOCKED,
    META_LEFTOVERS_ADD_OF_GROUP,
    META_LEFTOVERS_ADD_OF_TOPIC,
    META_LEFTOVERS_ADD_OF_PARTITION,
    META_QUEUE_READ_GET,
    META_QUEUE_READS_HEARD,
    META_QUEUE_READS_OVER,
    META_RANGES_OVERDUE,
    META_RANGES_ANY_DUE,
    META_QUEUES_AFTER,
    META_GROUP_NAME,
    META_RANGES_LOWEST};

/* They must not read whole tables. */
static void hot_statements_use_indexes(void)
{
    char path[PATH_SIZE];
    char reason[256];
    char sql[2048];
    struct meta_db *db = NULL;
    sqlite3 *handle = NULL;

    temp_path(path);
    CU_ASSERT_EQUAL_FATAL(open_db(path, reason, sizeof(reason), &db), RIA_OK);
    meta_db_close(db);
    CU_ASSERT_EQUAL_FATAL(sqlite3_open(path, &handle), SQLITE_OK);
    for (size_t i = 0; i < RIA_COUNT(hot); i++) {
        sqlite3_stmt *stmt = NULL;
        (void)snprintf(sql, sizeof(sql), "EXPLAIN QUERY PLAN %s", meta_sql_text(hot[i]));
        CU_ASSERT_EQUAL(sqlite3_prepare_v2(handle, sql, -1, &stmt, NULL), SQLITE_OK);
        while (sqlite3_step(stmt) == SQLITE_ROW) {
            const char *detail = (const char *)sqlite3_column_text(stmt, 3);
            bool is_table =
                strstr(detail, "(subquery") == NULL && strstr(detail, "CONSTANT") == NULL;
            if (strncmp(detail, "SCAN", 4) == 0 && is_table) {
                (void)printf("%s: %s\n", sql, detail);
                CU_FAIL("scans a table");
            }
        }
        (void)sqlite3_finalize(stmt);
    }
    (void)sqlite3_close(handle);
}

/* ---- the file ---- */

static void what_was_committed_is_there_after_reopening(void)
{
    char path[PATH_SIZE];
    char reason[256];
    struct meta_db *db = NULL;
    struct state_summary summary;
    struct ria_uuid cluster = fixture_uuid(5);

    temp_path(path);
    CU_ASSERT_EQUAL_FATAL(open_db(path, reason, sizeof(reason), &db), RIA_OK);
    CU_ASSERT_FALSE(state_summary(db, &summary));
    state_found_cluster(db, &cluster);
    uint64_t hash = meta_db_hash(db);
    meta_db_close(db);
    CU_ASSERT_EQUAL_FATAL(open_db(path, reason, sizeof(reason), &db), RIA_OK);
    CU_ASSERT_TRUE(state_summary(db, &summary));
    CU_ASSERT_TRUE(ria_uuid_equal(summary.cluster_id, cluster));
    CU_ASSERT_EQUAL(summary.version, 1);
    CU_ASSERT_EQUAL(meta_db_hash(db), hash);
    meta_db_checkpoint(db);
    CU_ASSERT_EQUAL(meta_db_hash(db), hash);
    meta_db_close(db);
}

static void a_newer_schema_is_refused(void)
{
    char path[PATH_SIZE];
    char reason[256];
    struct meta_db *db = NULL;
    sqlite3 *handle = NULL;

    temp_path(path);
    CU_ASSERT_EQUAL_FATAL(sqlite3_open(path, &handle), SQLITE_OK);
    (void)sqlite3_exec(handle, "PRAGMA user_version = 999; CREATE TABLE x(a)", NULL, NULL, NULL);
    (void)sqlite3_close(handle);
    CU_ASSERT_EQUAL(open_db(path, reason, sizeof(reason), &db), RIA_ERR_UNSUPPORTED);
    CU_ASSERT_PTR_NOT_NULL(strstr(reason, "999"));
    CU_ASSERT_PTR_NULL(db);
}

static void a_file_that_is_no_database_is_refused(void)
{
    char path[PATH_SIZE];
    char reason[256];
    struct meta_db *db = NULL;

    temp_path(path);
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    for (int i = 0; i < 1000; i++) {
        (void)fputs("this is no database\n", file);
    }
    (void)fclose(file);
    CU_ASSERT_EQUAL(open_db(path, reason, sizeof(reason), &db), RIA_ERR_CORRUPT);
    CU_ASSERT_TRUE(reason[0] != '\0');
}

static void a_damaged_page_is_noticed(void)
{
    char path[PATH_SIZE];
    char reason[256];
    struct meta_db *db = NULL;
    struct ria_uuid cluster = fixture_uuid(5);

    temp_path(path);
    CU_ASSERT_EQUAL_FATAL(open_db(path, reason, sizeof(reason), &db), RIA_OK);
    state_found_cluster(db, &cluster);
    meta_db_checkpoint(db);
    meta_db_close(db);
    FILE *file = fopen(path, "r+");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    (void)fseek(file, 4096, SEEK_SET); /* the second page: the root of the first table */
    (void)fputs("damage", file);
    (void)fclose(file);
    CU_ASSERT_EQUAL(open_db(path, reason, sizeof(reason), &db), RIA_ERR_CORRUPT);
    CU_ASSERT_TRUE(reason[0] != '\0');
}

static void a_missing_folder_is_an_error(void)
{
    char reason[256];
    struct meta_db *db = NULL;

    CU_ASSERT_EQUAL(open_db("/nonexistent/meta.db", reason, sizeof(reason), &db), RIA_ERR_IO);
    CU_ASSERT_TRUE(reason[0] != '\0');
}

static void a_reader_sees_the_last_commit(void)
{
    char path[PATH_SIZE];
    char reason[256];
    struct meta_db *db = NULL;
    sqlite3 *handle = NULL;
    sqlite3_stmt *stmt = NULL;
    struct ria_uuid cluster = fixture_uuid(5);

    temp_path(path);
    CU_ASSERT_EQUAL_FATAL(open_db(path, reason, sizeof(reason), &db), RIA_OK);
    state_found_cluster(db, &cluster);
    CU_ASSERT_EQUAL_FATAL(sqlite3_open_v2(path, &handle, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    CU_ASSERT_EQUAL(
        sqlite3_prepare_v2(handle, "SELECT version FROM cluster", -1, &stmt, NULL), SQLITE_OK
    );
    CU_ASSERT_EQUAL(sqlite3_step(stmt), SQLITE_ROW);
    CU_ASSERT_EQUAL(sqlite3_column_int(stmt, 0), 1);
    /* A reader in the middle of its query does not stop a writer. */
    meta_begin(db);
    struct meta_stmt *write = meta_query(db, META_CLUSTER_APPLIED);
    meta_bind_int(write, 1, 7);
    CU_ASSERT_EQUAL(meta_run(write), RIA_OK);
    meta_commit(db);
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(handle);
    meta_db_close(db);
}

/* ---- transactions ---- */

static int64_t topics(struct meta_db *db)
{
    struct meta_stmt *stmt = meta_query(db, META_TOPIC_COUNT);
    int64_t count = meta_step(stmt) ? meta_column_int(stmt, 0) : -1;

    meta_done(stmt);
    return count;
}

static ria_err insert_topic(struct meta_db *db, uint32_t id, const char *name)
{
    struct ria_uuid uuid = fixture_uuid(id);
    struct meta_stmt *stmt = meta_query(db, META_TOPIC_INSERT);

    meta_bind_uuid(stmt, 1, &uuid);
    meta_bind_text(stmt, 2, ria_slice_cstr(name));
    for (int i = 3; i <= 6; i++) {
        meta_bind_int(stmt, i, 1);
    }
    return meta_run(stmt);
}

static void a_constraint_is_an_ordinary_result(void)
{
    char reason[256];
    struct meta_db *db = NULL;

    CU_ASSERT_EQUAL_FATAL(open_db(":memory:", reason, sizeof(reason), &db), RIA_OK);
    meta_begin(db);
    CU_ASSERT_EQUAL(insert_topic(db, 1, "a"), RIA_OK);
    CU_ASSERT_EQUAL(insert_topic(db, 1, "b"), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(insert_topic(db, 2, "a"), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(insert_topic(db, 2, "b"), RIA_OK);
    meta_commit(db);
    CU_ASSERT_EQUAL(topics(db), 2);
    meta_db_close(db);
}

static void a_savepoint_undoes_only_its_own(void)
{
    char reason[256];
    struct meta_db *db = NULL;

    CU_ASSERT_EQUAL_FATAL(open_db(":memory:", reason, sizeof(reason), &db), RIA_OK);
    meta_begin(db);
    CU_ASSERT_TRUE(meta_in_transaction(db));
    meta_savepoint(db);
    CU_ASSERT_EQUAL(insert_topic(db, 1, "a"), RIA_OK);
    meta_savepoint_keep(db);
    meta_savepoint(db);
    CU_ASSERT_EQUAL(insert_topic(db, 2, "b"), RIA_OK);
    meta_savepoint_undo(db);
    CU_ASSERT_TRUE(meta_in_transaction(db));
    meta_commit(db);
    CU_ASSERT_FALSE(meta_in_transaction(db));
    CU_ASSERT_EQUAL(topics(db), 1);
    meta_db_close(db);
}

static void the_hash_sees_every_value(void)
{
    char reason[256];
    struct meta_db *db = NULL;

    CU_ASSERT_EQUAL_FATAL(open_db(":memory:", reason, sizeof(reason), &db), RIA_OK);
    uint64_t empty = meta_db_hash(db);
    CU_ASSERT_EQUAL(insert_topic(db, 1, "a"), RIA_OK);
    uint64_t one = meta_db_hash(db);
    CU_ASSERT_NOT_EQUAL(empty, one);
    CU_ASSERT_EQUAL(meta_db_hash(db), one);
    struct ria_uuid id = fixture_uuid(1);
    struct meta_stmt *stmt = meta_query(db, META_TOPIC_DELETE);
    meta_bind_uuid(stmt, 1, &id);
    meta_bind_int(stmt, 2, 0);
    meta_bind_int(stmt, 3, 1);
    CU_ASSERT_EQUAL(meta_run(stmt), RIA_OK);
    CU_ASSERT_NOT_EQUAL(meta_db_hash(db), one);
    meta_db_close(db);
}

/* ---- earlier schemas ---- */

/* What the first schema had a place for: a cluster, a node, a topic with a setting and a partition.
 */
static const char first_data[] =
    "INSERT INTO cluster (one, cluster_id, applied_index, applied_term, version, next_node_id,"
    " next_producer_id) VALUES (1, zeroblob(16), 40, 2, 7, 3, 9);"
    "INSERT INTO nodes (node_id, process_uuid, incarnation, address, rack, replica_count,"
    " leader_count, registered_ms, started_ms, version)"
    " VALUES (2, zeroblob(16), 77, 'tcp://s2', 'r', 1, 1, 5, 6, 3);"
    "INSERT INTO topics (topic_id, name, deleted, partition_count, replication_factor, created_ms,"
    " deleted_ms, created_version, version) VALUES (zeroblob(16), 'old', 0, 1, 1, 5, 0, 4, 4);"
    "INSERT INTO topic_configs VALUES (zeroblob(16), 'durability', 'relaxed');"
    "INSERT INTO partitions (topic_id, partition, leader, leader_epoch, partition_epoch, replicas,"
    " isr, version) VALUES (zeroblob(16), 0, 2, 11, 12, '2', '2', 4);";

/* A database as a program with only the first `schemas` migrations left it. */
static void make_old(const char *path, size_t schemas)
{
    char pragma[64];
    sqlite3 *handle = NULL;

    CU_ASSERT_EQUAL_FATAL(sqlite3_open(path, &handle), SQLITE_OK);
    for (size_t i = 0; i < schemas; i++) {
        (void)snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %zu", i + 1);
        CU_ASSERT_EQUAL(sqlite3_exec(handle, migrations[i].sql, NULL, NULL, NULL), SQLITE_OK);
        CU_ASSERT_EQUAL(sqlite3_exec(handle, pragma, NULL, NULL, NULL), SQLITE_OK);
        if (i == 0) {
            CU_ASSERT_EQUAL(sqlite3_exec(handle, first_data, NULL, NULL, NULL), SQLITE_OK);
        }
    }
    (void)sqlite3_close(handle);
}

static int64_t one_number(struct meta_db *db, meta_sql sql, const struct ria_uuid *id, int column)
{
    struct meta_stmt *stmt = meta_query(db, sql);

    if (id != NULL) {
        meta_bind_uuid(stmt, 1, id);
    }
    if (sql == META_PARTITION_GET) {
        meta_bind_int(stmt, 2, 0);
    }
    bool found = meta_step(stmt);
    int64_t value = found ? meta_column_int(stmt, column) : INT64_MIN;
    meta_done(stmt);
    return value;
}

static void check_old(struct meta_db *db)
{
    const struct ria_uuid id = {{0}};
    struct state_summary summary;

    CU_ASSERT_TRUE(state_summary(db, &summary));
    CU_ASSERT_EQUAL(summary.applied_index, 40);
    CU_ASSERT_EQUAL(summary.version, 7);
    CU_ASSERT_EQUAL(summary.lease_ms, 0);
    CU_ASSERT_EQUAL(one_number(db, META_NODE_BY_UUID, &id, 0), 2);
    CU_ASSERT_EQUAL(one_number(db, META_NODE_BY_UUID, &id, 1), 77); /* incarnation */
    CU_ASSERT_EQUAL(one_number(db, META_NODE_BY_UUID, &id, 5), 0);  /* the former one */
    CU_ASSERT_EQUAL(one_number(db, META_TOPIC_BY_ID, &id, 5), 0);   /* config_epoch */
    CU_ASSERT_EQUAL(one_number(db, META_TOPIC_BY_ID, &id, 6), 0);   /* was_relaxed */
    CU_ASSERT_EQUAL(one_number(db, META_PARTITION_GET, &id, 0), 2); /* leader */
    CU_ASSERT_EQUAL(one_number(db, META_PARTITION_GET, &id, 1), 11);
    CU_ASSERT_EQUAL(one_number(db, META_GROUP_COUNTERS_GET, NULL, 1), 1); /* next_group_id */
    CU_ASSERT_EQUAL(one_number(db, META_GROUP_COUNTERS_GET, NULL, 2), 0); /* group_count */
    CU_ASSERT_EQUAL(one_number(db, META_GROUP_COUNTERS_GET, NULL, 3), 1); /* lease_floor */
    CU_ASSERT_EQUAL(insert_topic(db, 1, "new"), RIA_OK);
    CU_ASSERT_EQUAL(topics(db), 2);
}

static void a_database_of_each_earlier_schema_is_brought_up_with_its_data(void)
{
    for (size_t schemas = 1; schemas < migrations_count; schemas++) {
        char path[PATH_SIZE];
        char reason[256];
        struct meta_db *db = NULL;

        temp_path(path);
        make_old(path, schemas);
        CU_ASSERT_EQUAL_FATAL(open_db(path, reason, sizeof(reason), &db), RIA_OK);
        check_old(db);
        meta_db_close(db);
    }
}

/* A queue as the fifth schema had it: leased, waiting, held, done, dead. */
static const char old_queue[] =
    "INSERT INTO consumer_groups VALUES (4, 'q', 1, 5, 20, 0, 1, 0, 30000, 16, 1, '', '');"
    "INSERT INTO group_partitions VALUES (4, zeroblob(16), 0, 0, 5, '', '', 0, '', 0, -1, 100, 0, "
    "5,"
    " 0, 0);"
    "INSERT INTO group_ranges VALUES (4, zeroblob(16), 0, 0, 9, 1, 7, 50, 50, 1, 0, 0, '', '');"
    "INSERT INTO group_ranges VALUES (4, zeroblob(16), 0, 10, 10, 2, 0, 0, 0, 1, 1, 3, '', '');"
    "INSERT INTO group_ranges VALUES (4, zeroblob(16), 0, 11, 40, 3, 0, 0, 0, 0, 1, 3, '', '');"
    "INSERT INTO group_ranges VALUES (4, zeroblob(16), 0, 41, 60, 4, 0, 0, 0, 0, 0, 0, '', '');"
    "INSERT INTO group_ranges VALUES (4, zeroblob(16), 0, 61, 99, 5, 0, 0, 0, 1, 0, 0, '', 'no');";

static void a_queue_of_the_fifth_schema_is_counted(void)
{
    const struct ria_uuid topic = {{0}};
    char path[PATH_SIZE];
    char reason[256];
    struct meta_db *db = NULL;
    sqlite3 *handle = NULL;
    struct queue_row row;

    temp_path(path);
    make_old(path, 5);
    CU_ASSERT_EQUAL_FATAL(sqlite3_open(path, &handle), SQLITE_OK);
    CU_ASSERT_EQUAL(sqlite3_exec(handle, old_queue, NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_close(handle);
    CU_ASSERT_EQUAL_FATAL(open_db(path, reason, sizeof(reason), &db), RIA_OK);
    CU_ASSERT_TRUE_FATAL(queue_row_read(db, 4, &topic, 0, &row));
    CU_ASSERT_EQUAL(row.leased, 10);
    CU_ASSERT_EQUAL(row.waiting, 31);
    CU_ASSERT_EQUAL(row.held, 30);
    CU_ASSERT_EQUAL(row.dead, 39);
    CU_ASSERT_PTR_NULL(range_rows_check(&row));
    meta_db_close(db);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(every_select_is_ordered_or_single),
    HARNESS_TEST(no_statement_asks_the_world),
    HARNESS_TEST(hot_statements_use_indexes),
    HARNESS_TEST(what_was_committed_is_there_after_reopening),
    HARNESS_TEST(a_newer_schema_is_refused),
    HARNESS_TEST(a_file_that_is_no_database_is_refused),
    HARNESS_TEST(a_damaged_page_is_noticed),
    HARNESS_TEST(a_missing_folder_is_an_error),
    HARNESS_TEST(a_reader_sees_the_last_commit),
    HARNESS_TEST(a_constraint_is_an_ordinary_result),
    HARNESS_TEST(a_savepoint_undoes_only_its_own),
    HARNESS_TEST(the_hash_sees_every_value),
    HARNESS_TEST(a_database_of_each_earlier_schema_is_brought_up_with_its_data),
    HARNESS_TEST(a_queue_of_the_fifth_schema_is_counted),
};
HARNESS_MAIN(tests);

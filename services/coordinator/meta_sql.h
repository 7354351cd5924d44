/* meta_sql: every SQL statement of the coordinator, so that the rules can be checked in one place.
 *
 * Rules: a SELECT that may give more than one row has an ORDER BY that leaves no ties; nothing
 * calls the clock or randomness; every parameter is numbered.
 */
#pragma once

/* What partition_row.c reads, in its order. */
#define META_PARTITION_COLUMNS_                                                            \
    "p.leader, p.leader_epoch, p.partition_epoch, p.replicas, p.isr, p.eligible, p.unfit," \
    " p.target, p.dropped, p.forced_epoch, p.topic_id, p.partition, p.origin"

/* What group_row.c reads, in its order. */
#define META_GROUP_COLUMNS_                                                               \
    "group_id, mode, created_ms, next_lease, generation, changed, member_count, lock_ms," \
    " deliveries_max, key_order, retry_ms, dead_topic, name"
#define META_GROUP_PARTITION_COLUMNS_                                                        \
    "topic_id, partition, position, committed_ms, metadata <> '', member, lease_id, holder," \
    " deadline, next, frontier, unsettled, row_count"

/* Groups that have anything of topic ?1. */
#define META_GROUPS_OF_TOPIC_                                    \
    "(SELECT group_id FROM group_partitions WHERE topic_id = ?1" \
    " UNION SELECT group_id FROM group_subscriptions WHERE topic_id = ?1)"

/* What range_rows.c reads, in its order, and of which partition. */
#define META_RANGE_COLUMNS_ \
    "first, last, state, lease_id, deadline, ready_at, deliveries, has_key, key, holder, reason"
#define META_OF_PARTITION_        " WHERE space = ?1 AND topic_id = ?2 AND partition = ?3"
#define META_RANGES_OF_PARTITION_ " FROM group_ranges" META_OF_PARTITION_
/* By an index that the planner would not take: to it, the order of the primary key is as good. */
#define META_RANGES_BY_(index) " FROM group_ranges INDEXED BY " index META_OF_PARTITION_

/* Somebody has a lock on a record of the partition p of a queue at the time ?now. */
#define META_IS_LOCKED_(now)                                                             \
    "(p.leased > 0 AND EXISTS (SELECT 1 FROM group_ranges AS r INDEXED BY"               \
    " group_ranges_ready WHERE r.space = p.space AND r.topic_id = p.topic_id"            \
    " AND r.partition = p.partition AND r.state IN (1, 2) AND r.ready_at > " now         \
    " AND r.state = 1 AND r.deadline > " now ") OR p.dead > 0 AND EXISTS (SELECT 1 FROM" \
    " group_ranges AS r INDEXED BY group_ranges_dead WHERE r.space = p.space"            \
    " AND r.topic_id = p.topic_id AND r.partition = p.partition AND r.state = 5"         \
    " AND r.ready_at > " now " AND r.lease_id <> 0 AND r.deadline > " now "))"

/* Rows that are nobody's from now on: of the partitions that the rest of the statement names. */
#define META_LEFTOVERS_ADD_                                              \
    "INSERT INTO range_leftovers SELECT space, topic_id, partition FROM" \
    " group_partitions WHERE row_count > 0 AND"

/* clang-format off */
#define META_SQL_TABLE(X)                                                                           \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                     \
    X(COMMIT, "COMMIT")                                                                             \
    X(SAVEPOINT, "SAVEPOINT command")                                                               \
    X(SAVEPOINT_KEEP, "RELEASE command")                                                            \
    X(SAVEPOINT_UNDO, "ROLLBACK TO command")                                                        \
                                                                                                    \
    X(CLUSTER_GET, "SELECT cluster_id, applied_index, applied_term, version, next_node_id,"         \
        " next_producer_id, lease_ms FROM cluster WHERE one = 1")                                             \
    X(CLUSTER_INIT, "INSERT INTO cluster VALUES (1, ?1, 0, 0, 1, 1, 1, 0, 0, 1, 0, 1)")                   \
    X(CLUSTER_APPLIED, "UPDATE cluster SET applied_index = ?1 WHERE one = 1")                       \
    X(REBALANCING_GET, "SELECT rebalancing FROM cluster WHERE one = 1")                             \
    X(REBALANCING_SET, "UPDATE cluster SET rebalancing = ?1 WHERE one = 1")                         \
    X(CLUSTER_COUNTERS, "UPDATE cluster SET version = ?1, next_node_id = ?2,"                       \
        " next_producer_id = ?3 WHERE one = 1")                                                     \
                                                                                                    \
    X(NODE_BY_UUID, "SELECT node_id, incarnation, address, rack, state"        \
        " FROM nodes WHERE process_uuid = ?1")                                                                 \
    X(NODES_BY_ID, "SELECT node_id, process_uuid, address, rack, replica_count, leader_count,"      \
        " state, draining, incarnation FROM nodes ORDER BY node_id")                                \
    X(NODES_SINCE, "SELECT node_id, address, rack, state, draining, incarnation, drain_epoch"       \
        " FROM nodes WHERE version > ?1 AND version <= ?2 ORDER BY node_id")                                   \
    X(NODE_COUNT, "SELECT count(*) FROM nodes")                                                     \
    X(NODE_INSERT, "INSERT INTO nodes VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, ?6, ?6, ?7, 0, 0, 0)")   \
    X(NODE_RESTART, "UPDATE nodes SET incarnation = ?2, address = ?3, rack = ?4, started_ms = ?5,"  \
        " version = ?6, state = ?7 WHERE node_id = ?1")                                             \
    X(NODE_LOAD, "UPDATE nodes SET replica_count = replica_count + ?2,"                             \
        " leader_count = leader_count + ?3 WHERE node_id = ?1")                                     \
    X(NODE_BY_ID, "SELECT incarnation, state, draining, replica_count, leader_count, drain_epoch"   \
        " FROM nodes WHERE node_id = ?1")                                                                      \
    X(NODE_SET_DRAINING, "UPDATE nodes SET draining = ?2, version = ?3,"                            \
        " drain_epoch = drain_epoch + 1 WHERE node_id = ?1")                                        \
    X(NODE_SET_STATE, "UPDATE nodes SET state = ?2, version = ?3 WHERE node_id = ?1")               \
                                                                                                    \
    X(TOPIC_BY_ID, "SELECT name, deleted, partition_count, replication_factor, version,"            \
        " config_epoch, was_relaxed FROM topics WHERE topic_id = ?1")                               \
    X(TOPIC_BY_NAME, "SELECT topic_id, partition_count, replication_factor, version FROM topics"    \
        " WHERE name = ?1 AND deleted = 0")                                                         \
    X(TOPICS_SINCE, "SELECT topic_id, name, deleted, partition_count, replication_factor,"          \
        " config_epoch, was_relaxed, version > ?2 FROM topics WHERE version > ?1 AND created_version <= ?2"                                 \
        " ORDER BY created_version, topic_id")                                                      \
    X(TOPIC_CONFIGS, "SELECT name, value FROM topic_configs WHERE topic_id = ?1 ORDER BY name")     \
    X(TOPIC_NAME, "SELECT name FROM topics WHERE topic_id = ?1")                                    \
    X(TOPIC_COUNT, "SELECT count(*) FROM topics")                                                   \
    X(TOPIC_PARTITION_TOTAL, "SELECT coalesce(sum(partition_count), 0) FROM topics"                 \
        " WHERE deleted = 0")                                                                       \
    X(TOPIC_INSERT, "INSERT INTO topics VALUES (?1, ?2, 0, ?3, ?4, ?5, 0, ?6, ?6, 0, 0)")           \
    X(TOPIC_ALTER, "UPDATE topics SET config_epoch = ?2, was_relaxed = ?3, partition_count = ?4,"   \
        " version = ?5 WHERE topic_id = ?1")                                                        \
    X(TOPIC_CONFIG_GET, "SELECT value FROM topic_configs WHERE topic_id = ?1 AND name = ?2")        \
    X(TOPIC_CONFIG_PUT, "INSERT INTO topic_configs VALUES (?1, ?2, ?3)"                             \
        " ON CONFLICT (topic_id, name) DO UPDATE SET value = ?3")                                   \
    X(TOPIC_CONFIG_DELETE, "DELETE FROM topic_configs WHERE topic_id = ?1 AND name = ?2")           \
    X(TOPIC_DELETE, "UPDATE topics SET deleted = 1, deleted_ms = ?2, version = ?3"                  \
        " WHERE topic_id = ?1")                                                                     \
    X(TOPIC_CONFIGS_DELETE, "DELETE FROM topic_configs WHERE topic_id = ?1")                        \
                                                                                                    \
    X(PARTITION_GET, "SELECT " META_PARTITION_COLUMNS_ " FROM partitions AS p"                      \
        " WHERE p.topic_id = ?1 AND p.partition = ?2")                                              \
    X(PARTITIONS_OF_NODE, "SELECT " META_PARTITION_COLUMNS_ " FROM replicas AS r CROSS JOIN"        \
        " partitions AS p ON p.topic_id = r.topic_id AND p.partition = r.partition"                 \
        " WHERE r.node_id = ?4 AND (r.topic_id, r.partition) > (?1, ?2)"                            \
        " ORDER BY r.topic_id, r.partition LIMIT ?3")                                               \
    X(PARTITIONS_LED, "SELECT " META_PARTITION_COLUMNS_ " FROM partitions AS p WHERE p.leader = ?4" \
        " AND (p.topic_id, p.partition) > (?1, ?2) ORDER BY p.topic_id, p.partition LIMIT ?3")      \
    X(PARTITIONS_ALL, "SELECT " META_PARTITION_COLUMNS_ " FROM partitions AS p"                     \
        " WHERE (p.topic_id, p.partition) > (?1, ?2) ORDER BY p.topic_id, p.partition LIMIT ?3")    \
    X(PARTITIONS_MOVING, "SELECT " META_PARTITION_COLUMNS_ " FROM partitions AS p"                  \
        " WHERE p.target <> '' AND (p.topic_id, p.partition) > (?1, ?2)"                            \
        " ORDER BY p.topic_id, p.partition LIMIT ?3")                                               \
    X(MOVES_COUNT, "SELECT count(*) FROM partitions WHERE target <> ''")                            \
    X(PARTITIONS_ASTRAY, "SELECT " META_PARTITION_COLUMNS_ " FROM partitions AS p"                  \
        " WHERE p.leader <> CAST(p.replicas AS INTEGER) AND (p.topic_id, p.partition) > (?1, ?2)"   \
        " ORDER BY p.topic_id, p.partition LIMIT ?3")                                               \
    X(LEADERLESS_COUNT, "SELECT count(*) FROM partitions WHERE leader = -1")                        \
    X(PARTITIONS_OF_TOPIC, "SELECT leader, replicas FROM partitions WHERE topic_id = ?1"            \
        " ORDER BY partition")                                                                      \
    X(PARTITIONS_SINCE, "SELECT topic_id, partition, leader, leader_epoch, partition_epoch,"        \
        " replicas, isr, eligible, unfit, target, dropped, forced_epoch FROM partitions"            \
        " WHERE version > ?1 AND version <= ?2"                                                     \
        " ORDER BY version, topic_id, partition")                                                   \
    X(PARTITION_INSERT, "INSERT INTO partitions VALUES (?1, ?2, ?3, 0, 0, ?4, ?4, ?5, '', '', '', '', -1, '')") \
    X(PARTITION_SET_SYNC, "UPDATE partitions SET partition_epoch = ?3, isr = ?4, eligible = ?5,"    \
        " unfit = ?6, version = ?7 WHERE topic_id = ?1 AND partition = ?2")                         \
    X(PARTITION_SET, "UPDATE partitions SET partition_epoch = ?3, isr = ?4, eligible = ?5,"         \
        " unfit = ?6, version = ?7, leader = ?8, leader_epoch = ?9, forced_epoch = ?10,"            \
        " replicas = ?11, target = ?12, dropped = ?13, origin = ?14"                                \
        " WHERE topic_id = ?1 AND partition = ?2")                                                  \
    X(PARTITIONS_DELETE, "DELETE FROM partitions WHERE topic_id = ?1")                              \
    X(REPLICA_INSERT, "INSERT INTO replicas VALUES (?1, ?2, ?3)")                                   \
    X(REPLICA_DELETE, "DELETE FROM replicas WHERE node_id = ?1 AND topic_id = ?2 AND partition = ?3")\
    X(REPLICAS_DELETE, "DELETE FROM replicas WHERE node_id = ?1 AND topic_id = ?2")                 \
                                                                                                    \
    X(TRANSFORM_BY_ID, "SELECT name, deleted, version FROM transforms WHERE transform_id = ?1")     \
    X(TRANSFORM_BY_NAME, "SELECT transform_id FROM transforms WHERE name = ?1 AND deleted = 0")     \
    X(TRANSFORM_USING_TOPIC, "SELECT name, source_topic_id = ?1 FROM transforms WHERE deleted = 0"  \
        " AND ?1 IN (source_topic_id, output_topic_id, errors_topic_id) ORDER BY name LIMIT 1")     \
    X(TRANSFORM_COUNT, "SELECT count(*) FROM transforms")                                           \
    X(TRANSFORMS_SINCE, "SELECT transform_id, name, deleted, sql, source_topic_id, output_topic_id," \
        " errors_topic_id FROM transforms WHERE version > ?1 AND created_version <= ?2"             \
        " ORDER BY created_version, transform_id")                                                  \
    X(TRANSFORMS_LISTED, "SELECT f.transform_id, f.name, f.sql, s.name, o.name, e.name,"            \
        " f.created_ms FROM transforms AS f JOIN topics AS s ON s.topic_id = f.source_topic_id"     \
        " JOIN topics AS o ON o.topic_id = f.output_topic_id"                                       \
        " JOIN topics AS e ON e.topic_id = f.errors_topic_id"                                       \
        " WHERE f.deleted = 0 AND (?1 = '' OR f.name = ?1) ORDER BY f.name")                        \
    X(TRANSFORM_INSERT, "INSERT INTO transforms VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?8)") \
    X(TRANSFORM_DELETE, "UPDATE transforms SET deleted = 1, sql = '', deleted_ms = ?2, version = ?3" \
        " WHERE transform_id = ?1")                                                                 \
                                                                                                    \
    X(TASK_GET, "SELECT worker, epoch, position FROM tasks WHERE transform_id = ?1"                 \
        " AND partition = ?2")                                                                      \
    X(TASK_LEASES, "SELECT transform_id, partition, worker, epoch FROM tasks"                       \
        " ORDER BY transform_id, partition")                                                        \
    X(TASKS_OF_TRANSFORM, "SELECT partition, worker, epoch, position, records_in, records_out,"     \
        " errors, last_error FROM tasks WHERE transform_id = ?1 ORDER BY partition")                \
    X(TASKS_SINCE, "SELECT transform_id, partition, worker, epoch, producer_id, position FROM tasks" \
        " WHERE version > ?1 AND version <= ?2 ORDER BY version, transform_id, partition")          \
    X(TASK_INSERT, "INSERT INTO tasks VALUES (?1, ?2, zeroblob(16), 0, ?3, ?4, 0, 0, 0, '', ?5)")   \
    X(TASK_COMMIT, "UPDATE tasks SET position = ?3, records_in = ?4, records_out = ?5, errors = ?6," \
        " last_error = CASE WHEN ?7 = '' THEN last_error ELSE ?7 END"                               \
        " WHERE transform_id = ?1 AND partition = ?2")                                              \
    X(TASK_ASSIGN, "UPDATE tasks SET worker = ?3, epoch = ?4, version = ?5"                         \
        " WHERE transform_id = ?1 AND partition = ?2")                                              \
    X(TASKS_DELETE, "DELETE FROM tasks WHERE transform_id = ?1")                                    \
                                                                                                    \
    X(GROUP_COUNTERS_GET, "SELECT lease_ms, next_group_id, group_count, lease_floor FROM cluster"   \
        " WHERE one = 1")                                                                           \
    X(GROUP_COUNTERS_SET, "UPDATE cluster SET lease_ms = ?1, next_group_id = ?2, group_count = ?3," \
        " lease_floor = ?4 WHERE one = 1")                                                          \
    X(GROUP_BY_NAME, "SELECT " META_GROUP_COLUMNS_ " FROM consumer_groups WHERE name = ?1")         \
    X(GROUP_CHANGED, "SELECT changed FROM consumer_groups WHERE name = ?1")                         \
    X(GROUP_INSERT, "INSERT INTO consumer_groups VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,"  \
        " ?11, ?12, ?13)")                                                                          \
    X(GROUP_SET, "UPDATE consumer_groups SET next_lease = ?2, generation = ?3, changed = ?4,"       \
        " member_count = ?5 WHERE group_id = ?1")                                                   \
    X(GROUP_SET_SETTINGS, "UPDATE consumer_groups SET lock_ms = ?2, deliveries_max = ?3,"           \
        " key_order = ?4, retry_ms = ?5, dead_topic = ?6 WHERE group_id = ?1")                      \
    X(GROUP_IN_USE, "SELECT EXISTS (SELECT 1 FROM group_members WHERE group_id = ?1"                \
        " AND deadline > ?2), EXISTS (SELECT 1 FROM group_partitions WHERE group_id = ?1"           \
        " AND (lease_id <> 0 OR unsettled <> 0) AND deadline > ?2) OR EXISTS"                       \
        " (SELECT 1 FROM group_partitions AS p WHERE p.group_id = ?1 AND " META_IS_LOCKED_("?2")    \
        ")")                                                                                        \
    X(GROUP_DELETE, "DELETE FROM consumer_groups WHERE group_id = ?1")                              \
    X(GROUP_MEMBERS_DELETE, "DELETE FROM group_members WHERE group_id = ?1")                        \
    X(GROUP_SUBSCRIPTIONS_DELETE, "DELETE FROM group_subscriptions WHERE group_id = ?1")            \
    X(GROUP_PARTITIONS_DELETE, "DELETE FROM group_partitions WHERE group_id = ?1")                  \
    X(GROUP_PARTITION_LOCKED, "SELECT EXISTS (SELECT 1 FROM group_partitions AS p"                  \
        " WHERE p.group_id = ?1 AND p.topic_id = ?2 AND p.partition = ?3 AND "                      \
        META_IS_LOCKED_("?4") ")")                                                                  \
    X(LEFTOVERS_ADD_OF_GROUP, META_LEFTOVERS_ADD_ " group_id = ?1")                                 \
    X(LEFTOVERS_ADD_OF_TOPIC, META_LEFTOVERS_ADD_ " topic_id = ?1")                                 \
    X(LEFTOVERS_ADD_OF_PARTITION, META_LEFTOVERS_ADD_ " group_id = ?1 AND topic_id = ?2"            \
        " AND partition = ?3")                                                                      \
    X(LEFTOVERS_FIRST, "SELECT space, topic_id, partition FROM range_leftovers"                     \
        " ORDER BY space, topic_id, partition LIMIT 1")                                             \
    X(LEFTOVERS_DELETE, "DELETE FROM range_leftovers" META_OF_PARTITION_)                           \
    X(LEFTOVERS_ANY, "SELECT EXISTS (SELECT 1 FROM range_leftovers)")                               \
    X(QUEUE_READ_ADD, "INSERT OR REPLACE INTO queue_reads VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")     \
    X(QUEUE_READ_GET, "SELECT partition, first, last, lease_id FROM queue_reads"                    \
        " WHERE group_id = ?1 AND read_id = ?2 ORDER BY partition, first")                          \
    X(QUEUE_READS_HEARD, "DELETE FROM queue_reads WHERE group_id = ?1 AND read_id >= ?2"            \
        " AND read_id < ?3")                                                                        \
    X(QUEUE_READS_OVER, "DELETE FROM queue_reads WHERE group_id = ?1 AND until <= ?2")              \
    X(QUEUE_READS_DELETE, "DELETE FROM queue_reads WHERE group_id = ?1")                            \
    X(GROUP_MEMBER_GET, "SELECT kind, epoch, session_ms, deadline, chosen FROM group_members"       \
        " WHERE group_id = ?1 AND name = ?2")                                                       \
    X(GROUP_MEMBER_DETAIL, "SELECT detail FROM group_members WHERE group_id = ?1 AND name = ?2")    \
    X(GROUP_MEMBER_INSERT, "INSERT INTO group_members VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, x'')")    \
    X(GROUP_MEMBER_SET, "UPDATE group_members SET kind = ?3, epoch = ?4, session_ms = ?5,"          \
        " deadline = ?6, chosen = ?7 WHERE group_id = ?1 AND name = ?2")                            \
    X(GROUP_MEMBER_SET_DETAIL, "UPDATE group_members SET detail = ?3 WHERE group_id = ?1"           \
        " AND name = ?2")                                                                           \
    X(GROUP_MEMBER_DELETE, "DELETE FROM group_members WHERE group_id = ?1 AND name = ?2")           \
    X(GROUP_MEMBERS_EXPIRED, "SELECT name FROM group_members WHERE group_id = ?1"                   \
        " AND deadline <= ?2 ORDER BY deadline, name")                                              \
    X(GROUP_MEMBERS_NEXT_DEADLINE, "SELECT deadline FROM group_members WHERE group_id = ?1"         \
        " AND name <> ?2 ORDER BY deadline LIMIT 1")                                                \
    X(GROUP_SUBSCRIPTIONS_OF_MEMBER, "SELECT topic_id, partition FROM group_subscriptions"          \
        " WHERE group_id = ?1 AND name = ?2 ORDER BY topic_id, partition")                          \
    X(GROUP_SUBSCRIPTION_COUNT, "SELECT count(*) FROM group_subscriptions WHERE group_id = ?1"      \
        " AND name = ?2 AND topic_id = ?3 AND partition = ?4")                                      \
    X(GROUP_SUBSCRIPTION_INSERT, "INSERT INTO group_subscriptions VALUES (?1, ?2, ?3, ?4)")         \
    X(GROUP_SUBSCRIPTIONS_DELETE_OF_MEMBER, "DELETE FROM group_subscriptions WHERE group_id = ?1"   \
        " AND name = ?2")                                                                           \
    X(GROUP_SUBSCRIPTIONS_PLANNED, "SELECT name, topic_id FROM group_subscriptions"                 \
        " WHERE group_id = ?1 AND partition = -1 ORDER BY name, topic_id")                          \
    X(GROUP_PARTITIONS_PLANNED, "SELECT member, topic_id, partition FROM group_partitions"          \
        " WHERE group_id = ?1 AND member <> '' ORDER BY member, topic_id, partition")               \
    X(GROUP_PARTITIONS_OF_MEMBER, "SELECT " META_GROUP_PARTITION_COLUMNS_ " FROM group_partitions"  \
        " WHERE group_id = ?1 AND member = ?2 AND member <> '' ORDER BY topic_id, partition")       \
    X(GROUP_PARTITIONS_OF_HOLDER, "SELECT " META_GROUP_PARTITION_COLUMNS_ " FROM group_partitions"  \
        " WHERE group_id = ?1 AND holder = ?2 ORDER BY topic_id, partition")                        \
    X(GROUP_PARTITIONS_HELD, "SELECT " META_GROUP_PARTITION_COLUMNS_ " FROM group_partitions"       \
        " WHERE group_id = ?1 AND deadline = 9223372036854775807 ORDER BY topic_id, partition")     \
    X(GROUP_PARTITION_SET_MEMBER, "INSERT INTO group_partitions VALUES (?1, ?2, ?3, -1, 0, '', ?4," \
        " 0, '', 0, -1, -1, 0, 0, 0, 0, ?1, 0, 0, 0, 0) ON CONFLICT DO UPDATE SET member = ?4")                           \
    X(GROUP_NAME, "SELECT name FROM consumer_groups WHERE group_id = ?1 ORDER BY group_id")         \
    X(GROUPS_LISTED, "SELECT " META_GROUP_COLUMNS_ " FROM consumer_groups WHERE name > ?1"          \
        " ORDER BY name LIMIT ?2")                                                                  \
    X(GROUP_MEMBERS_LIVING, "SELECT count(*) FROM group_members WHERE group_id = ?1"                \
        " AND deadline > ?2")                                                                       \
    X(GROUP_MEMBERS_LISTED, "SELECT name, kind, epoch, session_ms, deadline, chosen, detail"        \
        " FROM group_members WHERE group_id = ?1 AND deadline > ?2 ORDER BY name")                  \
    X(GROUP_MEMBER_TOPICS, "SELECT DISTINCT topic_id FROM group_subscriptions WHERE group_id = ?1"  \
        " AND name = ?2 ORDER BY topic_id")                                                         \
    X(GROUP_TOPICS, "SELECT DISTINCT topic_id FROM group_partitions WHERE group_id = ?1"            \
        " ORDER BY topic_id LIMIT ?2")                                                              \
    X(GROUP_PARTITIONS_LISTED, "SELECT p.topic_id, p.partition, p.position, p.committed_ms,"        \
        " p.metadata, p.member, p.lease_id, p.holder, p.deadline, p.next, p.frontier, m.deadline,"  \
        " p.unsettled, p.discarded, p.space, p.leased, p.waiting, p.dead, p.held"                           \
        " FROM group_partitions AS p LEFT JOIN group_members AS m ON m.group_id = p.group_id"       \
        " AND m.name = p.holder WHERE p.group_id = ?1 ORDER BY p.topic_id, p.partition")            \
    X(GROUP_PARTITION_GET, "SELECT " META_GROUP_PARTITION_COLUMNS_ " FROM group_partitions"         \
        " WHERE group_id = ?1 AND topic_id = ?2 AND partition = ?3")                                \
    X(GROUP_PARTITIONS_OF_TOPIC, "SELECT " META_GROUP_PARTITION_COLUMNS_ " FROM group_partitions"   \
        " WHERE group_id = ?1 AND topic_id = ?2 ORDER BY partition")                                \
    X(GROUP_PARTITION_INSERT, "INSERT INTO group_partitions VALUES (?1, ?2, ?3, ?4, ?5, '', ?6,"    \
        " ?7, ?8, ?9, ?10, ?11, ?12, ?13, 0, 0, ?1, 0, 0, 0, 0)")                                                   \
    X(GROUP_PARTITION_SET, "UPDATE group_partitions SET position = ?4, committed_ms = ?5,"          \
        " member = ?6, lease_id = ?7, holder = ?8, deadline = ?9, next = ?10, frontier = ?11,"      \
        " unsettled = ?12, row_count = ?13 WHERE group_id = ?1 AND topic_id = ?2"                   \
        " AND partition = ?3")                                                                      \
    X(GROUP_PARTITION_SET_METADATA, "UPDATE group_partitions SET metadata = ?4 WHERE group_id = ?1" \
        " AND topic_id = ?2 AND partition = ?3")                                                    \
    X(GROUPS_OF_TOPIC, "SELECT name, changed + 1 FROM consumer_groups WHERE group_id IN "           \
        META_GROUPS_OF_TOPIC_ " ORDER BY group_id")                                                 \
    X(GROUPS_CHANGE_OF_TOPIC, "UPDATE consumer_groups SET changed = changed + 1,"                   \
        " generation = generation + 1 WHERE group_id IN " META_GROUPS_OF_TOPIC_)                    \
    X(GROUP_PARTITIONS_DELETE_OF_TOPIC, "DELETE FROM group_partitions WHERE topic_id = ?1")         \
    X(GROUP_SUBSCRIPTIONS_DELETE_OF_TOPIC, "DELETE FROM group_subscriptions WHERE topic_id = ?1")   \
    X(QUEUE_GET, "SELECT position, committed_ms, frontier, row_count, named_end, discarded,"        \
        " unsettled, next, deadline, holder, space, leased, waiting, dead, held FROM group_partitions"    \
        " WHERE group_id = ?1 AND topic_id = ?2 AND partition = ?3")                                \
    X(QUEUE_INSERT, "INSERT INTO group_partitions VALUES"                                           \
        " (?1, ?2, ?3, ?4, 0, '', '', 0, '', 0, -1, ?4, 0, 0, 0, 0, ?1, 0, 0, 0, 0)")                               \
    X(QUEUE_SET, "UPDATE group_partitions SET position = ?4, committed_ms = ?5, frontier = ?6,"     \
        " row_count = ?7, named_end = ?8, discarded = ?9, unsettled = ?10, next = ?11,"             \
        " deadline = ?12, holder = ?13, leased = ?14, waiting = ?15, dead = ?16, held = ?17"                    \
        " WHERE group_id = ?1 AND topic_id = ?2 AND partition = ?3")                                \
    X(QUEUE_SET_SPACE, "UPDATE group_partitions SET space = ?4, named_end = 0, leased = 0,"         \
        " waiting = 0, dead = 0, held = 0 WHERE group_id = ?1 AND topic_id = ?2 AND partition = ?3")          \
    X(GROUP_POSITION, "SELECT position FROM group_partitions WHERE group_id ="                      \
        " (SELECT group_id FROM consumer_groups WHERE name = ?1) AND topic_id = ?2"                 \
        " AND partition = ?3")                                                                      \
    X(GROUPS_WRONG, "SELECT 0 FROM group_partitions WHERE group_id NOT IN"                          \
        " (SELECT group_id FROM consumer_groups)"                                                   \
        " UNION ALL SELECT 1 FROM group_partitions WHERE topic_id NOT IN"                           \
        " (SELECT topic_id FROM topics WHERE deleted = 0)"                                          \
        " UNION ALL SELECT 2 FROM group_partitions AS p WHERE p.member <> '' AND NOT EXISTS"        \
        " (SELECT 1 FROM group_members AS m WHERE m.group_id = p.group_id AND m.name = p.member)"   \
        " UNION ALL SELECT 3 FROM group_partitions AS p JOIN consumer_groups AS g"                  \
        " ON g.group_id = p.group_id WHERE p.lease_id >= g.next_lease"                              \
        " OR p.unsettled >= g.next_lease"                                                           \
        " UNION ALL SELECT 4 FROM group_partitions AS p WHERE p.lease_id <> 0"                      \
        " AND p.deadline = 9223372036854775807 AND NOT EXISTS (SELECT 1 FROM group_members AS m"    \
        " WHERE m.group_id = p.group_id AND m.name = p.holder)"                                     \
        " UNION ALL SELECT 5 FROM group_ranges AS r WHERE NOT EXISTS (SELECT 1"                     \
        " FROM group_partitions AS p WHERE p.space = r.space AND p.topic_id = r.topic_id"           \
        " AND p.partition = r.partition) AND NOT EXISTS (SELECT 1 FROM range_leftovers AS o"        \
        " WHERE o.space = r.space AND o.topic_id = r.topic_id AND o.partition = r.partition)"       \
        " UNION ALL SELECT 6 FROM group_ranges AS r JOIN group_partitions AS p"                     \
        " ON p.space = r.space AND p.topic_id = r.topic_id AND p.partition = r.partition"           \
        " JOIN consumer_groups AS g ON g.group_id = p.group_id WHERE r.lease_id >= g.next_lease"    \
        " UNION ALL SELECT 7 FROM group_subscriptions AS s WHERE NOT EXISTS"                        \
        " (SELECT 1 FROM group_members AS m WHERE m.group_id = s.group_id AND m.name = s.name)"     \
        " UNION ALL SELECT 8 FROM consumer_groups AS g WHERE g.member_count <>"                     \
        " (SELECT count(*) FROM group_members AS m WHERE m.group_id = g.group_id)"                  \
        " UNION ALL SELECT 9 FROM cluster WHERE group_count <>"                                     \
        " (SELECT count(*) FROM consumer_groups)"                                                   \
        " UNION ALL SELECT 10 FROM range_leftovers AS o JOIN group_partitions AS p"                 \
        " ON p.space = o.space AND p.topic_id = o.topic_id AND p.partition = o.partition"           \
        " UNION ALL SELECT 11 FROM queue_reads WHERE group_id NOT IN"                               \
        " (SELECT group_id FROM consumer_groups) LIMIT 1")                                          \
    X(QUEUES_ALL, "SELECT p.group_id, p.topic_id, p.partition FROM group_partitions AS p"           \
        " JOIN consumer_groups AS g ON g.group_id = p.group_id WHERE g.mode = 1"                    \
        " ORDER BY p.group_id, p.topic_id, p.partition")                                            \
    X(QUEUES_AFTER, "SELECT group_id, topic_id, partition, space, leased + dead"                    \
        " FROM group_partitions WHERE (group_id, topic_id, partition) > (?1, ?2, ?3)"               \
        " ORDER BY group_id, topic_id, partition LIMIT ?4")                                         \
    X(RANGE_AT, "SELECT " META_RANGE_COLUMNS_ META_RANGES_OF_PARTITION_ " AND first <= ?4"          \
        " ORDER BY first DESC LIMIT 1")                                                             \
    X(RANGES_WITHIN, "SELECT " META_RANGE_COLUMNS_ META_RANGES_OF_PARTITION_ " AND first >="        \
        " coalesce((SELECT first" META_RANGES_OF_PARTITION_ " AND first <= ?4"                      \
        " ORDER BY first DESC LIMIT 1), ?4) AND first <= ?5 ORDER BY first")                        \
    X(RANGES_READY, "SELECT " META_RANGE_COLUMNS_ META_RANGES_BY_("group_ranges_ready")                         \
        " AND state IN (1, 2) AND ready_at = 0 AND last >= ?4 ORDER BY first LIMIT 1")              \
    X(RANGES_DUE, "SELECT " META_RANGE_COLUMNS_ META_RANGES_BY_("group_ranges_ready")                           \
        " AND state IN (1, 2) AND ready_at > 0 ORDER BY ready_at, first LIMIT 1")                   \
    X(RANGES_DEAD, "SELECT " META_RANGE_COLUMNS_ META_RANGES_BY_("group_ranges_dead")                          \
        " AND state = 5 ORDER BY ready_at, first LIMIT 1")                                          \
    X(RANGES_OF_KEY, "SELECT " META_RANGE_COLUMNS_ META_RANGES_BY_("group_ranges_by_key")                        \
        " AND has_key = 1 AND state <> 4 AND key = ?4 ORDER BY first LIMIT 1")                      \
    X(RANGES_BY_KEY, "SELECT key, state" META_RANGES_BY_("group_ranges_by_key")                                  \
        " AND has_key = 1 AND state <> 4 ORDER BY key, first")                                      \
    X(RANGES_OVERDUE, "SELECT coalesce(sum(CASE WHEN state = 1 AND deadline <= ?4 THEN"            \
        " last - first + 1 ELSE 0 END), 0), count(*) FROM (SELECT state, deadline, first, last"     \
        META_RANGES_BY_("group_ranges_ready") " AND state IN (1, 2) AND ready_at > 0"               \
        " ORDER BY ready_at, first LIMIT ?5)")                                                      \
    X(RANGES_ANY_DUE, "SELECT EXISTS (SELECT 1" META_RANGES_BY_("group_ranges_ready")               \
        " AND state IN (1, 2) AND ready_at > 0 AND ready_at <= ?4) OR EXISTS (SELECT 1"             \
        META_RANGES_BY_("group_ranges_dead") " AND state = 5 AND ready_at <= ?4)")                  \
    X(RANGES_LOWEST, "SELECT count(*), coalesce(max(first), -1) FROM (SELECT first"                 \
        META_RANGES_OF_PARTITION_ " ORDER BY first LIMIT ?4)")                                      \
    X(RANGE_PUT, "INSERT OR REPLACE INTO group_ranges VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,"  \
        " ?10, ?11, ?12, ?13, ?14)")                                                                \
    X(RANGE_LEASE, "UPDATE group_ranges SET state = 1, lease_id = ?5, deadline = ?6, ready_at = ?7," \
        " deliveries = ?8, holder = ?9" META_OF_PARTITION_ " AND first = ?4")                                                                          \
    X(RANGE_SET_LAST, "UPDATE group_ranges SET last = ?5" META_OF_PARTITION_ " AND first = ?4")     \
    X(RANGES_DELETE, "DELETE FROM group_ranges" META_OF_PARTITION_ " AND first BETWEEN ?4 AND ?5")  \
                                                                                                    \
    X(CHANGED_ROWS, "SELECT (SELECT count(*) FROM nodes WHERE version > ?1)"                        \
        " + (SELECT count(*) FROM topics WHERE version > ?1)"                                       \
        " + (SELECT count(*) FROM partitions WHERE version > ?1)"                                   \
        " + (SELECT count(*) FROM tasks WHERE version > ?1),"                                       \
        " (SELECT count(*) FROM transforms WHERE version > ?1)")                                    \
    X(CHANGES_BY_VERSION, "SELECT version, sum(cost) FROM ("                                        \
        "SELECT version, 500 AS cost FROM nodes WHERE version > ?1"                                 \
        " UNION ALL SELECT max(created_version, ?1 + 1), 700 FROM topics WHERE version > ?1"        \
        " UNION ALL SELECT version, 200 FROM partitions WHERE version > ?1"                         \
        " UNION ALL SELECT max(created_version, ?1 + 1), 17500 FROM transforms WHERE version > ?1"  \
        " UNION ALL SELECT version, 100 FROM tasks WHERE version > ?1"                              \
        ") GROUP BY version ORDER BY version")
/* clang-format on */

#define META_SQL_ENUM_(name, text) META_##name,
typedef enum meta_sql { META_SQL_TABLE(META_SQL_ENUM_) META_SQL_COUNT } meta_sql;

-- Consumer groups: who has what of which partition. docs/design/010-consuming.md.
--
-- Times are of the lease clock (cluster.lease_ms) but created_ms and committed_ms, which are for
-- people. No row here moves the metadata version.

ALTER TABLE cluster ADD COLUMN lease_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cluster ADD COLUMN next_group_id INTEGER NOT NULL DEFAULT 1;
ALTER TABLE cluster ADD COLUMN group_count INTEGER NOT NULL DEFAULT 0;
-- Lease ids and change numbers of a new group begin here, above those of every deleted one: a
-- cursor, a lock or a watch may outlive its group and must not fit into another of the same name.
ALTER TABLE cluster ADD COLUMN lease_floor INTEGER NOT NULL DEFAULT 1;

-- mode: 0 stream, 1 queue. changed grows when something may have become free: those who wait ask
-- again. retry_ms: delays after the first, second, ... failure, separated by commas; the last one
-- goes on for ever. dead_topic: '' = none.
CREATE TABLE consumer_groups (
    group_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    mode INTEGER NOT NULL CHECK (mode IN (0, 1)),
    created_ms INTEGER NOT NULL,
    next_lease INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    member_count INTEGER NOT NULL CHECK (member_count >= 0),
    lock_ms INTEGER NOT NULL,
    deliveries_max INTEGER NOT NULL,
    key_order INTEGER NOT NULL CHECK (key_order IN (0, 1)),
    retry_ms TEXT NOT NULL,
    dead_topic TEXT NOT NULL
) STRICT;

-- kind: 0 a name in a call, 1 an instance that was made. epoch: taken from the group's lease ids, so
-- that a name that comes back never has one again. chosen: 1 = its partitions are its own choice
-- (in group_subscriptions), not the plan's.
CREATE TABLE group_members (
    group_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL CHECK (kind IN (0, 1)),
    epoch INTEGER NOT NULL,
    session_ms INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    chosen INTEGER NOT NULL CHECK (chosen IN (0, 1)),
    detail BLOB NOT NULL,
    PRIMARY KEY (group_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_members_by_deadline ON group_members (group_id, deadline);

-- What a member consumes. partition: -1 = all of the topic's, divided by the plan; else one that
-- the member chose.
CREATE TABLE group_subscriptions (
    group_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    topic_id BLOB NOT NULL CHECK (length(topic_id) = 16),
    partition INTEGER NOT NULL,
    PRIMARY KEY (group_id, name, topic_id, partition)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_subscriptions_by_topic ON group_subscriptions (topic_id);

-- position: -1 = none yet. Stream groups: the lease that is out, or was last (0 = none, also once
-- it was committed and given up); its deadline, 2^63 - 1 = it ends with its member (a held lease);
-- next: what the holder of a held lease will be given next; of another lease minus the id of the
-- Read that gave it, so that a repeated one finds it; else -1. Queue groups: frontier;
-- unsettled: lease whose keys are not known yet, 0 = none; it covers [frontier, next), is holder's
-- until deadline; named_end: largest end that was named beside it; row_count: rows in group_ranges;
-- discarded: dead records that were finished for want of a dead-letter topic.
CREATE TABLE group_partitions (
    group_id INTEGER NOT NULL,
    topic_id BLOB NOT NULL CHECK (length(topic_id) = 16),
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    committed_ms INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    member TEXT NOT NULL,
    lease_id INTEGER NOT NULL,
    holder TEXT NOT NULL,
    deadline INTEGER NOT NULL,
    next INTEGER NOT NULL,
    frontier INTEGER NOT NULL,
    unsettled INTEGER NOT NULL,
    row_count INTEGER NOT NULL CHECK (row_count >= 0),
    named_end INTEGER NOT NULL DEFAULT 0,
    discarded INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (group_id, topic_id, partition)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_partitions_by_topic ON group_partitions (topic_id);
CREATE INDEX group_partitions_by_member ON group_partitions (group_id, member, topic_id, partition)
    WHERE member <> '';

-- Queue groups. state: 1 leased, 2 waiting, 3 held, 4 done, 5 dead. ready_at: when it may be given
-- out (leased: when the lease is over and its delay, too), 0 = it may; held and done: 0, it may not.
-- key: hash, with has_key. reason: why it is dead. Rows of a topic are found by way of
-- group_partitions: an index would cost every lease a write.
CREATE TABLE group_ranges (
    group_id INTEGER NOT NULL,
    topic_id BLOB NOT NULL CHECK (length(topic_id) = 16),
    partition INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 5),
    lease_id INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    ready_at INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    has_key INTEGER NOT NULL CHECK (has_key IN (0, 1)),
    key INTEGER NOT NULL,
    holder TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (group_id, topic_id, partition, first),
    CHECK (first <= last)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_ranges_ready ON group_ranges (group_id, topic_id, partition, ready_at, first)
    WHERE state IN (1, 2);
CREATE INDEX group_ranges_dead ON group_ranges (group_id, topic_id, partition, ready_at, first)
    WHERE state = 5;
CREATE INDEX group_ranges_by_key ON group_ranges (group_id, topic_id, partition, key, first)
    WHERE has_key = 1 AND state <> 4;

CREATE VIEW groups_view AS
SELECT g.name AS "group", CASE g.mode WHEN 0 THEN 'stream' ELSE 'queue' END AS mode, t.name AS topic,
    p.partition, p.position, p.frontier, p.member, p.holder, p.lease_id
FROM group_partitions AS p JOIN consumer_groups AS g ON g.group_id = p.group_id
    JOIN topics AS t ON t.topic_id = p.topic_id
ORDER BY g.name, t.name, p.partition;

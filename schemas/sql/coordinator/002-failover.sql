-- Leaders that change, nodes that leave, partitions that move. docs/design/008-failover.md.

-- state: 0 active, 1 fenced because it was silent, 2 fenced because it shut down, 3 removed.
ALTER TABLE nodes ADD COLUMN state INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 3);
ALTER TABLE nodes ADD COLUMN draining INTEGER NOT NULL DEFAULT 0 CHECK (draining IN (0, 1));

-- Lists of node ids, as replicas and isr. forced_epoch: newest leader epoch that began with a forced
-- leader, -1 = none.
ALTER TABLE partitions ADD COLUMN eligible TEXT NOT NULL DEFAULT '';
ALTER TABLE partitions ADD COLUMN unfit TEXT NOT NULL DEFAULT '';
ALTER TABLE partitions ADD COLUMN target TEXT NOT NULL DEFAULT '';
ALTER TABLE partitions ADD COLUMN dropped TEXT NOT NULL DEFAULT '';
ALTER TABLE partitions ADD COLUMN forced_epoch INTEGER NOT NULL DEFAULT -1;
CREATE INDEX partitions_moving ON partitions (topic_id, partition) WHERE target <> '';

-- Partitions that another node leads than the preferred one, or nobody: few when all is well.
CREATE INDEX partitions_astray ON partitions (topic_id, partition)
    WHERE leader <> CAST(replicas AS INTEGER);

-- Which partitions a node has: partitions.replicas, the other way round.
CREATE TABLE replicas (
    node_id INTEGER NOT NULL,
    topic_id BLOB NOT NULL,
    partition INTEGER NOT NULL,
    PRIMARY KEY (node_id, topic_id, partition)
) STRICT, WITHOUT ROWID;
INSERT INTO replicas SELECT r.value, p.topic_id, p.partition
    FROM partitions AS p, json_each('[' || p.replicas || ']') AS r;

DROP VIEW nodes_view;
CREATE VIEW nodes_view AS
SELECT node_id, lower(hex(process_uuid)) AS process, address, rack,
    CASE state WHEN 0 THEN 'active' WHEN 1 THEN 'silent' WHEN 2 THEN 'shut down' ELSE 'removed' END
        || CASE draining WHEN 1 THEN ', draining' ELSE '' END AS state,
    replica_count, leader_count,
    datetime(registered_ms / 1000, 'unixepoch') AS registered,
    datetime(started_ms / 1000, 'unixepoch') AS started
FROM nodes ORDER BY node_id;

DROP VIEW partitions_view;
CREATE VIEW partitions_view AS
SELECT t.name AS topic, p.partition, p.leader, p.leader_epoch, p.replicas, p.isr, p.eligible,
    p.unfit, p.target, p.dropped, p.forced_epoch, p.partition_epoch
FROM partitions AS p JOIN topics AS t ON t.topic_id = p.topic_id ORDER BY t.name, p.partition;

-- Queues: sums that are kept, rows that go in steps, receives that are repeated.
-- docs/design/010-consuming.md.

-- space: whose rows in group_ranges are the partition's. A partition that is reset gets another one
-- (from cluster.next_group_id), so that its former rows are out of the way at once.
ALTER TABLE group_ranges RENAME COLUMN group_id TO space;
ALTER TABLE group_partitions ADD COLUMN space INTEGER NOT NULL DEFAULT 0;

-- Records of the partition's rows by state: leased, waiting or held, dead. The others between
-- position and frontier are done.
ALTER TABLE group_partitions ADD COLUMN leased INTEGER NOT NULL DEFAULT 0;
ALTER TABLE group_partitions ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;
ALTER TABLE group_partitions ADD COLUMN dead INTEGER NOT NULL DEFAULT 0;

UPDATE group_partitions AS p SET space = group_id,
    leased = (SELECT coalesce(sum(r.last - r.first + 1), 0) FROM group_ranges AS r
        WHERE r.space = p.group_id AND r.topic_id = p.topic_id AND r.partition = p.partition
        AND r.state = 1),
    waiting = (SELECT coalesce(sum(r.last - r.first + 1), 0) FROM group_ranges AS r
        WHERE r.space = p.group_id AND r.topic_id = p.topic_id AND r.partition = p.partition
        AND r.state IN (2, 3)),
    dead = (SELECT coalesce(sum(r.last - r.first + 1), 0) FROM group_ranges AS r
        WHERE r.space = p.group_id AND r.topic_id = p.topic_id AND r.partition = p.partition
        AND r.state = 5);

-- Rows of group_ranges that are nobody's any more: SweepRanges deletes them, some at a time.
CREATE TABLE range_leftovers (
    space INTEGER NOT NULL,
    topic_id BLOB NOT NULL CHECK (length(topic_id) = 16),
    partition INTEGER NOT NULL,
    PRIMARY KEY (space, topic_id, partition)
) STRICT, WITHOUT ROWID;

-- What a QueueReceive was given, so that a repeated one is given it again. read_id: the gateway's;
-- those of one gateway follow one another, so that new rows are side by side. Rows are removed when
-- the gateway says that it has heard, or when until (lease clock) has passed.
CREATE TABLE queue_reads (
    group_id INTEGER NOT NULL,
    read_id INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    lease_id INTEGER NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (group_id, read_id, partition, first)
) STRICT, WITHOUT ROWID;

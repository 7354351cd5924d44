-- The cluster's metadata. docs/formats/meta-db.md says what each column means and who writes it.
--
-- Every row carries the metadata version of its last change; Metadata(knownVersion) is "rows with a
-- greater one". Ids are 16-byte BLOBs; the *_view views at the end show them as text.

CREATE TABLE cluster (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    cluster_id BLOB NOT NULL CHECK (length(cluster_id) = 16),
    applied_index INTEGER NOT NULL,
    applied_term INTEGER NOT NULL,
    version INTEGER NOT NULL,
    next_node_id INTEGER NOT NULL,
    next_producer_id INTEGER NOT NULL
) STRICT;

CREATE TABLE nodes (
    node_id INTEGER PRIMARY KEY,
    process_uuid BLOB NOT NULL UNIQUE CHECK (length(process_uuid) = 16),
    incarnation INTEGER NOT NULL,
    address TEXT NOT NULL,
    rack TEXT NOT NULL,
    replica_count INTEGER NOT NULL CHECK (replica_count >= 0),
    leader_count INTEGER NOT NULL CHECK (leader_count >= 0),
    registered_ms INTEGER NOT NULL,
    started_ms INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT;
CREATE INDEX nodes_by_version ON nodes (version);

CREATE TABLE topics (
    topic_id BLOB PRIMARY KEY CHECK (length(topic_id) = 16),
    name TEXT NOT NULL,
    deleted INTEGER NOT NULL CHECK (deleted IN (0, 1)),
    partition_count INTEGER NOT NULL,
    replication_factor INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    deleted_ms INTEGER NOT NULL,
    created_version INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX topics_by_name ON topics (name) WHERE deleted = 0;
CREATE INDEX topics_by_version ON topics (version);

CREATE TABLE topic_configs (
    topic_id BLOB NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (topic_id, name)
) STRICT, WITHOUT ROWID;

-- replicas and isr are node ids separated by commas, the preferred leader first in replicas.
CREATE TABLE partitions (
    topic_id BLOB NOT NULL,
    partition INTEGER NOT NULL,
    leader INTEGER NOT NULL,
    leader_epoch INTEGER NOT NULL,
    partition_epoch INTEGER NOT NULL,
    replicas TEXT NOT NULL,
    isr TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (topic_id, partition)
) STRICT, WITHOUT ROWID;
CREATE INDEX partitions_by_version ON partitions (version);
CREATE INDEX partitions_by_leader ON partitions (leader);

CREATE TABLE transforms (
    transform_id BLOB PRIMARY KEY CHECK (length(transform_id) = 16),
    name TEXT NOT NULL,
    deleted INTEGER NOT NULL CHECK (deleted IN (0, 1)),
    sql TEXT NOT NULL,
    source_topic_id BLOB NOT NULL,
    output_topic_id BLOB NOT NULL,
    errors_topic_id BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    deleted_ms INTEGER NOT NULL,
    created_version INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX transforms_by_name ON transforms (name) WHERE deleted = 0;
CREATE INDEX transforms_by_version ON transforms (version);

-- worker is 16 zero bytes while nobody holds the lease. position and the counters move without a new
-- version: nobody but the next owner needs them.
CREATE TABLE tasks (
    transform_id BLOB NOT NULL,
    partition INTEGER NOT NULL,
    worker BLOB NOT NULL CHECK (length(worker) = 16),
    epoch INTEGER NOT NULL,
    producer_id INTEGER NOT NULL UNIQUE,
    position INTEGER NOT NULL,
    records_in INTEGER NOT NULL,
    records_out INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    last_error TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (transform_id, partition)
) STRICT, WITHOUT ROWID;
CREATE INDEX tasks_by_version ON tasks (version);

-- For people with the sqlite3 command; the program reads none of these.

CREATE VIEW nodes_view AS
SELECT node_id, lower(hex(process_uuid)) AS process, address, rack, replica_count, leader_count,
    datetime(registered_ms / 1000, 'unixepoch') AS registered,
    datetime(started_ms / 1000, 'unixepoch') AS started
FROM nodes ORDER BY node_id;

CREATE VIEW topics_view AS
SELECT name, lower(hex(topic_id)) AS id, partition_count AS partitions,
    replication_factor AS replicas, datetime(created_ms / 1000, 'unixepoch') AS created
FROM topics WHERE deleted = 0 ORDER BY name;

CREATE VIEW partitions_view AS
SELECT t.name AS topic, p.partition, p.leader, p.leader_epoch, p.replicas, p.isr, p.partition_epoch
FROM partitions AS p JOIN topics AS t ON t.topic_id = p.topic_id ORDER BY t.name, p.partition;

CREATE VIEW tasks_view AS
SELECT f.name AS transform, k.partition, lower(hex(k.worker)) AS worker, k.epoch, k.position,
    k.records_in, k.records_out, k.errors, k.last_error
FROM tasks AS k JOIN transforms AS f ON f.transform_id = k.transform_id
ORDER BY f.name, k.partition;

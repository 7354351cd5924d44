-- Settings that change while a topic is used. docs/topic-config.md.

-- Grows with every change of the topic's rows in topic_configs.
ALTER TABLE topics ADD COLUMN config_epoch INTEGER NOT NULL DEFAULT 0;

-- Its durability was relaxed and is not any more: records of that time may not be on every disk.
ALTER TABLE topics ADD COLUMN was_relaxed INTEGER NOT NULL DEFAULT 0 CHECK (was_relaxed IN (0, 1));

-- Its incarnation before the last start: what that process sent and comes late counts no more.
ALTER TABLE nodes ADD COLUMN former_incarnation INTEGER NOT NULL DEFAULT 0;

-- Grows with each beginning and end of a drain.
ALTER TABLE nodes ADD COLUMN drain_epoch INTEGER NOT NULL DEFAULT 0;

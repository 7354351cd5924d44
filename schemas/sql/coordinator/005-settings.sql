-- Settings that change while a topic is used. docs/topic-config.md.

-- Grows with every change of the topic's rows in topic_configs.
ALTER TABLE topics ADD COLUMN config_epoch INTEGER NOT NULL DEFAULT 0;

-- Its durability was relaxed and is not any more: records of that time may not be on every disk.
ALTER TABLE topics ADD COLUMN was_relaxed INTEGER NOT NULL DEFAULT 0 CHECK (was_relaxed IN (0, 1));

-- Grows with each beginning and end of a drain.
ALTER TABLE nodes ADD COLUMN drain_epoch INTEGER NOT NULL DEFAULT 0;

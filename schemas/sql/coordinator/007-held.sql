-- Of the waiting records of a queue's partition, those that are held back by order per key.
ALTER TABLE group_partitions ADD COLUMN held INTEGER NOT NULL DEFAULT 0;

UPDATE group_partitions AS p SET held = (SELECT coalesce(sum(r.last - r.first + 1), 0)
    FROM group_ranges AS r WHERE r.space = p.space AND r.topic_id = p.topic_id
    AND r.partition = p.partition AND r.state = 3);

-- Moving partitions. docs/design/008-failover.md.

-- The replicas before the move began, for ending it without effect; empty = it is not moved.
ALTER TABLE partitions ADD COLUMN origin TEXT NOT NULL DEFAULT '';

-- Evening out was asked for and has not ended.
ALTER TABLE cluster ADD COLUMN rebalancing INTEGER NOT NULL DEFAULT 0 CHECK (rebalancing IN (0, 1));

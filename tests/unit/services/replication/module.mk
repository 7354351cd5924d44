$(eval $(call test,tests/unit/services/replication/feed_test,harness replication shared schemas common))

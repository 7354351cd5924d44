$(eval $(call test,tests/bench/failover/write_probe,schemas common))

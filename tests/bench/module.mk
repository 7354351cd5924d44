$(eval $(call test,tests/bench/net_bench,common))
$(eval $(call test,tests/bench/machine_bench,common))
$(eval $(call test,tests/bench/http_read,schemas common))
$(eval $(call test,tests/bench/log_bench,storage shared schemas common))
$(eval $(call test,tests/bench/group_bench,coordinator shared schemas common))
$(eval $(call test,tests/bench/queue_bench,coordinator shared schemas common))
$(eval $(call test,tests/bench/queue_rows_bench,\
  harness coordinator_fixture coordinator shared schemas common))

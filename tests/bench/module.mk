$(eval $(call test,tests/bench/net_bench,common))
$(eval $(call test,tests/bench/machine_bench,common))
$(eval $(call test,tests/bench/http_read,schemas common))
$(eval $(call test,tests/bench/log_bench,storage shared schemas common))

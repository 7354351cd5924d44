$(call library,bench_http,tests/bench/consume/bench_http.c)
$(eval $(call test,tests/bench/consume/stream_clients,common))
$(eval $(call test,tests/bench/consume/group_clients,bench_http common))

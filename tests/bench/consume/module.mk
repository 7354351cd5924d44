$(eval $(call test,tests/bench/consume/stream_clients,common))

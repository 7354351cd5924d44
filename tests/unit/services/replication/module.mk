$(foreach t,\
  feed \
  leases \
  throttle \
,\
  $(call test,tests/unit/services/replication/$(t)_test,harness replication shared schemas common))

# One worker, the test being the coordinator and the storage nodes.
$(call library,worker_fixture,tests/unit/services/replication/worker_fixture.c)
$(call test,tests/unit/services/replication/service_test,\
  harness worker_fixture fake_rpc replication shared schemas common)

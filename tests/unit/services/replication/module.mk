$(foreach t,feed leases throttle,\
  $(call test,tests/unit/services/replication/$(t)_test,harness replication shared schemas common))

$(foreach t,feed throttle,\
  $(call test,tests/unit/services/replication/$(t)_test,harness replication shared schemas common))

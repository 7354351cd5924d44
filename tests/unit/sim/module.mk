$(eval $(call test,tests/unit/sim/checker_test,harness simlib common))
$(eval $(call test,tests/unit/sim/checker_groups_test,harness simlib common))
$(eval $(call test,tests/unit/sim/history_text_test,harness simlib common))
$(eval $(call test,tests/unit/sim/plan_test,harness simlib common))
$(eval $(call test,tests/unit/sim/sim_http_test,harness simlib schemas common))
$(eval $(call test,tests/unit/sim/sim_disk_test,harness simlib common))
$(eval $(call test,tests/unit/sim/sim_net_test,harness simlib schemas common))
$(eval $(call test,tests/unit/sim/run_test,\
  harness simlib coordinator gateway storage replication transform shared schemas common))
$(eval $(call test,tests/unit/sim/inspect_test,\
  harness simlib coordinator gateway storage replication transform shared schemas common))
$(eval $(call test,tests/unit/sim/shrink_test,\
  harness simlib coordinator gateway storage replication transform shared schemas common))
$(eval $(call test,tests/unit/sim/consumers_test,\
  harness simlib coordinator gateway storage replication transform shared schemas common))

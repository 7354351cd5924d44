$(eval $(call test,tests/unit/sim/checker_test,harness simlib common))

$(call library,transform_world,\
  tests/unit/services/transform/world.c \
  tests/unit/services/transform/world_coordinator.c \
  tests/unit/services/transform/world_storage.c \
)
$(call test,tests/unit/services/transform/exactly_once_test,harness transform_world transform shared schemas common)
$(call test,tests/unit/services/transform/statement_test,harness transform shared schemas common)
$(call test,tests/unit/services/transform/sql_engine_test,harness transform shared schemas common)
$(call test,tests/unit/services/transform/sql_check_test,harness transform shared schemas common)
$(call test,tests/unit/services/transform/failure_record_test,harness transform schemas common)
$(call test,tests/unit/services/transform/service_test,harness transform_world transform shared schemas common)

include tests/unit/schemas/gen_tests.mk

$(call test,tests/unit/schemas/envelope_test,harness schemas common)
$(call test,tests/unit/schemas/batch_test,harness schemas common)

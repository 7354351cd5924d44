$(call test,tests/unit/services/cli/human_test,harness cli_pure common)

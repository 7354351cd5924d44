$(call test,tests/unit/services/cli/event_lines_test,harness cli_pure common)
$(call test,tests/unit/services/cli/human_test,harness cli_pure common)

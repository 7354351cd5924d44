$(call fuzz,tests/fuzz/batch_fuzz,schemas common)
$(call fuzz,tests/fuzz/json_fuzz,common,-ljansson)
$(call fuzz,tests/fuzz/messages_fuzz,schemas common)

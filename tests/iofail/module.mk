# Every call that can fail fails once. The linker wraps the allocator: tests/iofail/alloc.h.
comma := ,
$(call library,iofail,tests/iofail/alloc.c tests/iofail/scenario.c,\
  -Wl$(comma)--wrap=malloc$(comma)--wrap=calloc$(comma)--wrap=realloc$(comma)--wrap=strdup)
$(call test,tests/iofail/iofail_test,harness iofail fault_fs storage_fixture fake_rpc storage shared schemas common)
$(call test,tests/iofail/iofail_coordinator_test,harness fault_fs coordinator_fixture coordinator shared schemas common)

# Crash images: a real storage process is journaled, every legal disk after a power cut is recovered.
$(call test,tests/crash/workload,crash_node schemas common)
$(call library,crash_node,tests/crash/node.c)
$(call test,tests/crash/images,crash_images fault_fs storage shared schemas common)
$(call library,crash_images,tests/crash/disk.c tests/crash/judge.c)

# It goes into a process that may have a sanitizer of its own.
TESTS += $(B)/tests/crash/preload.so
$(B)/tests/crash/preload.so: tests/crash/preload.c tests/crash/journal.h $(lastword $(MAKEFILE_LIST))
	@mkdir -p $(@D) && $(SAY) LINK $@
	$(Q)$(CC) $(ALL_CPPFLAGS) -std=c11 -g -O1 $(WARNINGS) -fPIC -shared -pthread -o $@.$$$$ $< -ldl && \
	  mv -f $@.$$$$ $@

# The log: on a simulated disk (log_fixture.h), and its parts.
$(call library,log_fixture,\
  tests/unit/services/storage/damaged_log.c \
  tests/unit/services/storage/log_fixture.c)
$(foreach t,\
  checkpoint \
  leader_epochs \
  log_doubt \
  log_repair \
  log_repair_crash \
  offset_index \
  partition_log \
  partition_log_cut \
  partition_log_disk \
  partition_log_stop \
  producer_table \
  record_file \
  recovery \
  recovery_crash \
  recovery_files \
  segment_cache \
  time_index \
,\
  $(call test,tests/unit/services/storage/$(t)_test,harness log_fixture storage schemas common))

# The service above the log: one node on a simulated disk (storage_fixture.h).
$(call library,storage_fixture,\
  tests/unit/services/storage/follower.c \
  tests/unit/services/storage/storage_fixture.c \
  tests/unit/services/storage/trio.c)
$(foreach t,\
  data_dirs \
  doubts \
  dropped \
  fetch_sessions \
  handle_describe_logs \
  live_config \
  lost_tail \
  marks \
  parked \
  partition \
  partition_follower \
  partition_forced \
  partition_isr \
  partition_lead \
  reads \
  repair \
  replica_fetch \
  scrub \
  service \
  shutdown \
  tails \
  unsure \
,\
  $(call test,tests/unit/services/storage/$(t)_test,\
    harness storage_fixture fake_rpc storage shared schemas common))

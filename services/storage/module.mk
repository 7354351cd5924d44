# The log on disk.
STORAGE_LOG_SOURCES := $(addprefix services/storage/,\
  checkpoint.c \
  leader_epochs.c \
  log_doubt.c \
  log_install.c \
  log_meta.c \
  log_metrics.c \
  log_path.c \
  log_repair.c \
  log_replay.c \
  log_scrub.c \
  log_state.c \
  offset_index.c \
  partition_log.c \
  partition_log_append.c \
  partition_log_cut.c \
  partition_log_read.c \
  producer_table.c \
  record_file.c \
  recovery.c \
  recovery_scan.c \
  segment.c \
  segment_cache.c \
  segment_index.c \
  segment_walk.c \
  time_index.c \
)

# The service above it.
STORAGE_SERVICE_SOURCES := $(addprefix services/storage/,\
  data_dirs.c \
  disk_space.c \
  doubts.c \
  dispatch.c \
  events.c \
  fetch_sessions.c \
  fitness.c \
  folders.c \
  handle_describe_logs.c \
  handle_fetch.c \
  handle_produce.c \
  handle_range_fetch.c \
  handle_replica_fetch.c \
  handle_replica_follower.c \
  handle_replica_leader.c \
  handle_watch.c \
  handover.c \
  identity.c \
  inspect.c \
  marks.c \
  metrics.c \
  node_checkpoint.c \
  parked.c \
  partition.c \
  partition_follower.c \
  partition_isr.c \
  partition_produce.c \
  proposals.c \
  range_call.c \
  registration.c \
  repair.c \
  replicas.c \
  scrub.c \
  service.c \
  shutdown.c \
  tails.c \
  trash.c \
  unsure.c \
)

$(call library,storage,$(STORAGE_LOG_SOURCES) $(STORAGE_SERVICE_SOURCES))

$(call program,riacho-storage,services/storage/main.c,storage shared schemas common)

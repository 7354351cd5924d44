$(call library,coordinator_fixture,\
  tests/unit/services/coordinator/fixture.c tests/unit/services/coordinator/group_fixture.c \
  tests/unit/services/coordinator/queue_fixture.c)

COORDINATOR_TESTS := \
  apply_group_admin \
  apply_group_commit \
  apply_group_members \
  apply_group_read \
  apply_groups \
  apply_leaders \
  apply_moves \
  apply_nodes \
  apply_queue_ack \
  apply_queue_open \
  apply_queue_receive \
  apply_queue_settle \
  apply_topic_config \
  apply_topics \
  apply_transforms \
  assigner \
  assignment \
  consensus \
  data_dir \
  elections \
  group_model \
  handle_describe_cluster \
  handle_describe_groups \
  handle_heartbeat \
  handle_list_transforms \
  handle_metadata \
  handle_watch_groups \
  leader_choice \
  lease_clock \
  liveness \
  meta_db \
  metadata_view \
  metadata_waits \
  migrations \
  mover \
  node_list \
  overdue \
  placement \
  queue_limits \
  queue_model \
  queue_reads \
  queue_restart \
  range_rows \
  rebalance \
  service \
  state_machine \
  sweeper \
  tasks \
  vfs_db
$(foreach t,$(COORDINATOR_TESTS),$(call test,tests/unit/services/coordinator/$(t)_test,\
  harness coordinator_fixture coordinator shared schemas common))

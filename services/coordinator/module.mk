# The metadata of the cluster. May use common, schemas and services/shared.
COORDINATOR_SQL := $(sort $(wildcard schemas/sql/coordinator/*.sql))

$(call library,coordinator,\
  services/coordinator/apply_group_admin.c \
  services/coordinator/apply_group_commit.c \
  services/coordinator/apply_group_members.c \
  services/coordinator/apply_group_read.c \
  services/coordinator/apply_groups.c \
  services/coordinator/apply_leaders.c \
  services/coordinator/apply_moves.c \
  services/coordinator/apply_nodes.c \
  services/coordinator/apply_partition.c \
  services/coordinator/apply_placement.c \
  services/coordinator/apply_sweep.c \
  services/coordinator/apply_topic_config.c \
  services/coordinator/apply_queue.c \
  services/coordinator/apply_queue_ack.c \
  services/coordinator/apply_queue_open.c \
  services/coordinator/apply_queue_receive.c \
  services/coordinator/apply_queue_settle.c \
  services/coordinator/apply_topics.c \
  services/coordinator/apply_transforms.c \
  services/coordinator/assigner.c \
  services/coordinator/assignment.c \
  services/coordinator/consensus.c \
  services/coordinator/data_dir.c \
  services/coordinator/elections.c \
  services/coordinator/group_plan.c \
  services/coordinator/group_row.c \
  services/coordinator/group_waits.c \
  services/coordinator/handle_command.c \
  services/coordinator/handle_describe_cluster.c \
  services/coordinator/handle_describe_groups.c \
  services/coordinator/handle_heartbeat.c \
  services/coordinator/handle_list_transforms.c \
  services/coordinator/handle_metadata.c \
  services/coordinator/handle_plan_rebalance.c \
  services/coordinator/handle_watch_groups.c \
  services/coordinator/inspect.c \
  services/coordinator/leader_choice.c \
  services/coordinator/lease_clock.c \
  services/coordinator/liveness.c \
  services/coordinator/member_row.c \
  services/coordinator/meta_db.c \
  services/coordinator/metadata_view.c \
  services/coordinator/metadata_waits.c \
  services/coordinator/migrations.c \
  services/coordinator/mover.c \
  services/coordinator/node_list.c \
  services/coordinator/overdue.c \
  services/coordinator/partition_row.c \
  services/coordinator/placement.c \
  services/coordinator/planning.c \
  services/coordinator/propose.c \
  services/coordinator/queue_reads.c \
  services/coordinator/range_rows.c \
  services/coordinator/rebalance.c \
  services/coordinator/service.c \
  services/coordinator/state_machine.c \
  services/coordinator/sweeper.c \
  services/coordinator/tasks.c \
  services/coordinator/vfs_db.c \
,-lsqlite3)

# migrations.c holds these files byte for byte (.incbin), which the compiler does not report.
$(B)/services/coordinator/migrations.o: $(COORDINATOR_SQL)

$(call program,riacho-coordinator,services/coordinator/main.c,coordinator shared schemas common,)

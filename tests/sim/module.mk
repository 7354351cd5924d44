# The whole cluster in one deterministic process; see README.md.
$(eval $(call library,simlib,\
  tests/sim/admin.c \
  tests/sim/admin_groups.c \
  tests/sim/checker.c \
  tests/sim/checker_derived.c \
  tests/sim/checker_groups.c \
  tests/sim/checker_queue.c \
  tests/sim/checker_watermark.c \
  tests/sim/client.c \
  tests/sim/consumers.c \
  tests/sim/dead_letters.c \
  tests/sim/history.c \
  tests/sim/history_text.c \
  tests/sim/inspect.c \
  tests/sim/inspect_forced.c \
  tests/sim/lines.c \
  tests/sim/many.c \
  tests/sim/nemesis.c \
  tests/sim/plan.c \
  tests/sim/plan_groups.c \
  tests/sim/plan_text.c \
  tests/sim/producer.c \
  tests/sim/producer_send.c \
  tests/sim/queue_consumer.c \
  tests/sim/queue_words.c \
  tests/sim/reader.c \
  tests/sim/records.c \
  tests/sim/run.c \
  tests/sim/shrink.c \
  tests/sim/sim_connection.c \
  tests/sim/sim_copy.c \
  tests/sim/sim_disk.c \
  tests/sim/sim_front.c \
  tests/sim/sim_http.c \
  tests/sim/sim_net.c \
  tests/sim/sim_node.c \
  tests/sim/sim_wire.c \
  tests/sim/stream_consumer.c \
  tests/sim/stream_reader.c \
  tests/sim/stream_records.c \
  tests/sim/trace.c \
  tests/sim/workload.c \
  tests/sim/world.c \
))
$(eval $(call test,tests/sim/sim,simlib coordinator gateway storage replication transform shared schemas common))
$(eval $(call test,tests/sim/check_history,simlib common))

# riacho-gateway. The web server (http.c) is apart from the rest, so that the simulator and the unit
# tests can do without it.
$(eval $(call library,gateway,\
  services/gateway/admin.c \
  services/gateway/append.c \
  services/gateway/base_uri.c \
  services/gateway/commit_check.c \
  services/gateway/consumer_call.c \
  services/gateway/consumer_hold.c \
  services/gateway/consumer_input.c \
  services/gateway/consumer_notes.c \
  services/gateway/consumer_topics.c \
  services/gateway/coordinator_call.c \
  services/gateway/cors.c \
  services/gateway/cursor.c \
  services/gateway/deliver_at.c \
  services/gateway/document.c \
  services/gateway/failure.c \
  services/gateway/filter.c \
  services/gateway/framing.c \
  services/gateway/gate.c \
  services/gateway/group_fetch.c \
  services/gateway/group_fetch_read.c \
  services/gateway/group_input.c \
  services/gateway/group_ops.c \
  services/gateway/group_reading.c \
  services/gateway/group_release.c \
  services/gateway/group_watch.c \
  services/gateway/handle_cluster.c \
  services/gateway/handle_consumers_create.c \
  services/gateway/handle_consumers_offsets.c \
  services/gateway/handle_consumers_positions.c \
  services/gateway/handle_consumers_records.c \
  services/gateway/handle_consumers_subscription.c \
  services/gateway/handle_group_commit.c \
  services/gateway/handle_group_read.c \
  services/gateway/handle_group_reset.c \
  services/gateway/handle_groups.c \
  services/gateway/handle_leader.c \
  services/gateway/handle_moves.c \
  services/gateway/handle_nodes.c \
  services/gateway/handle_queue_ack.c \
  services/gateway/handle_queue_open.c \
  services/gateway/handle_queue_receive.c \
  services/gateway/handle_queue_redrive.c \
  services/gateway/handle_queues.c \
  services/gateway/handle_read.c \
  services/gateway/handle_rebalance.c \
  services/gateway/handle_records.c \
  services/gateway/handle_topic_alter.c \
  services/gateway/handle_stream.c \
  services/gateway/handle_topic_create.c \
  services/gateway/handle_topics.c \
  services/gateway/handle_transform_create.c \
  services/gateway/handle_transforms.c \
  services/gateway/handle_v2.c \
  services/gateway/handle_v2_produce.c \
  services/gateway/leader_call.c \
  services/gateway/marks.c \
  services/gateway/node_logs.c \
  services/gateway/offsets.c \
  services/gateway/openapi.c \
  services/gateway/outcall.c \
  services/gateway/positions.c \
  services/gateway/produce.c \
  services/gateway/produce_batch.c \
  services/gateway/produce_direct.c \
  services/gateway/produce_partition.c \
  services/gateway/queue_acks.c \
  services/gateway/queue_bury.c \
  services/gateway/queue_fetch.c \
  services/gateway/queue_input.c \
  services/gateway/queue_lock.c \
  services/gateway/queue_names.c \
  services/gateway/queue_read.c \
  services/gateway/record_times.c \
  services/gateway/records.c \
  services/gateway/records_lines.c \
  services/gateway/records_v2.c \
  services/gateway/redrive_filter.c \
  services/gateway/render.c \
  services/gateway/render_v2.c \
  services/gateway/request.c \
  services/gateway/router.c \
  services/gateway/routes.c \
  services/gateway/service.c \
  services/gateway/stream_class.c \
  services/gateway/stream_flock.c \
  services/gateway/stream_piece.c \
  services/gateway/stream_query.c \
  services/gateway/stream_read.c \
  services/gateway/streams.c \
  services/gateway/topic_pattern.c \
  services/gateway/topic_render.c \
  services/gateway/topic_settings.c \
  services/gateway/watch.c \
,-ljansson))
$(eval $(call library,gateway_http,\
  services/gateway/http.c \
  services/gateway/http_reply.c \
  services/gateway/listener.c \
,-lmicrohttpd))
$(eval $(call program,riacho-gateway,services/gateway/main.c,\
  gateway_http gateway shared schemas common))

# The assembler reads the text; the compiler does not see that.
$(B)/services/gateway/openapi.o: schemas/openapi.yaml

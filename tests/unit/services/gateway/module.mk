$(call library,gateway_world,\
  tests/unit/services/gateway/consuming.c \
  tests/unit/services/gateway/fake_request.c \
  tests/unit/services/gateway/front.c \
  tests/unit/services/gateway/group_world.c \
  tests/unit/services/gateway/instance.c \
  tests/unit/services/gateway/producing.c \
  tests/unit/services/gateway/queueing.c \
  tests/unit/services/gateway/stream_world.c \
  tests/unit/services/gateway/world.c)
$(foreach t,\
  admin \
  base_uri \
  commit_check \
  consumer_call \
  consumer_input \
  cors \
  cursor \
  decimal \
  failover \
  fetch_cache \
  filter \
  gate \
  group_fetch \
  group_ops \
  group_stream \
  group_watch \
  handle_consumers_create \
  handle_consumers_positions \
  handle_consumers_records \
  handle_group_commit \
  handle_group_read \
  handle_groups \
  handle_queue \
  handle_queue_ack \
  handle_queue_open \
  handle_read \
  openapi \
  produce \
  produce_model \
  produce_outcome \
  queue_bury \
  queue_lock \
  records \
  redrive_filter \
  render \
  render_v2 \
  request \
  router \
  service \
  stream_flock \
  streams \
  topic_alter \
  topic_pattern,\
  $(call test,tests/unit/services/gateway/$(t)_test,\
    gateway_world harness gateway shared schemas common))
$(foreach t,http http_reply,\
  $(call test,tests/unit/services/gateway/$(t)_test,harness gateway_http gateway shared schemas common))

$(call library,gateway_world,\
  tests/unit/services/gateway/fake_request.c \
  tests/unit/services/gateway/front.c \
  tests/unit/services/gateway/producing.c \
  tests/unit/services/gateway/world.c)
$(foreach t,\
  admin \
  c \
  cors \
  cursor \
  failover \
  filter \
  gate \
  gateway \
  group_ops \
  group_watch \
  group_world \
  handle_group \
  handle_read \
  openapi \
  produce \
  produce_model \
  produce_outcome \
  producing \
  records \
  render \
  request \
  router \
  service \
  services \
  streams \
  tests \
  topic_alter \
  unit,\
  $(call test,tests/unit/services/gateway/$(t)_test,\
    gateway_world harness gateway shared schemas common))
$(foreach t,http http_reply,\
  $(call test,tests/unit/services/gateway/$(t)_test,harness gateway_http gateway shared schemas common))

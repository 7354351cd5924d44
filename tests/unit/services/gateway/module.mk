$(call library,gateway_world,\
  tests/unit/services/gateway/fake_request.c \
  tests/unit/services/gateway/front.c \
  tests/unit/services/gateway/world.c)
$(foreach t,admin cursor failover gate handle_read openapi produce produce_model records render request router service,\
  $(call test,tests/unit/services/gateway/$(t)_test,\
    gateway_world harness gateway shared schemas common))
$(call test,tests/unit/services/gateway/http_test,harness gateway_http gateway shared schemas common)

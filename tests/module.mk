$(eval $(call library,harness,tests/lib/harness.c,-lcunit))

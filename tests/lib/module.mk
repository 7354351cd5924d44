$(call library,fake_rpc,tests/lib/fake_rpc.c)

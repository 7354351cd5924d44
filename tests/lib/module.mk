$(call library,fake_rpc,tests/lib/fake_rpc.c)
$(call library,fault_fs,tests/lib/fault_fs.c)

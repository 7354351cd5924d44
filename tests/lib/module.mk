# What every test may use: the harness, and stand-ins for other processes and for the disk.
$(call library,harness,tests/lib/harness.c,-lcunit)
$(call library,fake_rpc,tests/lib/fake_rpc.c)
$(call library,fault_fs,tests/lib/fault_fs.c)

# SQL over streams, exactly once.
$(call library,transform,\
  services/transform/call.c \
  services/transform/check.c \
  services/transform/failure_record.c \
  services/transform/leases.c \
  services/transform/output.c \
  services/transform/output_recover.c \
  services/transform/output_send.c \
  services/transform/service.c \
  services/transform/source.c \
  services/transform/sql_check.c \
  services/transform/sql_engine.c \
  services/transform/sql_program.c \
  services/transform/sql_result.c \
  services/transform/sql_table.c \
  services/transform/statement.c \
  services/transform/task.c \
  services/transform/task_commit.c \
  services/transform/task_report.c \
  services/transform/task_run.c \
  services/transform/tokens.c \
,-lsqlite3)
$(call program,riacho-transform,services/transform/main.c,transform shared schemas common)

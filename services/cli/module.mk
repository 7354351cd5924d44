# The command line. What is pure is apart, for its tests.
$(eval $(call library,cli_pure,services/cli/event_lines.c services/cli/human.c))
$(eval $(call program,riacho,\
  services/cli/cli.c \
  services/cli/cmd_alter.c \
  services/cli/cmd_cluster.c \
  services/cli/cmd_consume.c \
  services/cli/cmd_consume_group.c \
  services/cli/cmd_elect.c \
  services/cli/cmd_group.c \
  services/cli/cmd_node.c \
  services/cli/cmd_produce.c \
  services/cli/cmd_queue.c \
  services/cli/cmd_rebalance.c \
  services/cli/cmd_stream.c \
  services/cli/cmd_topic.c \
  services/cli/cmd_transform.c \
  services/cli/follow.c \
  services/cli/group_pages.c \
  services/cli/http_client.c \
  services/cli/http_stream.c \
  services/cli/main.c \
  services/cli/moves.c \
  services/cli/record_line.c \
,cli_pure schemas common,-lcurl -ljansson))

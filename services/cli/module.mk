$(eval $(call program,riacho,services/cli/main.c services/cli/cli.c services/cli/http_client.c \
  services/cli/cmd_topic.c services/cli/cmd_produce.c services/cli/cmd_consume.c \
  services/cli/cmd_transform.c services/cli/cmd_cluster.c services/cli/cmd_node.c \
  services/cli/cmd_rebalance.c services/cli/cmd_elect.c services/cli/human.c services/cli/moves.c,schemas common,-lcurl -ljansson))

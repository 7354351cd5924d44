$(eval $(call program,riacho,services/cli/main.c services/cli/cli.c services/cli/http_client.c \
  services/cli/cmd_topic.c services/cli/cmd_produce.c services/cli/cmd_consume.c \
  services/cli/cmd_transform.c services/cli/cmd_cluster.c,schemas common,-lcurl -ljansson))

# What more than one service needs to know of the cluster. May use common and schemas.
$(call library,shared,\
  services/shared/advertise.c \
  services/shared/cluster.c \
  services/shared/cluster_view.c \
  services/shared/confirm.c \
  services/shared/membership.c \
  services/shared/partitioner.c \
  services/shared/topic_config.c \
  services/shared/watcher.c \
)

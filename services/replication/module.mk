$(eval $(call library,replication,$(addprefix services/replication/,\
  feed.c \
  leases.c \
  peer.c \
  peer_catch_up.c \
  peer_epochs.c \
  peer_fetch.c \
  peer_write.c \
  service.c \
  throttle.c \
)))
$(eval $(call program,riacho-replication,services/replication/main.c,replication shared schemas common))

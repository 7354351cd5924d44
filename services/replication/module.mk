$(eval $(call library,replication,services/replication/feed.c services/replication/peer.c \
  services/replication/peer_catch_up.c\
  services/replication/peer_epochs.c services/replication/peer_fetch.c services/replication/peer_write.c \
  services/replication/service.c services/replication/throttle.c))
$(eval $(call program,riacho-replication,services/replication/main.c,replication shared schemas common))

# The libraries of the adapter files; a binary is linked with those it uses (--as-needed).
$(eval $(call library,common,\
  common/arena.c \
  common/assert.c \
  common/base64.c \
  common/buf.c \
  common/clock.c \
  common/codec.c \
  common/config.c \
  common/crc.c \
  common/err.c \
  common/fs.c \
  common/fs_pool.c \
  common/fs_posix.c \
  common/fs_sim.c \
  common/heap.c \
  common/json.c \
  common/json_check.c \
  common/log.c \
  common/loop.c \
  common/map.c \
  common/metrics.c \
  common/msg.c \
  common/net.c \
  common/net_inbox.c \
  common/net_link.c \
  common/net_source.c \
  common/net_wire.c \
  common/process.c \
  common/rand.c \
  common/sim_content.c \
  common/sim_names.c \
  common/timers.c \
  common/utf8.c \
  common/uuid.c \
,-lnng -lisal -lmicrohttpd))

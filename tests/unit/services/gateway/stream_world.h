/* stream_world: a gateway with streams over logs that know their records, and clients that check
 * what they get.
 *
 * Topic "t" has PARTITIONS partitions, "one" has one.
 */
#pragma once

#include "common/base.h"

#include "services/gateway/service.h"
#include "tests/unit/services/gateway/fake_request.h"
#include "tests/unit/services/gateway/world.h"

enum { PARTITIONS = 3, BATCH_RECORDS = 7, CURSOR_SIZE = 1024, STREAMS_MAX = 40 };

/* A record of partition p at offset o is {"p":p,"o":o,"n":o % 100} with key "k<o % 10>" at time
 * 1000 * o, so that nothing has to be kept. */
struct log {
    int64_t start;
    int64_t end;
};

struct stream_world {
    struct world world;
    struct gateway *gateway;
    struct log logs[PARTITIONS];
    uint32_t fetches;
    uint32_t value_pad; /* bytes that make the values larger */
    bool is_silent;     /* the leaders answer nothing */
};

struct stream_client {
    struct fake_request fake;
    size_t read; /* bytes of the body that were looked at */
    int64_t next[PARTITIONS];
    char cursor[CURSOR_SIZE];
    char last_id[CURSOR_SIZE]; /* sent in the request */
    uint32_t records;
    uint32_t beats;
    uint32_t gaps;
    char end[400]; /* data of the last event */
    bool has_filter;
    bool is_wrong;
};

/* No record is there. */
void stream_world_init(struct stream_world *s);
void stream_world_fini(struct stream_world *s);

/* Answer what the leaders are asked. False: nothing. */
bool stream_world_serve(struct stream_world *s);

/* Until nothing happens by itself for a moment. */
void stream_world_settle(struct stream_world *s);

/* last_id NULL: none is sent. */
void stream_client_open_as(
    struct stream_world *s,
    struct stream_client *client,
    const char *path,
    const char *type,
    const char *last_id
);
void stream_client_open(struct stream_world *s, struct stream_client *client, const char *path);
void stream_client_hang_up(struct stream_world *s, struct stream_client *client);

/* Whole events that came. */
void stream_client_look(struct stream_client *client);

/* Everything there is. */
void stream_client_drain(struct stream_world *s, struct stream_client *client);

/* It got all it wants, each once and in order. */
bool stream_client_is_done(const struct stream_world *s, const struct stream_client *client);

/* And nothing is left of it. */
bool stream_world_refuses(
    struct stream_world *s, const char *path, const char *last_id, int status, const char *part
);

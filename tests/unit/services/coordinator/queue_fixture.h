/* queue_fixture: a topic, a queue group and operations on it, for the tests of queues. After every
 * operation the ranges of every partition are checked (range_rows_check).
 *
 * Time is the lease clock; it begins at 1000 and only the test moves it. */
#pragma once

#include "common/arena.h"

#include "schemas/gen/queue_ack_result.h"
#include "schemas/gen/queue_open.h"
#include "schemas/gen/queue_open_result.h"
#include "schemas/gen/queue_receive_result.h"
#include "schemas/gen/queue_settle_result.h"

#include "services/coordinator/range_rows.h"
#include "services/shared/group_operations.h"
#include "tests/unit/services/coordinator/fixture.h"

enum {
    QUEUE_TOPIC = 50,
    QUEUE_PARTITIONS_MAX = 8,
    QUEUE_LOCK = 30000,

    QUEUE_ACK = 1,
    QUEUE_NACK = 2,
    QUEUE_EXTEND = 3,
    QUEUE_REJECT = 4,
    QUEUE_GIVE_BACK = 5,
    QUEUE_BURIED = 6,
};

struct queue_world {
    struct fixture_machine m;
    struct ria_arena arena; /* for reading rows */
    const char *group;
    int32_t partitions;
    int64_t ends[QUEUE_PARTITIONS_MAX]; /* what the gateway knows */
    const char *consumer;
    int32_t lock_ms;  /* of a receive, -1 = the group's */
    int32_t dead_max; /* of a receive */
    int32_t look_ahead;
    int64_t read_id; /* of a receive, 0 = none */
    int64_t heard_below;
    bool unchecked; /* the test has made a row false */
    struct queue_open_result opened;
    struct queue_receive_result received;
    struct queue_settle_result settled;
    struct queue_ack_result acked;
};

/* A topic of so many partitions. The group is "q"; it is made by the first operation. */
void queue_world_open(struct queue_world *w, int32_t partitions);
void queue_world_close(struct queue_world *w);

/* Any operation. result may be NULL; it is valid until the next one. m.text tells why an operation
 * or entry was refused. */
ria_err queue_world_run(struct queue_world *w, int8_t kind, const void *body, void *result);

/* Settings that change nothing; to be filled in. */
struct queue_open queue_world_settings(struct queue_world *w);
ria_err queue_world_set(struct queue_world *w, const struct queue_open *settings);

/* Partitions without a position start at 0. The result is w->received. */
ria_err queue_world_receive(struct queue_world *w, int32_t records_max);

/* What was granted, as "partition:first-last#deliveries", with "u" if it is not settled, by
 * blanks; the same of the dead and the offered ("partition@offset"). Prints it if it differs. */
bool queue_world_granted(struct queue_world *w, const char *wanted);
bool queue_world_dead(struct queue_world *w, const char *wanted);
bool queue_world_offered(struct queue_world *w, const char *wanted);

/* Lease of the first grant, or the first dead range. */
int64_t queue_world_lease(const struct queue_world *w);

/* Records from first on with a key each, '.' = none; none is due for delay_ms. The result is
 * w->settled. */
ria_err queue_world_settle(
    struct queue_world *w,
    int32_t partition,
    int64_t lease_id,
    int64_t first,
    const char *keys,
    int64_t delay_ms
);

/* What became of the entries: h handed out, - put back, c conflict, l limit. */
bool queue_world_settled(struct queue_world *w, const char *wanted);

/* One entry; the operation's error or else the entry's. */
ria_err queue_world_act(
    struct queue_world *w,
    int32_t partition,
    int64_t lease_id,
    int64_t first,
    int64_t last,
    int8_t action,
    int64_t delay_ms
);
ria_err queue_world_reject(
    struct queue_world *w, int64_t lease_id, int64_t first, int64_t last, const char *reason
);

/* The partition's rows between position and frontier: L leased, W waiting, H held, D done, X dead,
 * as "L0-9 W10-10". */
bool queue_world_looks(struct queue_world *w, int32_t partition, const char *wanted);
struct queue_row queue_world_row(struct queue_world *w, int32_t partition);
struct range_row queue_world_range(struct queue_world *w, int32_t partition, int64_t offset);

/* consumer_call: one call of a Confluent REST v2 consumer, and what the calls have in common.
 *
 * An instance is a made member of a stream group (docs/design/010-consuming.md); what is
 * Confluent's own of it (format, settings, pattern, names) is in the member's detail,
 * schemas/records/ ConsumerInstance.json. So every call begins with an operation on the member: it
 * is heard, and its detail, subscription and partitions are told. A gateway keeps nothing.
 *
 * - The path of a named instance ends in ";epoch=N": that of the base_uri that its maker got. Who
 *   was taken over is refused by it. Without it any life of the instance is meant.
 * - What an answer delivers is noted when the socket has it (consumer_notes.h), maybe after the
 *   client's next call has begun at another gateway. So an answer that is under way is marked in
 *   the detail first, and a call that finds the mark asks again for a second: the gateway that
 *   set it takes it away, or has died. Then nothing of it counts as delivered.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/list.h"
#include "common/timers.h"

#include "schemas/gen/consumer_instance.h"
#include "schemas/gen/group_member.h"
#include "schemas/gen/group_member_result.h"

#include "services/gateway/failure.h"
#include "services/gateway/gateway.h"

enum {
    CONSUMER_TOPICS_MAX = 64,
    CONSUMER_DETAIL_MAX = 14 * 1024, /* encoded, with all topics under the longest names */
    CONSUMER_PARTITIONS_MAX = 10000, /* in one document: it has ROUTE_DOCUMENT_MAX bytes */
};

typedef enum consumer_format { CONSUMER_BINARY = 0, CONSUMER_JSON = 1 } consumer_format;

typedef struct group_member_result_group_assigned consumer_assigned;

struct consumer_call;
typedef void (*consumer_fn)(struct consumer_call *call);

/* In the request's arena. */
struct consumer_call {
    struct gateway *gateway;
    struct request *request;
    struct ria_slice group;
    struct ria_slice name;
    int32_t epoch; /* as the path says, -1: any; then the member's */
    /* the member as it was told last */
    struct consumer_instance instance;
    int64_t detail_hash;     /* of its encoding: who writes by what it says makes sure of it */
    struct ria_uuid *topics; /* subscribed */
    uint32_t topic_count;
    consumer_assigned *assigned; /* planned, or its own choice */
    uint32_t assigned_count;
    struct group_op op; /* one at a time */
    void *user;         /* the handler's */
    /* private */
    struct group_member member;
    consumer_fn opened;
    consumer_fn then;
    struct ria_timer timer;
    struct ria_list link; /* in gateway->consumer_calls while the timer runs */
    int64_t mark_until_us;
    uint8_t detail[CONSUMER_DETAIL_MAX];
};

/* The call of a request; NULL: no memory, and answered. The group's name is checked. */
struct consumer_call *consumer_call_new(struct gateway *gateway, struct request *request);

/* Hear the instance that the path names; fn runs when it is known, else the request is answered.
 * False: answered already. */
bool consumer_open(struct consumer_call *call, consumer_fn fn);

/* A member operation that changes nothing yet, then sent; fn runs when it was done, with the call's
 * view of the member renewed; else it is answered. consumer_member_told() does that for who takes
 * the answer himself. */
void consumer_member_init(struct group_member *member, const struct consumer_call *call);
struct group_member *consumer_member(struct consumer_call *call);
void consumer_member_send(struct consumer_call *call, consumer_fn fn);
void consumer_member_op(struct consumer_call *call, group_op_fn done);
void consumer_member_told(
    struct consumer_call *call, const struct group_op_result *result, consumer_fn fn
);

/* GroupMember.detailHash */
int64_t consumer_detail_hash(struct ria_slice detail);

/* The instance as it is in call->instance, encoded in call->detail. */
struct ria_slice consumer_detail(struct consumer_call *call);
ria_err consumer_detail_encode(
    const struct consumer_instance *instance,
    uint8_t out[CONSUMER_DETAIL_MAX],
    struct ria_slice *out_detail
) RIA_MUST_USE;

/* The slices are in the arena. Errors: RIA_ERR_MALFORMED (it is no instance), RIA_ERR_NOMEM,
 * RIA_ERR_UNKNOWN_VERSION. */
ria_err consumer_detail_decode(
    struct ria_slice detail, struct ria_arena *arena, struct consumer_instance *out_instance
) RIA_MUST_USE;

/* Takes what the coordinator said of the member. False: answered. */
bool consumer_take_member(struct consumer_call *call, const struct group_member_result *said);

/* Any operation; its repetition does no harm. */
void consumer_op(
    struct consumer_call *call,
    group_op_kind kind,
    const void *body,
    size_t answer_size,
    group_op_fn done
);

/* Later, unless the gateway ends before. */
void consumer_pause(struct consumer_call *call, int64_t delay_us, consumer_fn fn);
void consumer_calls_fini(struct gateway *gateway);

/* It has asked for topics, by names or a pattern. They need not exist any more. */
bool consumer_subscribes(const struct consumer_call *call);

/* Its partitions are its own choice. */
bool consumer_chose(const struct consumer_call *call);

/* Is the partition the instance's? */
bool consumer_has(const struct consumer_call *call, const struct cluster_partition *partition);

/* ---- answers ---- */

/* Confluent's type for what is no record. */
void consumer_respond(struct request *request, ria_err err, struct ria_buf *buf);

/* What an operation was refused for, in Confluent's numbers. */
void consumer_fail(struct request *request, const struct group_op_result *result);
void consumer_fail_op(struct failure *failure, const struct group_op_result *result);
void consumer_fail_as(struct failure *failure);

/* An error of Confluent's: its number's first three digits are the status, if it has five. */
void consumer_refuse(struct request *request, int code, const char *field, const char *fmt, ...)
    RIA_PRINTF(4, 5);

/* instance: one instance of Confluent's consumers, the gateway it calls, and the coordinator's view
 * of it. The test answers for the cluster as in consuming.h; tests/system/consumers_v2_test.py has
 * the calls one by one. */
#pragma once

#include "common/base.h"

#include "schemas/gen/group_member.h"

#include "services/gateway/consumer_call.h"
#include "tests/unit/services/gateway/consuming.h"

enum { INSTANCE_EPOCH = 9 };

#define INSTANCE_V2_JSON "application/vnd.kafka.json.v2+json"
#define INSTANCE_PATH    "/consumers/g/instances/i"

struct instance {
    struct consuming c;                /* its client 0 */
    struct consumer_instance instance; /* as the coordinator has it */
    bool is_subscribed;                /* to t, of which partitions 0 and 1 are its own */
};

void instance_init(struct instance *s);
void instance_fini(struct instance *s);

/* The next request; headers may be added before it is sent. */
void instance_begin(struct instance *s, const char *method, const char *path, const char *body);
void instance_send(struct instance *s);
void instance_call(struct instance *s, const char *method, const char *path, const char *body);
bool instance_answered(const struct instance *s, int status, const char *part);

/* The coordinator is asked for the member, and for nothing else. */
const struct group_member *instance_expect_member(struct instance *s);

/* Is it a sign of life under that epoch, which changes nothing? */
bool instance_is_plain_touch(const struct group_member *member, int32_t epoch);

/* What the operation leaves in the member's detail. */
struct consumer_instance instance_detail_of(struct instance *s, const struct group_member *member);

/* Answer it: the instance as it is. */
void instance_tell(struct instance *s);

/* A poll has read two records from offset 7 on, under lease 11: the mark is being set. */
const struct group_member *instance_poll_two(struct instance *s, const char *path);

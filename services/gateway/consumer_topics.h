/* consumer_topics: which topics an instance subscribes to by its pattern or its names.
 *
 * Those of our view whose names match, and those it has already that our view does not know: it may
 * be behind that of another gateway. What is deleted is taken from the subscription by the
 * coordinator; what is made anew under its name comes in again with the next look.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"

#include "services/gateway/consumer_call.h"
#include "services/gateway/topic_pattern.h"

/* At most CONSUMER_TOPICS_MAX ids; returns how many match and might be more. pattern NULL: the
 * instance's names. */
uint32_t consumer_topics_match(
    struct consumer_call *call,
    const struct topic_pattern *pattern,
    struct ria_uuid out_ids[CONSUMER_TOPICS_MAX],
    uint32_t *out_count
);

/* The same topics as it has now? */
bool consumer_topics_same(
    const struct consumer_call *call, const struct ria_uuid *ids, uint32_t count
);

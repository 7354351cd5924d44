#include "services/gateway/consumer_topics.h"

static bool has(const struct ria_uuid *ids, uint32_t count, const struct ria_uuid *id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ria_uuid_equal(ids[i], *id)) {
            return true;
        }
    }
    return false;
}

static bool
matches(const struct consumer_call *call, const struct topic_pattern *pattern, const char *name)
{
    bool is_named = false;

    for (uint32_t i = 0; i < call->instance.topics_count; i++) {
        is_named = is_named || ria_slice_equal(call->instance.topics[i], ria_slice_cstr(name));
    }
    return pattern != NULL ? topic_pattern_matches(pattern, name) : is_named;
}

uint32_t consumer_topics_match(
    struct consumer_call *call,
    const struct topic_pattern *pattern,
    struct ria_uuid out_ids[CONSUMER_TOPICS_MAX],
    uint32_t *out_count
)
{
    struct cluster *cluster = call->gateway->cluster;
    uint32_t count = 0;
    uint32_t matching = 0;

    for (uint32_t i = 0; i < call->topic_count && count < CONSUMER_TOPICS_MAX; i++) {
        if (cluster_topic_by_id(cluster, &call->topics[i]) == NULL) {
            out_ids[count++] = call->topics[i];
        }
    }
    RIA_LIST_FOREACH (link, cluster_topics(cluster)) {
        const struct cluster_topic *topic = RIA_CONTAINER(link, struct cluster_topic, link);
        if (topic->deleted || topic->partition_count == 0 ||
            topic->config.delivery == TOPIC_DELIVERY_QUEUE ||
            !matches(call, pattern, topic->name)) {
            continue;
        }
        matching++;
        if (count < CONSUMER_TOPICS_MAX) {
            out_ids[count++] = topic->id;
        }
    }
    *out_count = count;
    return matching;
}

bool consumer_topics_same(
    const struct consumer_call *call, const struct ria_uuid *ids, uint32_t count
)
{
    bool same = call->topic_count == count;

    for (uint32_t i = 0; i < count && same; i++) {
        same = has(call->topics, call->topic_count, &ids[i]);
    }
    return same;
}

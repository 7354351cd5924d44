/* topic_render: the description of a topic in /v1. In handle_topics.c. */
#pragma once

#include "common/buf.h"

#include "services/gateway/offsets.h"

/* offsets (may be NULL): of the first offset_count partitions. */
ria_err topic_render(
    const struct cluster_topic *topic,
    const struct offsets_of *offsets,
    int32_t offset_count,
    struct ria_buf *out
) RIA_MUST_USE;

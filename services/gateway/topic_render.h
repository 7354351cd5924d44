/* topic_render: a topic as /v1 shows it. Pure. */
#pragma once

#include "common/buf.h"

#include "services/gateway/offsets.h"

/* As an element of the list. */
ria_err topic_render_listed(const struct cluster_topic *topic, struct ria_buf *out) RIA_MUST_USE;

/* The whole description. offsets (may be NULL): of the first offset_count partitions. */
ria_err topic_render(
    const struct cluster_topic *topic,
    const struct offsets_of *offsets,
    int32_t offset_count,
    struct ria_buf *out
) RIA_MUST_USE;

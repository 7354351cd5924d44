#include "services/gateway/topic_render.h"

#include "common/limits.h"

#include "services/gateway/gateway.h"

ria_err topic_render_listed(const struct cluster_topic *topic, struct ria_buf *out)
{
    char id[RIA_UUID_TEXT_SIZE];

    ria_uuid_format(topic->id, id);
    return ria_buf_printf(
        out,
        "{\"name\":\"%s\",\"id\":\"%s\",\"partition_count\":%d,\"replication_factor\":%d,"
        "\"durability\":\"%s\"}",
        topic->name,
        id,
        (int)topic->partition_count,
        (int)topic->replication_factor,
        gateway_durability(topic)
    );
}

static ria_err render_nodes(const int32_t *nodes, uint32_t count, struct ria_buf *out)
{
    RIA_TRY(ria_buf_append_str(out, "["));
    for (uint32_t i = 0; i < count; i++) {
        RIA_TRY(ria_buf_printf(out, "%s%d", i > 0 ? "," : "", (int)nodes[i]));
    }
    return ria_buf_append_str(out, "]");
}

static ria_err
render_partition(const struct cluster_partition *p, const struct offsets_of *o, struct ria_buf *out)
{
    RIA_TRY(ria_buf_printf(out, "{\"partition\":%d,\"leader\":", (int)p->number));
    RIA_TRY(
        p->leader < 0 ? ria_buf_append_str(out, "null") : ria_buf_printf(out, "%d", (int)p->leader)
    );
    RIA_TRY(ria_buf_printf(out, ",\"leader_epoch\":%d,\"replicas\":", (int)p->leader_epoch));
    RIA_TRY(render_nodes(p->replicas, p->replica_count, out));
    RIA_TRY(ria_buf_append_str(out, ",\"isr\":"));
    RIA_TRY(render_nodes(p->isr, p->isr_count, out));
    RIA_TRY(ria_buf_append_str(out, ",\"eligible\":"));
    RIA_TRY(render_nodes(p->eligible.ids, p->eligible.count, out));
    RIA_TRY(ria_buf_append_str(out, ",\"unfit\":"));
    RIA_TRY(render_nodes(p->unfit.ids, p->unfit.count, out));
    RIA_TRY(ria_buf_append_str(out, ",\"target\":"));
    RIA_TRY(render_nodes(p->target.ids, p->target.count, out));
    RIA_TRY(ria_buf_append_str(out, ",\"forced_epoch\":"));
    RIA_TRY(
        p->forced_epoch < 0 ? ria_buf_append_str(out, "null")
                            : ria_buf_printf(out, "%d", (int)p->forced_epoch)
    );
    if (o != NULL && o->known) {
        return ria_buf_printf(
            out,
            ",\"log_start_offset\":%lld,\"high_watermark\":%lld}",
            (long long)o->log_start,
            (long long)o->high_watermark
        );
    }
    return ria_buf_append_str(out, ",\"log_start_offset\":null,\"high_watermark\":null}");
}

static ria_err render_config(const struct cluster_topic *topic, struct ria_buf *out)
{
    RIA_TRY(ria_buf_append_str(out, "\"config\":{"));
    for (size_t i = 0; i < topic_config_count(); i++) {
        char text[RIA_CONFIG_VALUE_MAX];
        topic_config_text(&topic->config, i, text, sizeof(text));
        RIA_TRY(ria_buf_printf(out, "%s\"%s\":\"%s\"", i > 0 ? "," : "", topic_config_name(i), text)
        );
    }
    return ria_buf_append_str(out, "}");
}

ria_err topic_render(
    const struct cluster_topic *topic,
    const struct offsets_of *offsets,
    int32_t offset_count,
    struct ria_buf *out
)
{
    RIA_TRY(topic_render_listed(topic, out));
    out->size--; /* the brace: the object goes on */
    RIA_TRY(ria_buf_append_str(out, ","));
    RIA_TRY(render_config(topic, out));
    RIA_TRY(ria_buf_append_str(out, ",\"partitions\":["));
    for (int32_t i = 0; i < topic->partition_count; i++) {
        const struct offsets_of *of = offsets != NULL && i < offset_count ? &offsets[i] : NULL;
        RIA_TRY(ria_buf_append_str(out, i > 0 ? ",\n" : "\n"));
        RIA_TRY(render_partition(topic->partitions[i], of, out));
    }
    return ria_buf_append_str(out, "\n]}\n");
}

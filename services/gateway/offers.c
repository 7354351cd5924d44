#include "services/gateway/offers.h"

#include "common/assert.h"

#include "services/gateway/positions.h"

enum {
    STARTS_TIMEOUT_MS = 2000,
    LOOK_TIMEOUT_MS = 1000,
};

ria_err offers_begin(struct offers *offers, uint32_t count)
{
    offers->at = ria_arena_alloc_array(offers->arena, count, sizeof(*offers->at));
    offers->fresh = ria_arena_alloc_array(offers->arena, count, sizeof(*offers->fresh));
    offers->count = 0;
    offers->fresh_count = 0;
    return offers->at == NULL || offers->fresh == NULL ? ria_arena_err(offers->arena) : RIA_OK;
}

void offers_add(
    struct offers *offers, const struct ria_uuid *topic_id, int32_t partition, int64_t offset
)
{
    struct marks_at at = {
        .partition = cluster_partition(offers->gateway->cluster, topic_id, partition),
        .offset = offset,
    };

    if (at.partition == NULL) {
        return;
    }
    if (offset < 0) {
        offers->fresh[offers->fresh_count++] = at;
    } else {
        offers->at[offers->count++] = at;
    }
}

void offers_forget(struct offers *offers)
{
    offers->count = 0;
    offers->starts_tried = false;
}

bool offers_have_news(const struct offers *offers)
{
    for (uint32_t i = 0; i < offers->count; i++) {
        const struct marks_at *at = &offers->at[i];
        if (marks_get(&offers->gateway->marks, at->partition) > at->offset) {
            return true;
        }
    }
    return false;
}

/* --- starts ------------------------------------------------------------------------------------*/

static void starts_known(struct positions *positions)
{
    struct offers *offers = positions->arg;
    uint32_t known = 0;

    for (uint32_t i = 0; i < positions->count; i++) {
        const struct position *found = &positions->items[i];
        if (found->known) {
            offers->fresh[known++] = (struct marks_at){
                .partition = found->partition,
                .offset = offers->from_latest ? found->high_watermark : found->log_start,
            };
            marks_note(&offers->gateway->marks, found->partition, found->high_watermark);
        }
    }
    offers->fresh_count = known;
    offers->started(offers);
}

ria_err offers_find_starts(struct offers *offers)
{
    struct position *items =
        ria_arena_alloc_array(offers->arena, offers->fresh_count, sizeof(*items));

    RIA_ASSERT(offers->fresh_count > 0);
    offers->starts_tried = true;
    if (items == NULL) {
        return ria_arena_err(offers->arena);
    }
    for (uint32_t i = 0; i < offers->fresh_count; i++) {
        items[i].partition = offers->fresh[i].partition;
        items[i].kind = POSITION_LATEST;
    }
    return positions_start(
        &offers->gateway->leaders,
        offers->arena,
        items,
        offers->fresh_count,
        STARTS_TIMEOUT_MS,
        starts_known,
        offers
    );
}

/* --- ends --------------------------------------------------------------------------------------*/

static bool knows_all_ends(const struct offers *offers)
{
    for (uint32_t i = 0; i < offers->count; i++) {
        if (marks_get(&offers->gateway->marks, offers->at[i].partition) < 0) {
            return false;
        }
    }
    return true;
}

static void probe_done(struct marks_probe *probe)
{
    struct offers *offers = probe->arg;

    offers->looked(offers);
}

bool offers_look(struct offers *offers, bool waits)
{
    if (offers->has_looked || offers->count == 0 || (waits && knows_all_ends(offers))) {
        return false;
    }
    offers->has_looked = true;
    offers->probe = (struct marks_probe){
        .at = offers->at,
        .count = offers->count,
        .timeout_ms = LOOK_TIMEOUT_MS,
        .done = probe_done,
        .arg = offers,
    };
    return marks_probe_start(&offers->gateway->marks, &offers->probe);
}

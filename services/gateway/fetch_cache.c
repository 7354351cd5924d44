#include "services/gateway/fetch_cache.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/batch.h"

/* The pieces of a partition; there is one at least. */
struct shelf {
    const struct cluster_partition *partition;
    struct ria_list pieces; /* oldest first */
    uint32_t count;
};

struct piece {
    struct shelf *shelf;
    struct ria_list on_shelf;
    struct ria_list link; /* of all */
    int32_t epoch;
    int64_t until_us;
    struct fetched fetched; /* its bytes are these: */
    uint8_t bytes[];
};

static struct piece *piece_at(struct ria_list *link)
{
    return RIA_CONTAINER(link, struct piece, link);
}

static struct piece *on_shelf(struct ria_list *link)
{
    return RIA_CONTAINER(link, struct piece, on_shelf);
}

static void shelf_free(struct fetch_cache *cache, struct shelf *shelf)
{
    (void)ria_map_remove(&cache->shelves, &shelf->partition, sizeof(shelf->partition));
    free(shelf);
}

/* With the last piece the shelf goes. */
static void drop(struct fetch_cache *cache, struct piece *piece)
{
    struct shelf *shelf = piece->shelf;
    size_t size = piece->fetched.batches.size;

    ria_list_remove(&piece->link);
    ria_list_remove(&piece->on_shelf);
    cache->size -= size;
    budget_give(cache->budget, size);
    free(piece);
    if (--shelf->count == 0) {
        shelf_free(cache, shelf);
    }
}

static int64_t now_us(const struct fetch_cache *cache)
{
    return ria_clock_mono_us(cache->env->clock);
}

/* Those that are too old; the timer is set to the oldest that is left. */
static void age_due(struct ria_timer *timer, void *arg)
{
    struct fetch_cache *cache = arg;

    while (!ria_list_is_empty(&cache->pieces)) {
        struct piece *oldest = piece_at(cache->pieces.next);
        int64_t left_us = oldest->until_us - now_us(cache);
        if (left_us > 0) {
            ria_timer_start(cache->env->timers, timer, left_us);
            break;
        }
        drop(cache, oldest);
    }
}

void fetch_cache_init(struct fetch_cache *cache, const struct ria_env *env, struct budget *budget)
{
    *cache = (struct fetch_cache){.env = env, .budget = budget};
    ria_map_init(&cache->shelves);
    ria_list_init(&cache->pieces);
    ria_timer_init(&cache->age, age_due, cache);
}

void fetch_cache_fini(struct fetch_cache *cache)
{
    (void)fetch_cache_clear(cache);
    ria_map_fini(&cache->shelves);
}

bool fetch_cache_clear(struct fetch_cache *cache)
{
    bool any = !ria_list_is_empty(&cache->pieces);

    while (!ria_list_is_empty(&cache->pieces)) {
        drop(cache, piece_at(cache->pieces.next));
    }
    ria_timer_stop(cache->env->timers, &cache->age);
    return any;
}

/* --- putting -----------------------------------------------------------------------------------*/

/* False: it is larger than all that may be kept. */
static bool make_room(struct fetch_cache *cache, size_t size)
{
    size_t share = (size_t)cache->budget->limit / FETCH_CACHE_SHARE;
    size_t room = ria_min_size(FETCH_CACHE_SIZE_MAX, share);

    if (size > ria_min_size(FETCH_PIECE_SIZE_MAX, room)) {
        return false;
    }
    while (cache->size + size > room) {
        drop(cache, piece_at(cache->pieces.next));
    }
    return true;
}

/* NULL: no memory. */
static struct shelf *
open_shelf(struct fetch_cache *cache, const struct cluster_partition *partition)
{
    struct shelf *shelf = ria_map_get(&cache->shelves, &partition, sizeof(partition));

    if (shelf != NULL) {
        return shelf;
    }
    shelf = calloc(1, sizeof(*shelf));
    if (shelf == NULL) {
        return NULL;
    }
    shelf->partition = partition;
    ria_list_init(&shelf->pieces);
    if (ria_map_put(&cache->shelves, &shelf->partition, sizeof(partition), shelf) != RIA_OK) {
        free(shelf);
        return NULL;
    }
    return shelf;
}

/* Takes piece. */
static void put(struct fetch_cache *cache, struct shelf *shelf, struct piece *piece)
{
    piece->shelf = shelf;
    ria_list_push_back(&shelf->pieces, &piece->on_shelf);
    ria_list_push_back(&cache->pieces, &piece->link);
    cache->size += piece->fetched.batches.size;
    budget_charge(cache->budget, piece->fetched.batches.size);
    if (++shelf->count > FETCH_PIECES_MAX) {
        drop(cache, on_shelf(shelf->pieces.next));
    }
    if (!cache->age.active) {
        ria_timer_start(cache->env->timers, &cache->age, FETCH_CACHE_AGE_US);
    }
}

void fetch_cache_put(
    struct fetch_cache *cache,
    const struct cluster_partition *partition,
    int32_t epoch,
    const struct fetched *fetched
)
{
    size_t size = fetched->batches.size;

    RIA_ASSERT(size > 0 && fetched->first < fetched->end);
    if (!make_room(cache, size)) {
        return;
    }
    struct shelf *shelf = open_shelf(cache, partition);
    if (shelf == NULL) {
        return;
    }
    struct piece *piece = malloc(sizeof(*piece) + size);
    if (piece == NULL) {
        if (shelf->count == 0) {
            shelf_free(cache, shelf);
        }
        return;
    }
    *piece = (struct piece){
        .epoch = epoch,
        .until_us = now_us(cache) + FETCH_CACHE_AGE_US,
        .fetched = *fetched,
    };
    memcpy(piece->bytes, fetched->batches.data, size);
    piece->fetched.batches = ria_slice_of(piece->bytes, size);
    put(cache, shelf, piece);
}

/* --- getting -----------------------------------------------------------------------------------*/

/* The part with [first, last]; empty: that is not in it as a whole. */
static struct ria_slice
part_of(struct ria_slice batches, int64_t first, int64_t last, int64_t bytes_max)
{
    struct batch_header header;
    size_t from = 0;
    size_t at = 0;
    bool found = false;

    while (batch_header_decode(ria_slice_sub(batches, at, batches.size), &header) == RIA_OK &&
           batch_size(&header) <= batches.size - at) {
        if (!found && header.base_offset > first) {
            break; /* it may have gone from the log, or from our piece of it */
        }
        if (!found && batch_last_offset(&header) >= first) {
            found = true;
            from = at;
        } else if (found && at + batch_size(&header) - from > (size_t)bytes_max) {
            return ria_slice_sub(batches, from, at - from);
        }
        at += batch_size(&header);
        if (found && batch_last_offset(&header) >= last) {
            return ria_slice_sub(batches, from, at - from);
        }
    }
    return RIA_SLICE_EMPTY;
}

static bool is_good(const struct fetch_cache *cache, const struct piece *piece)
{
    const struct cluster_partition *partition = piece->shelf->partition;

    return piece->epoch == partition->leader_epoch && piece->until_us > now_us(cache) &&
           !partition->topic->deleted;
}

/* The newest with these offsets. */
static const struct piece *find(
    const struct fetch_cache *cache,
    const struct cluster_partition *partition,
    int64_t first,
    int64_t last
)
{
    const struct shelf *shelf = ria_map_get(&cache->shelves, &partition, sizeof(partition));

    if (shelf == NULL) {
        return NULL;
    }
    for (struct ria_list *link = shelf->pieces.prev; link != &shelf->pieces; link = link->prev) {
        const struct piece *piece = on_shelf(link);
        if (piece->fetched.first <= first && last < piece->fetched.end) {
            return is_good(cache, piece) ? piece : NULL;
        }
    }
    return NULL;
}

size_t fetch_cache_has(
    const struct fetch_cache *cache,
    const struct cluster_partition *partition,
    int64_t first,
    int64_t last
)
{
    const struct piece *piece = find(cache, partition, first, last);

    return piece == NULL ? 0 : piece->fetched.batches.size;
}

struct ria_msg *fetch_cache_get(
    struct fetch_cache *cache,
    const struct cluster_partition *partition,
    int64_t first,
    int64_t last,
    int64_t bytes_max,
    struct fetched *out_fetched
)
{
    const struct piece *piece = find(cache, partition, first, last);

    RIA_ASSERT(first <= last && bytes_max > 0);
    if (piece == NULL) {
        return NULL;
    }
    struct ria_slice part = part_of(piece->fetched.batches, first, last, bytes_max);
    struct ria_msg *msg = part.size == 0 ? NULL : ria_msg_new(part.size);
    if (msg == NULL) {
        return NULL;
    }
    memcpy(ria_msg_data(msg), part.data, part.size);
    *out_fetched = piece->fetched;
    out_fetched->batches = ria_slice_of(ria_msg_data(msg), part.size);
    cache->hits.value++;
    return msg;
}

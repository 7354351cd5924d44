/* watcher: wait until partitions hold more than a reader has read, with one parked request per
 * storage node.
 *
 * A reader that has reached the high watermark gives its entry; it is woken when the leader says
 * that there is more, or when the leader cannot say so (it moved, it is gone, it does not lead).
 * Being woken is a hint: fetch, and watch again if there was nothing. A storage node gets one Watch
 * request for all entries; a new one ends the one before (Watch's watchId), so that idle readers
 * take up one place of a connection's RIA_RPC_INFLIGHT_MAX, however many they are.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/list.h"

#include "services/shared/cluster.h"

struct watcher;
struct watcher_entry;

typedef void (*watcher_fn)(struct watcher_entry *entry, void *arg);

/* Storage is the caller's while it is watched. */
struct watcher_entry {
    struct ria_list link;
    struct cluster_partition *partition;
    int64_t offset; /* the next one the reader wants */
    watcher_fn fn;  /* runs once; the entry is not watched any more. May add and remove any */
    void *arg;
};

/* Borrows env and cluster. Errors: RIA_ERR_NOMEM. */
ria_err watcher_new(
    const struct ria_env *env, const struct cluster *cluster, struct watcher **out_watcher
) RIA_MUST_USE;

/* Entries that are still watched are forgotten. Accepts NULL. */
void watcher_free(struct watcher *watcher);

void watcher_entry_init(struct watcher_entry *entry, watcher_fn fn, void *arg);

/* Call entry->fn once the partition holds more than `offset`; never from inside. The entry is not
 * watched now. Errors: RIA_ERR_NO_LEADER, RIA_ERR_NOMEM (nothing is watched). */
ria_err watcher_add(
    struct watcher *watcher,
    struct watcher_entry *entry,
    struct cluster_partition *partition,
    int64_t offset
) RIA_MUST_USE;

/* No-op on an entry that is not watched. */
void watcher_remove(struct watcher_entry *entry);

/* The view says that the partition has another leader: its entries are woken. */
void watcher_partition_changed(struct watcher *watcher, const struct cluster_partition *partition);

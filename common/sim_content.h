/* sim_content: what one file of the simulated disk holds, as its process sees it and as a power cut
 * would leave it. A part of fs_sim.
 *
 * Sparse 4 KiB pages. Each has a visible and a durable buffer; while they agree they are one, and
 * writing copies. A sync is two steps: a snapshot takes references on the dirty pages, and later a
 * commit makes those durable that no newer commit has overtaken. A page stays dirty if it was
 * written after the snapshot.
 *
 * Out of memory aborts: this code runs in tests only.
 */
#pragma once

#include "common/base.h"
#include "common/rand.h"

enum { RIA_SIM_PAGE_SIZE = 4096, RIA_SIM_SECTOR_SIZE = 512 };

/* 4 GiB: the page table is an array. */
#define RIA_SIM_CONTENT_SIZE_MAX (UINT64_C(1) << 32)

struct ria_sim_buffer; /* the bytes of one page, counted */

struct ria_sim_page {
    struct ria_sim_buffer *visible; /* NULL = zeros */
    struct ria_sim_buffer *durable; /* NULL = zeros */
    uint64_t visible_version;       /* when it was last written */
    uint64_t durable_version;       /* visible_version of what is durable */
    bool dirty;                     /* the next sync must take it */
};

struct ria_sim_content {
    struct ria_sim_page *pages;
    size_t page_count; /* of the array; pages behind it are zeros */
    size_t used_pages; /* with a visible buffer */
    size_t dirty_begin;
    size_t dirty_end; /* dirty pages are in [dirty_begin, dirty_end) */
    uint64_t version; /* of the last change */
    uint64_t size;
    uint64_t size_low; /* smallest size since the last commit */
    uint64_t size_durable;
    uint64_t size_durable_version;
};

struct ria_sim_snapshot_page {
    size_t index;
    struct ria_sim_buffer *buffer;
    uint64_t version;
};

struct ria_sim_snapshot {
    struct ria_sim_snapshot_page *pages;
    size_t page_count;
    uint64_t version;
    uint64_t size;
};

void ria_sim_content_init(struct ria_sim_content *content);
void ria_sim_content_fini(struct ria_sim_content *content);

/* Returns the bytes read: less than size only at the end. */
size_t
ria_sim_content_read(const struct ria_sim_content *content, void *data, size_t size, uint64_t at);

/* at + size <= RIA_SIM_CONTENT_SIZE_MAX. */
void ria_sim_content_write(
    struct ria_sim_content *content, const void *data, size_t size, uint64_t at
);

/* How many of the bytes may be written so that at most `pages` more pages are used. */
size_t ria_sim_content_room(
    const struct ria_sim_content *content, size_t size, uint64_t at, uint64_t pages
);

void ria_sim_content_truncate(struct ria_sim_content *content, uint64_t size);

void ria_sim_content_snapshot(
    const struct ria_sim_content *content, struct ria_sim_snapshot *out_snapshot
);

/* The sync succeeded. Ends the snapshot. */
void ria_sim_content_commit(struct ria_sim_content *content, struct ria_sim_snapshot *snapshot);

/* The sync failed: each page of the snapshot is durable or not, and clean either way, as on Linux.
 * Ends the snapshot. */
void ria_sim_content_commit_some(
    struct ria_sim_content *content, struct ria_sim_snapshot *snapshot, struct ria_rand *rand
);
void ria_sim_snapshot_fini(struct ria_sim_snapshot *snapshot);

/* Power cut: what is not durable survives or not, page by page; the last page that survives may be
 * torn. What is left is both visible and durable. */
void ria_sim_content_crash(struct ria_sim_content *content, struct ria_rand *rand);

/* Damage on the medium; byte < size. */
void ria_sim_content_flip_bit(struct ria_sim_content *content, uint64_t byte, unsigned bit);

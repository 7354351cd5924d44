#include "common/sim_content.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

enum { CONTENT_PAGES_MIN = 4 };
_Static_assert(RIA_SIM_PAGE_SIZE % RIA_SIM_SECTOR_SIZE == 0, "pages are torn between sectors");

struct ria_sim_buffer {
    uint32_t refs;
    uint8_t bytes[RIA_SIM_PAGE_SIZE];
};

/* --- buffers -----------------------------------------------------------------------------------*/

/* A copy, or zeros. */
static struct ria_sim_buffer *buffer_copy(const struct ria_sim_buffer *from)
{
    struct ria_sim_buffer *buffer = malloc(sizeof(*buffer));

    RIA_ASSERT(buffer != NULL);
    if (from != NULL) {
        memcpy(buffer->bytes, from->bytes, sizeof(buffer->bytes));
    } else {
        memset(buffer->bytes, 0, sizeof(buffer->bytes));
    }
    buffer->refs = 1;
    return buffer;
}

static struct ria_sim_buffer *buffer_ref(struct ria_sim_buffer *buffer)
{
    if (buffer != NULL) {
        buffer->refs++;
    }
    return buffer;
}

static void buffer_unref(struct ria_sim_buffer *buffer)
{
    if (buffer != NULL && --buffer->refs == 0) {
        free(buffer);
    }
}

static void buffer_set(struct ria_sim_buffer **to, struct ria_sim_buffer *from)
{
    struct ria_sim_buffer *old = *to;

    *to = buffer_ref(from);
    buffer_unref(old);
}

/* --- pages -------------------------------------------------------------------------------------*/

static size_t pages_of(uint64_t size)
{
    return (size_t)((size + RIA_SIM_PAGE_SIZE - 1) / RIA_SIM_PAGE_SIZE);
}

static void reserve(struct ria_sim_content *content, size_t count)
{
    if (count <= content->page_count) {
        return;
    }
    size_t larger = content->page_count == 0 ? CONTENT_PAGES_MIN : content->page_count * 2;
    larger = larger < count ? count : larger;
    content->pages = realloc(content->pages, larger * sizeof(*content->pages));
    RIA_ASSERT(content->pages != NULL);
    memset(
        content->pages + content->page_count,
        0,
        (larger - content->page_count) * sizeof(*content->pages)
    );
    content->page_count = larger;
}

static void set_visible(
    struct ria_sim_content *content, struct ria_sim_page *page, struct ria_sim_buffer *buffer
)
{
    content->used_pages += buffer != NULL;
    content->used_pages -= page->visible != NULL;
    buffer_set(&page->visible, buffer);
}

static void mark_dirty(struct ria_sim_content *content, size_t index)
{
    struct ria_sim_page *page = &content->pages[index];

    page->dirty = true;
    page->visible_version = content->version;
    if (content->dirty_begin == content->dirty_end) {
        content->dirty_begin = index;
        content->dirty_end = index + 1;
    } else {
        content->dirty_begin = ria_min_size(content->dirty_begin, index);
        content->dirty_end = content->dirty_end > index ? content->dirty_end : index + 1;
    }
}

/* The page's bytes, of a buffer that nothing else refers to. */
static uint8_t *writable(struct ria_sim_content *content, size_t index)
{
    struct ria_sim_page *page = &content->pages[index];

    if (page->visible == NULL || page->visible->refs > 1) {
        struct ria_sim_buffer *copy = buffer_copy(page->visible);
        set_visible(content, page, copy);
        buffer_unref(copy);
    }
    mark_dirty(content, index);
    return page->visible->bytes;
}

static void trim_dirty(struct ria_sim_content *content)
{
    while (content->dirty_begin < content->dirty_end && !content->pages[content->dirty_begin].dirty
    ) {
        content->dirty_begin++;
    }
    while (content->dirty_begin < content->dirty_end &&
           !content->pages[content->dirty_end - 1].dirty) {
        content->dirty_end--;
    }
}

/* --- reading and writing -----------------------------------------------------------------------*/

void ria_sim_content_init(struct ria_sim_content *content)
{
    *content = (struct ria_sim_content){0};
}

void ria_sim_content_fini(struct ria_sim_content *content)
{
    for (size_t i = 0; i < content->page_count; i++) {
        buffer_unref(content->pages[i].visible);
        buffer_unref(content->pages[i].durable);
    }
    free(content->pages);
    ria_sim_content_init(content);
}

size_t
ria_sim_content_read(const struct ria_sim_content *content, void *data, size_t size, uint64_t at)
{
    uint8_t *to = data;

    if (at >= content->size) {
        return 0;
    }
    size = (size_t)ria_min_i64((int64_t)size, (int64_t)(content->size - at));
    for (size_t left = size; left > 0;) {
        size_t index = (size_t)(at / RIA_SIM_PAGE_SIZE);
        size_t offset = (size_t)(at % RIA_SIM_PAGE_SIZE);
        size_t n = ria_min_size(left, RIA_SIM_PAGE_SIZE - offset);
        const struct ria_sim_buffer *buffer =
            index < content->page_count ? content->pages[index].visible : NULL;
        if (buffer == NULL) {
            memset(to, 0, n);
        } else {
            memcpy(to, buffer->bytes + offset, n);
        }
        to += n;
        at += n;
        left -= n;
    }
    return size;
}

void ria_sim_content_write(
    struct ria_sim_content *content, const void *data, size_t size, uint64_t at
)
{
    const uint8_t *from = data;

    RIA_ASSERT(at <= RIA_SIM_CONTENT_SIZE_MAX);
    RIA_ASSERT(size <= RIA_SIM_CONTENT_SIZE_MAX - at);

    if (size == 0) {
        return;
    }
    content->version++;
    reserve(content, pages_of(at + size));
    while (size > 0) {
        size_t offset = (size_t)(at % RIA_SIM_PAGE_SIZE);
        size_t n = ria_min_size(size, RIA_SIM_PAGE_SIZE - offset);
        memcpy(writable(content, (size_t)(at / RIA_SIM_PAGE_SIZE)) + offset, from, n);
        from += n;
        at += n;
        size -= n;
    }
    content->size = content->size < at ? at : content->size;
}

size_t ria_sim_content_room(
    const struct ria_sim_content *content, size_t size, uint64_t at, uint64_t pages
)
{
    uint64_t end = at;

    while (end - at < size && end < RIA_SIM_CONTENT_SIZE_MAX) {
        size_t index = (size_t)(end / RIA_SIM_PAGE_SIZE);
        if (index >= content->page_count || content->pages[index].visible == NULL) {
            if (pages == 0) {
                break;
            }
            pages--;
        }
        end = (uint64_t)(index + 1) * RIA_SIM_PAGE_SIZE;
    }
    return ria_min_size(size, (size_t)(end - at));
}

void ria_sim_content_truncate(struct ria_sim_content *content, uint64_t size)
{
    size_t kept = pages_of(size);
    size_t offset = (size_t)(size % RIA_SIM_PAGE_SIZE);

    RIA_ASSERT(size <= RIA_SIM_CONTENT_SIZE_MAX);

    content->version++;
    for (size_t i = kept; i < content->page_count; i++) {
        if (content->pages[i].visible != NULL) {
            set_visible(content, &content->pages[i], NULL);
            mark_dirty(content, i);
        }
    }
    /* Growing again must find zeros. */
    if (offset > 0 && kept <= content->page_count && content->pages[kept - 1].visible != NULL) {
        memset(writable(content, kept - 1) + offset, 0, RIA_SIM_PAGE_SIZE - offset);
    }
    content->size = size;
    content->size_low = size < content->size_low ? size : content->size_low;
}

/* --- syncs -------------------------------------------------------------------------------------*/

void ria_sim_content_snapshot(
    const struct ria_sim_content *content, struct ria_sim_snapshot *out_snapshot
)
{
    size_t count = 0;

    *out_snapshot = (struct ria_sim_snapshot){.version = content->version, .size = content->size};
    for (size_t i = content->dirty_begin; i < content->dirty_end; i++) {
        count += content->pages[i].dirty;
    }
    if (count == 0) {
        return;
    }
    out_snapshot->pages = calloc(count, sizeof(*out_snapshot->pages));
    RIA_ASSERT(out_snapshot->pages != NULL);
    for (size_t i = content->dirty_begin; i < content->dirty_end; i++) {
        const struct ria_sim_page *page = &content->pages[i];
        if (page->dirty) {
            out_snapshot->pages[out_snapshot->page_count++] = (struct ria_sim_snapshot_page){
                .index = i,
                .buffer = buffer_ref(page->visible),
                .version = page->visible_version,
            };
        }
    }
}

void ria_sim_snapshot_fini(struct ria_sim_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->page_count; i++) {
        buffer_unref(snapshot->pages[i].buffer);
    }
    free(snapshot->pages);
    *snapshot = (struct ria_sim_snapshot){0};
}

static void set_durable(struct ria_sim_page *page, struct ria_sim_buffer *buffer, uint64_t version)
{
    if (version > page->durable_version) {
        buffer_set(&page->durable, buffer);
        page->durable_version = version;
    }
}

static void
set_size_durable(struct ria_sim_content *content, const struct ria_sim_snapshot *snapshot)
{
    if (snapshot->version >= content->size_durable_version) {
        content->size_durable = snapshot->size;
        content->size_durable_version = snapshot->version;
        content->size_low = content->size < snapshot->size ? content->size : snapshot->size;
    }
}

/* rand NULL: everything becomes durable. */
static void
commit(struct ria_sim_content *content, struct ria_sim_snapshot *snapshot, struct ria_rand *rand)
{
    for (size_t i = 0; i < snapshot->page_count; i++) {
        const struct ria_sim_snapshot_page *taken = &snapshot->pages[i];
        struct ria_sim_page *page = &content->pages[taken->index];
        if (rand == NULL || ria_rand_one_in(rand, 2)) {
            set_durable(page, taken->buffer, taken->version);
        }
        if (page->visible_version == taken->version) {
            page->dirty = false;
        }
    }
    if (rand == NULL || ria_rand_one_in(rand, 2)) {
        set_size_durable(content, snapshot);
    }
    trim_dirty(content);
    ria_sim_snapshot_fini(snapshot);
}

void ria_sim_content_commit(struct ria_sim_content *content, struct ria_sim_snapshot *snapshot)
{
    commit(content, snapshot, NULL);
}

void ria_sim_content_commit_some(
    struct ria_sim_content *content, struct ria_sim_snapshot *snapshot, struct ria_rand *rand
)
{
    RIA_ASSERT(rand != NULL);
    commit(content, snapshot, rand);
}

/* --- damage ------------------------------------------------------------------------------------*/

/* The size after the crash. A shrink happened or not; growth happened up to any point. */
static uint64_t choose_size(const struct ria_sim_content *content, struct ria_rand *rand)
{
    uint64_t low = content->size_low;

    if (low < content->size_durable && ria_rand_one_in(rand, 2)) {
        return content->size_durable;
    }
    low = low < content->size ? low : content->size;
    switch (ria_rand_below(rand, 3)) {
    case 0:
        return low;
    case 1:
        return content->size;
    default:
        return low + ria_rand_below(rand, content->size - low + 1);
    }
}

/* The page was being written when the power went: some of its sectors are new, the others old. */
static void tear(struct ria_sim_page *page, struct ria_rand *rand)
{
    size_t sectors = RIA_SIM_PAGE_SIZE / RIA_SIM_SECTOR_SIZE;
    size_t split = (size_t)(1 + ria_rand_below(rand, sectors - 1)) * RIA_SIM_SECTOR_SIZE;
    bool first_is_new = ria_rand_one_in(rand, 2);
    struct ria_sim_buffer *torn = buffer_copy(first_is_new ? page->durable : page->visible);
    const struct ria_sim_buffer *first = first_is_new ? page->visible : page->durable;

    if (first == NULL) {
        memset(torn->bytes, 0, split);
    } else {
        memcpy(torn->bytes, first->bytes, split);
    }
    buffer_set(&page->durable, torn);
    buffer_unref(torn);
}

/* Pages from `end` on stay as they are on disk. */
static void crash_pages(struct ria_sim_content *content, size_t end, struct ria_rand *rand)
{
    struct ria_sim_page *last = NULL;

    for (size_t i = content->dirty_begin; i < content->dirty_end && i < end; i++) {
        struct ria_sim_page *page = &content->pages[i];
        if (page->dirty && ria_rand_one_in(rand, 2)) {
            if (last != NULL) {
                buffer_set(&last->durable, last->visible);
            }
            last = page;
        }
    }
    if (last == NULL) {
        return;
    }
    if (ria_rand_one_in(rand, 2)) {
        tear(last, rand);
    } else {
        buffer_set(&last->durable, last->visible);
    }
}

void ria_sim_content_crash(struct ria_sim_content *content, struct ria_rand *rand)
{
    uint64_t size = choose_size(content, rand);
    /* A cut is one change of the size. If it did not happen, then nothing behind it did. */
    bool is_cut_undone = content->size_low < content->size_durable && size == content->size_durable;
    size_t end = is_cut_undone ? (size_t)(content->size_low / RIA_SIM_PAGE_SIZE) : SIZE_MAX;

    crash_pages(content, end, rand);
    content->version++;
    for (size_t i = 0; i < content->page_count; i++) {
        struct ria_sim_page *page = &content->pages[i];
        set_visible(content, page, page->durable);
        page->visible_version = content->version;
        page->durable_version = content->version;
        page->dirty = false;
    }
    content->dirty_begin = 0;
    content->dirty_end = 0;
    ria_sim_content_truncate(content, size); /* cuts what survived behind the end */

    /* That, too, is how the disk is now. */
    struct ria_sim_snapshot snapshot;
    ria_sim_content_snapshot(content, &snapshot);
    ria_sim_content_commit(content, &snapshot);
}

void ria_sim_content_flip_bit(struct ria_sim_content *content, uint64_t byte, unsigned bit)
{
    size_t index = (size_t)(byte / RIA_SIM_PAGE_SIZE);
    size_t offset = (size_t)(byte % RIA_SIM_PAGE_SIZE);

    RIA_ASSERT(byte < content->size);
    RIA_ASSERT(bit < 8);

    reserve(content, index + 1);
    struct ria_sim_page *page = &content->pages[index];
    bool is_shared = page->visible == page->durable;
    struct ria_sim_buffer *visible = buffer_copy(page->visible);
    visible->bytes[offset] ^= (uint8_t)(1U << bit);
    set_visible(content, page, visible);
    if (is_shared) {
        buffer_set(&page->durable, visible);
    } else {
        struct ria_sim_buffer *durable = buffer_copy(page->durable);
        durable->bytes[offset] ^= (uint8_t)(1U << bit);
        buffer_set(&page->durable, durable);
        buffer_unref(durable);
    }
    buffer_unref(visible);
}

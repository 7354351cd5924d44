#include "tests/crash/disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

enum { PAGE = 4096, SECTOR = 512, FDS_MAX = 65536, SYNCS_MAX = 256, PATH_SIZE_MAX = 1024 };

struct node;

/* A write or truncation of a file, or a change of a folder's names. */
struct op {
    /* file */
    const uint8_t *data; /* NULL: truncated to `at` */
    uint64_t at;
    uint64_t size;
    uint64_t file_size; /* afterwards */
    /* folder */
    const char *gone; /* NULL: none */
    const char *name; /* NULL: none */
    struct node *node;
};

struct name {
    const char *text;
    struct node *node;
};

struct node {
    struct node *next; /* all nodes of the disk */
    bool is_dir;
    uint8_t *bytes; /* durable */
    uint64_t size;
    struct name *names; /* durable */
    size_t name_count;
    struct op *ops; /* since */
    size_t op_count;
    size_t op_capacity;
    uint64_t synced_ops; /* that are durable now, and not in ops any more */
};

struct sync {
    bool used;
    uint32_t id;
    struct node *node;
    uint64_t op_count; /* what it found, from the node's beginning on */
};

struct disk {
    struct node *nodes;
    struct node *root;
    struct node *fds[FDS_MAX];
    struct sync syncs[SYNCS_MAX];
};

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void *grow(void *memory, size_t count, size_t size)
{
    memory = realloc(memory, count * size);
    RIA_ASSERT(memory != NULL);
    return memory;
}

static struct node *add_node(struct disk *disk, bool is_dir)
{
    struct node *node = calloc(1, sizeof(*node));

    RIA_ASSERT(node != NULL);
    node->is_dir = is_dir;
    node->next = disk->nodes;
    disk->nodes = node;
    return node;
}

struct disk *disk_new(void)
{
    struct disk *disk = calloc(1, sizeof(*disk));

    RIA_ASSERT(disk != NULL);
    disk->root = add_node(disk, true);
    return disk;
}

void disk_free(struct disk *disk)
{
    struct node *next = NULL;

    for (struct node *node = disk->nodes; node != NULL; node = next) {
        next = node->next;
        free(node->bytes);
        free(node->names);
        free(node->ops);
        free(node);
    }
    free(disk);
}

/* ---- names ---- */

static void unbind(struct name *names, size_t *count, const char *text)
{
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(names[i].text, text) == 0) {
            names[i] = names[--*count];
            return;
        }
    }
}

/* names has room for one more. */
static void apply_names(struct name *names, size_t *count, const struct op *op)
{
    if (op->gone != NULL) {
        unbind(names, count, op->gone);
    }
    if (op->name != NULL) {
        unbind(names, count, op->name);
        names[(*count)++] = (struct name){op->name, op->node};
    }
}

/* The folder's names after those of its operations that `taken` says (NULL: all). The caller frees
 * them. */
static struct name *names_after(const struct node *dir, const bool *taken, size_t *out_count)
{
    struct name *names = grow(NULL, dir->name_count + dir->op_count + 1, sizeof(*names));
    size_t count = dir->name_count;

    if (count > 0) {
        memcpy(names, dir->names, count * sizeof(*names));
    }
    for (size_t i = 0; i < dir->op_count; i++) {
        if (taken == NULL || taken[i]) {
            apply_names(names, &count, &dir->ops[i]);
        }
    }
    *out_count = count;
    return names;
}

static struct node *find_in(const struct node *dir, const char *text)
{
    size_t count = 0;
    struct name *names = names_after(dir, NULL, &count);
    struct node *found = NULL;

    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i].text, text) == 0) {
            found = names[i].node;
        }
    }
    free(names);
    return found;
}

/* The folder a path's last name is in, and that name. */
static struct node *dir_of(const struct disk *disk, const char *path, const char **out_name)
{
    struct node *dir = disk->root;
    const char *slash = NULL;
    char part[PATH_SIZE_MAX];

    while ((slash = strchr(path, '/')) != NULL) {
        (void)snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        dir = find_in(dir, part);
        RIA_ASSERT(dir != NULL && dir->is_dir);
        path = slash + 1;
    }
    *out_name = path;
    return dir;
}

/* ---- the journal ---- */

static struct op *add_op(struct node *node)
{
    if (node->op_count == node->op_capacity) {
        node->op_capacity = node->op_capacity == 0 ? 8 : node->op_capacity * 2;
        node->ops = grow(node->ops, node->op_capacity, sizeof(*node->ops));
    }
    node->ops[node->op_count] = (struct op){.data = NULL};
    return &node->ops[node->op_count++];
}

static void add_name_op(struct node *dir, const char *gone, const char *name, struct node *node)
{
    struct op *op = add_op(dir);

    op->gone = gone;
    op->name = name;
    op->node = node;
}

static uint64_t size_of(const struct node *file)
{
    return file->op_count == 0 ? file->size : file->ops[file->op_count - 1].file_size;
}

static void add_write(struct node *file, const struct disk_step *step)
{
    uint64_t size = size_of(file);
    struct op *op = add_op(file);

    op->data = step->data;
    op->at = step->entry->at;
    op->size = step->entry->data_size;
    op->file_size = max_u64(size, op->at + op->size);
}

static void open_file(struct disk *disk, int fd, const char *path)
{
    const char *name = NULL;
    struct node *dir = dir_of(disk, path, &name);
    struct node *node = name[0] == '\0' ? disk->root : find_in(dir, name);

    if (node == NULL) {
        node = add_node(disk, false);
        add_name_op(dir, NULL, name, node);
    }
    disk->fds[fd] = node;
}

static void rename_node(struct disk *disk, const char *from, const char *to)
{
    const char *old_name = NULL;
    const char *new_name = NULL;
    struct node *dir = dir_of(disk, from, &old_name);

    RIA_ASSERT(dir_of(disk, to, &new_name) == dir);
    struct node *node = find_in(dir, old_name);
    RIA_ASSERT(node != NULL);
    add_name_op(dir, old_name, new_name, node);
}

static void begin_sync(struct disk *disk, uint32_t id, struct node *node)
{
    for (size_t i = 0; i < SYNCS_MAX; i++) {
        if (!disk->syncs[i].used) {
            disk->syncs[i] = (struct sync){true, id, node, node->synced_ops + node->op_count};
            return;
        }
    }
    RIA_ASSERT(false);
}

static void apply_bytes(uint8_t **bytes, uint64_t *size, const struct op *op)
{
    uint64_t end = op->data == NULL ? op->at : op->at + op->size;

    if (end > *size) {
        *bytes = grow(*bytes, end, 1);
        memset(*bytes + *size, 0, end - *size);
        *size = end;
    }
    if (op->data == NULL) {
        *size = op->at;
    } else {
        memcpy(*bytes + op->at, op->data, op->size);
    }
}

/* The first `count` operations are durable. */
static void make_durable(struct node *node, size_t count)
{
    if (node->is_dir) {
        node->names = grow(node->names, node->name_count + count + 1, sizeof(*node->names));
    }
    for (size_t i = 0; i < count; i++) {
        if (node->is_dir) {
            apply_names(node->names, &node->name_count, &node->ops[i]);
        } else {
            apply_bytes(&node->bytes, &node->size, &node->ops[i]);
        }
    }
    node->synced_ops += count;
    node->op_count -= count;
    if (node->op_count > 0) {
        memmove(node->ops, node->ops + count, node->op_count * sizeof(*node->ops));
    }
}

static void end_sync(struct disk *disk, uint32_t id)
{
    for (size_t i = 0; i < SYNCS_MAX; i++) {
        struct sync *sync = &disk->syncs[i];
        if (sync->used && sync->id == id) {
            if (sync->op_count > sync->node->synced_ops) {
                make_durable(sync->node, sync->op_count - sync->node->synced_ops);
            }
            sync->used = false;
            return;
        }
    }
    RIA_ASSERT(false);
}

void disk_apply(struct disk *disk, const struct disk_step *step)
{
    const struct journal_entry *entry = step->entry;
    struct node *node = entry->fd >= 0 ? disk->fds[entry->fd] : NULL;
    const char *name = NULL;
    struct op *op = NULL;

    switch ((journal_kind)entry->kind) {
    case JOURNAL_START:
        memset(disk->fds, 0, sizeof(disk->fds));
        memset(disk->syncs, 0, sizeof(disk->syncs));
        break;
    case JOURNAL_OPEN:
        open_file(disk, entry->fd, step->path);
        break;
    case JOURNAL_WRITE:
        add_write(node, step);
        break;
    case JOURNAL_TRUNCATE:
        op = add_op(node);
        op->at = op->file_size = entry->at;
        break;
    case JOURNAL_SYNC_BEGIN:
        begin_sync(disk, entry->id, node);
        break;
    case JOURNAL_SYNC_END:
        end_sync(disk, entry->id);
        break;
    case JOURNAL_RENAME:
        rename_node(disk, step->path, (const char *)step->data);
        break;
    case JOURNAL_UNLINK:
    case JOURNAL_RMDIR:
        node = dir_of(disk, step->path, &name);
        add_name_op(node, name, NULL, NULL);
        break;
    case JOURNAL_MKDIR:
        node = dir_of(disk, step->path, &name);
        if (name[0] != '\0') { /* the data folder itself is always there */
            add_name_op(node, NULL, name, add_node(disk, true));
        }
        break;
    case JOURNAL_MARK:
        break;
    }
}

/* ---- a power cut ---- */

struct image {
    struct ria_rand *rand;
    disk_cut cut;
    struct ria_fs *fs;
};

/* Bytes from..to of the file after `count` of its operations, into out (to - from bytes). */
static void
part_after(const struct node *file, size_t count, uint64_t from, uint64_t to, uint8_t *out)
{
    memset(out, 0, to - from);
    if (file->size > from) {
        memcpy(out, file->bytes + from, ria_min_size(file->size, to) - from);
    }
    for (size_t i = 0; i < count; i++) {
        const struct op *op = &file->ops[i];
        if (op->data == NULL) {
            if (op->at < to) {
                uint64_t at = max_u64(op->at, from);
                memset(out + (at - from), 0, to - at);
            }
            continue;
        }
        uint64_t begin = max_u64(op->at, from);
        uint64_t end = ria_min_size(op->at + op->size, to);
        if (begin < end) {
            memcpy(out + (begin - from), op->data + (begin - op->at), end - begin);
        }
    }
}

/* How many of the file's operations some part of it has seen. */
static size_t pick_count(const struct image *image, const struct node *file)
{
    switch (image->cut) {
    case DISK_KILL:
        return file->op_count;
    case DISK_LOSE:
        return 0;
    case DISK_PREFIX:
    case DISK_MIX:
        break;
    }
    /* All or nothing is what happens most. */
    uint64_t how = ria_rand_below(image->rand, 4);
    return how == 0   ? 0
           : how == 1 ? file->op_count
                      : ria_rand_below(image->rand, file->op_count + 1);
}

static uint64_t pick_size(const struct image *image, const struct node *file)
{
    size_t count = pick_count(image, file);
    uint64_t size = count == 0 ? file->size : file->ops[count - 1].file_size;
    bool may_be_between = image->cut == DISK_PREFIX || image->cut == DISK_MIX;

    if (may_be_between && size > file->size && ria_rand_one_in(image->rand, 2)) {
        size = file->size + ria_rand_below(image->rand, size - file->size + 1);
    }
    return size;
}

static void fill_page(const struct image *image, const struct node *file, uint64_t at, uint8_t *out)
{
    part_after(file, pick_count(image, file), at, at + PAGE, out);
    if (ria_rand_one_in(image->rand, 4)) {
        for (uint64_t s = 0; s < PAGE; s += SECTOR) {
            part_after(file, pick_count(image, file), at + s, at + s + SECTOR, out + s);
        }
    }
}

static void write_file(const struct image *image, const struct node *node, const char *path)
{
    uint64_t size = pick_size(image, node);
    uint8_t *bytes = grow(NULL, size + PAGE, 1);
    struct ria_file *file = NULL;

    for (uint64_t at = 0; at < size; at += PAGE) {
        fill_page(image, node, at, bytes + at);
    }
    unsigned flags = RIA_FS_WRITE | RIA_FS_CREATE | RIA_FS_EXCL;
    RIA_ASSERT(ria_fs_open(image->fs, path, flags, &file) == RIA_OK);
    if (size > 0) {
        RIA_ASSERT(ria_fs_pwrite(file, bytes, size, 0) == RIA_OK);
    }
    RIA_ASSERT(ria_fs_sync(file) == RIA_OK);
    ria_fs_close(file);
    free(bytes);
}

static struct name *pick_names(const struct image *image, const struct node *dir, size_t *out_count)
{
    bool *taken = grow(NULL, dir->op_count + 1, sizeof(*taken));
    size_t prefix = pick_count(image, dir);

    for (size_t i = 0; i < dir->op_count; i++) {
        taken[i] = image->cut == DISK_MIX ? ria_rand_one_in(image->rand, 2) : i < prefix;
    }
    struct name *names = names_after(dir, taken, out_count);
    free(taken);
    return names;
}

static void write_dir(const struct image *image, const struct node *dir, const char *path)
{
    size_t count = 0;
    struct name *names = pick_names(image, dir, &count);
    char inner[PATH_SIZE_MAX];

    for (size_t i = 0; i < count; i++) {
        (void)snprintf(inner, sizeof(inner), "%s/%s", path, names[i].text);
        if (names[i].node->is_dir) {
            RIA_ASSERT(ria_fs_mkdir(image->fs, inner) == RIA_OK);
            write_dir(image, names[i].node, inner);
        } else {
            write_file(image, names[i].node, inner);
        }
    }
    RIA_ASSERT(ria_fs_sync_dir(image->fs, path) == RIA_OK);
    free(names);
}

void disk_image(
    const struct disk *disk,
    struct ria_rand *rand,
    disk_cut cut,
    struct ria_fs *fs,
    const char *root
)
{
    const struct image image = {.rand = rand, .cut = cut, .fs = fs};

    write_dir(&image, disk->root, root);
}

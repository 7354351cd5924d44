#include "common/sim_names.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

/* An entry of a folder, in one of the two maps. */
struct ria_sim_name {
    struct ria_sim_node *node;
    struct ria_sim_node *dir;
    size_t key_size;
    char key[sizeof(uint32_t) + RIA_SIM_NAME_MAX + 1]; /* the folder's id, the name, a NUL */
};

/* `node` gets the name `to` instead of the one it had. NULL: none. */
struct change {
    struct ria_list link;
    struct ria_sim_node *node;
    struct ria_sim_node *from_dir; /* NULL: created */
    struct ria_sim_name *to;       /* a copy, not in a map. NULL: removed */
    struct ria_sim_node *replaced; /* had that name before */
    bool syncing;
};

static struct ria_sim_name *name_new(struct ria_sim_node *dir, const char *name, size_t size)
{
    struct ria_sim_name *made = calloc(1, sizeof(*made));

    RIA_ASSERT(made != NULL);
    RIA_ASSERT(size <= RIA_SIM_NAME_MAX);
    made->dir = dir;
    made->key_size = sizeof(dir->id) + size;
    memcpy(made->key, &dir->id, sizeof(dir->id));
    memcpy(made->key + sizeof(dir->id), name, size);
    ria_sim_node_ref(dir);
    return made;
}

static void name_free(struct ria_sim_name *name)
{
    if (name != NULL) {
        ria_sim_node_unref(name->dir);
        free(name);
    }
}

static const char *name_text(const struct ria_sim_name *name)
{
    return name->key + sizeof(uint32_t);
}

/* --- nodes -------------------------------------------------------------------------------------*/

static struct ria_sim_node *node_new(struct ria_sim_names *names, bool is_dir)
{
    struct ria_sim_node *node = calloc(1, sizeof(*node));

    RIA_ASSERT(node != NULL);
    node->id = names->id_next++;
    node->refs = 1;
    node->is_dir = is_dir;
    ria_sim_content_init(&node->content);
    ria_list_push_back(&names->nodes, &node->link);
    return node;
}

void ria_sim_node_ref(struct ria_sim_node *node)
{
    node->refs++;
}

void ria_sim_node_unref(struct ria_sim_node *node)
{
    if (node != NULL && --node->refs == 0) {
        ria_list_remove(&node->link);
        ria_sim_content_fini(&node->content);
        free(node);
    }
}

/* --- the two maps ------------------------------------------------------------------------------*/

static struct ria_sim_name **
name_in(const struct ria_map *map, const struct ria_sim_names *names, struct ria_sim_node *node)
{
    return map == &names->visible ? &node->visible : &node->durable;
}

static void detach(struct ria_sim_names *names, struct ria_map *map, struct ria_sim_node *node)
{
    struct ria_sim_name **slot = name_in(map, names, node);
    struct ria_sim_name *name = RIA_STEAL(slot);

    if (name != NULL) {
        (void)ria_map_remove(map, name->key, name->key_size);
        if (map == &names->visible) {
            name->dir->children--;
        }
        name_free(name);
        ria_sim_node_unref(node);
    }
}

/* Takes name. Whoever had it has none any more. */
static void attach(
    struct ria_sim_names *names,
    struct ria_map *map,
    struct ria_sim_node *node,
    struct ria_sim_name *name
)
{
    const struct ria_sim_name *other = ria_map_get(map, name->key, name->key_size);

    if (other != NULL) {
        detach(names, map, other->node);
    }
    detach(names, map, node);
    name->node = node;
    ria_sim_node_ref(node);
    *name_in(map, names, node) = name;
    if (map == &names->visible) {
        name->dir->children++;
    }
    ria_err err = ria_map_put(map, name->key, name->key_size, name);
    RIA_ASSERT(err == RIA_OK);
}

/* --- changes -----------------------------------------------------------------------------------*/

static void change_free(struct change *change)
{
    ria_list_remove(&change->link);
    ria_sim_node_unref(change->from_dir);
    ria_sim_node_unref(change->replaced);
    ria_sim_node_unref(change->node);
    name_free(change->to);
    free(change);
}

/* Make a change and record it. Takes `to`, NULL to remove the name. */
static void
make_change(struct ria_sim_names *names, struct ria_sim_node *node, struct ria_sim_name *to)
{
    struct change *change = calloc(1, sizeof(*change));

    RIA_ASSERT(change != NULL);
    change->node = node;
    change->to = to;
    ria_sim_node_ref(node);
    if (node->visible != NULL) {
        change->from_dir = node->visible->dir;
        ria_sim_node_ref(change->from_dir);
    }
    if (to == NULL) {
        detach(names, &names->visible, node);
    } else {
        const struct ria_sim_name *other = ria_map_get(&names->visible, to->key, to->key_size);
        if (other != NULL) {
            change->replaced = other->node;
            ria_sim_node_ref(change->replaced);
        }
        size_t size = to->key_size - sizeof(uint32_t);
        attach(names, &names->visible, node, name_new(to->dir, name_text(to), size));
    }
    ria_list_push_back(&names->changes, &change->link);
}

/* Make the change durable, unless it builds on one that did not happen: the name is still taken by
 * a node that it did not replace. */
static void apply(struct ria_sim_names *names, struct change *change)
{
    if (change->to == NULL) {
        detach(names, &names->durable, change->node);
    } else {
        const struct ria_sim_name *other =
            ria_map_get(&names->durable, change->to->key, change->to->key_size);
        if (other == NULL || other->node == change->replaced || other->node == change->node) {
            attach(names, &names->durable, change->node, RIA_STEAL(&change->to));
        }
    }
    change_free(change);
}

static void set_syncing(const struct change *change, bool syncing)
{
    if (change->from_dir != NULL) {
        change->from_dir->syncing = syncing;
    }
    if (change->to != NULL) {
        change->to->dir->syncing = syncing;
    }
}

void ria_sim_names_sync(struct ria_sim_names *names, struct ria_sim_node *dir)
{
    /* From the newest to the oldest: a rename between two folders draws in what happened before it
     * in the other one. */
    dir->syncing = true;
    for (struct ria_list *it = names->changes.prev; it != &names->changes; it = it->prev) {
        struct change *change = RIA_CONTAINER(it, struct change, link);
        change->syncing = (change->from_dir != NULL && change->from_dir->syncing) ||
                          (change->to != NULL && change->to->dir->syncing);
        if (change->syncing) {
            set_syncing(change, true);
        }
    }
    dir->syncing = false;
    RIA_LIST_FOREACH (it, &names->changes) {
        struct change *change = RIA_CONTAINER(it, struct change, link);
        if (change->syncing) {
            set_syncing(change, false);
            apply(names, change);
        }
    }
}

/* While names come and go in a walk over the nodes, none must leave the list. */
static void hold_all(struct ria_sim_names *names)
{
    RIA_LIST_FOREACH (it, &names->nodes) {
        ria_sim_node_ref(RIA_CONTAINER(it, struct ria_sim_node, link));
    }
}

static void release_all(struct ria_sim_names *names)
{
    RIA_LIST_FOREACH (it, &names->nodes) {
        ria_sim_node_unref(RIA_CONTAINER(it, struct ria_sim_node, link));
    }
}

/* Everything below a folder that has no durable name goes with it. */
static void drop_unreachable(struct ria_sim_names *names)
{
    bool dropped;

    do {
        dropped = false;
        RIA_LIST_FOREACH (it, &names->nodes) {
            struct ria_sim_node *node = RIA_CONTAINER(it, struct ria_sim_node, link);
            if (node->durable != NULL && node->durable->dir != names->root &&
                node->durable->dir->durable == NULL) {
                detach(names, &names->durable, node);
                dropped = true;
            }
        }
    } while (dropped);
}

void ria_sim_names_crash(struct ria_sim_names *names, struct ria_rand *rand)
{
    hold_all(names);
    RIA_LIST_FOREACH (it, &names->changes) {
        struct change *change = RIA_CONTAINER(it, struct change, link);
        if (ria_rand_one_in(rand, 2)) {
            apply(names, change);
        } else {
            change_free(change);
        }
    }
    drop_unreachable(names);

    RIA_LIST_FOREACH (it, &names->nodes) {
        detach(names, &names->visible, RIA_CONTAINER(it, struct ria_sim_node, link));
    }
    RIA_LIST_FOREACH (it, &names->nodes) {
        struct ria_sim_node *node = RIA_CONTAINER(it, struct ria_sim_node, link);
        const struct ria_sim_name *name = node->durable;
        if (name != NULL) {
            size_t size = name->key_size - sizeof(uint32_t);
            attach(names, &names->visible, node, name_new(name->dir, name_text(name), size));
        }
    }
    release_all(names);
}

/* --- paths -------------------------------------------------------------------------------------*/

/* The next name of the path that counts; NULL at the end. Advances *path. */
static const char *next_name(const char **path, size_t *out_size)
{
    for (;;) {
        const char *name = *path + strspn(*path, "/");
        *out_size = strcspn(name, "/");
        *path = name + *out_size;
        if (*out_size == 0) {
            return NULL;
        }
        if (*out_size != 1 || name[0] != '.') {
            return name;
        }
    }
}

/* The node of that name in the folder, NULL if there is none. */
static struct ria_sim_node *look_up(
    const struct ria_sim_names *names, const struct ria_sim_node *dir, const char *name, size_t size
)
{
    char key[sizeof(dir->id) + RIA_SIM_NAME_MAX];

    memcpy(key, &dir->id, sizeof(dir->id));
    memcpy(key + sizeof(dir->id), name, size);
    const struct ria_sim_name *found = ria_map_get(&names->visible, key, sizeof(dir->id) + size);
    return found == NULL ? NULL : found->node;
}

ria_err ria_sim_names_find_dir(
    struct ria_sim_names *names,
    const char *path,
    struct ria_sim_node **out_dir,
    const char **out_name,
    size_t *out_size
)
{
    struct ria_sim_node *dir = names->root;
    size_t size, next_size;
    const char *name = next_name(&path, &size);

    if (name == NULL) {
        return RIA_ERR_INVALID;
    }
    for (;;) {
        if (size == 2 && memcmp(name, "..", 2) == 0) {
            return RIA_ERR_INVALID;
        }
        if (size > RIA_SIM_NAME_MAX) {
            return RIA_ERR_LIMIT;
        }
        const char *next = next_name(&path, &next_size);
        if (next == NULL) {
            break;
        }
        dir = look_up(names, dir, name, size);
        if (dir == NULL || !dir->is_dir) {
            return RIA_ERR_NOT_FOUND;
        }
        name = next;
        size = next_size;
    }
    *out_dir = dir;
    *out_name = name;
    *out_size = size;
    return RIA_OK;
}

ria_err
ria_sim_names_find(struct ria_sim_names *names, const char *path, struct ria_sim_node **out_node)
{
    struct ria_sim_node *dir;
    const char *name = path;
    size_t size;

    if (next_name(&name, &size) == NULL) {
        *out_node = names->root;
        return RIA_OK;
    }
    RIA_TRY(ria_sim_names_find_dir(names, path, &dir, &name, &size));
    struct ria_sim_node *node = look_up(names, dir, name, size);
    if (node == NULL) {
        return RIA_ERR_NOT_FOUND;
    }
    *out_node = node;
    return RIA_OK;
}

/* --- what the process does ---------------------------------------------------------------------*/

ria_err ria_sim_names_create(
    struct ria_sim_names *names, const char *path, bool is_dir, struct ria_sim_node **out_node
)
{
    struct ria_sim_node *dir, *node;
    const char *name;
    size_t size;

    if (ria_sim_names_find(names, path, &node) == RIA_OK) {
        return RIA_ERR_EXISTS;
    }
    RIA_TRY(ria_sim_names_find_dir(names, path, &dir, &name, &size));
    node = node_new(names, is_dir);
    make_change(names, node, name_new(dir, name, size));
    ria_sim_node_unref(node); /* its name holds it now */
    *out_node = node;
    return RIA_OK;
}

ria_err ria_sim_names_remove(struct ria_sim_names *names, const char *path, bool is_dir)
{
    struct ria_sim_node *node;

    RIA_TRY(ria_sim_names_find(names, path, &node));
    if (node->is_dir != is_dir || node == names->root) {
        return RIA_ERR_IO;
    }
    if (node->children > 0) {
        return RIA_ERR_EXISTS;
    }
    make_change(names, node, NULL);
    return RIA_OK;
}

static bool is_inside(const struct ria_sim_node *dir, const struct ria_sim_node *outer)
{
    for (; dir->visible != NULL; dir = dir->visible->dir) {
        if (dir == outer) {
            return true;
        }
    }
    return dir == outer;
}

ria_err ria_sim_names_rename(struct ria_sim_names *names, const char *from, const char *to)
{
    struct ria_sim_node *node, *dir;
    const char *name;
    size_t size;

    RIA_TRY(ria_sim_names_find(names, from, &node));
    RIA_TRY(ria_sim_names_find_dir(names, to, &dir, &name, &size));
    if (is_inside(dir, node)) {
        return RIA_ERR_INVALID;
    }
    const struct ria_sim_node *other = look_up(names, dir, name, size);
    if (other == node) {
        return RIA_OK;
    }
    if (other != NULL && other->is_dir != node->is_dir) {
        return RIA_ERR_IO;
    }
    if (other != NULL && other->children > 0) {
        return RIA_ERR_EXISTS;
    }
    make_change(names, node, name_new(dir, name, size));
    return RIA_OK;
}

struct listing {
    bool is_dir;
    char name[RIA_SIM_NAME_MAX + 1];
};

static int compare_listings(const void *a, const void *b)
{
    return strcmp(((const struct listing *)a)->name, ((const struct listing *)b)->name);
}

ria_err
ria_sim_names_list(struct ria_sim_names *names, const char *path, ria_fs_list_fn fn, void *arg)
{
    struct ria_sim_node *dir;
    size_t cursor = 0;
    size_t count = 0;
    const struct ria_sim_name *name;

    RIA_TRY(ria_sim_names_find(names, path, &dir));
    if (!dir->is_dir) {
        return RIA_ERR_IO;
    }
    /* A copy: the callback may change the folder. */
    struct listing *found = calloc(dir->children + 1, sizeof(*found));
    RIA_ASSERT(found != NULL);
    while ((name = ria_map_next(&names->visible, &cursor)) != NULL) {
        if (name->dir == dir) {
            found[count].is_dir = name->node->is_dir;
            memcpy(found[count].name, name_text(name), name->key_size - sizeof(uint32_t));
            count++;
        }
    }
    qsort(found, count, sizeof(*found), compare_listings);
    for (size_t i = 0; i < count && fn(arg, found[i].name, found[i].is_dir); i++) {
    }
    free(found);
    return RIA_OK;
}

/* --- life --------------------------------------------------------------------------------------*/

void ria_sim_names_init(struct ria_sim_names *names)
{
    *names = (struct ria_sim_names){0};
    ria_map_init(&names->visible);
    ria_map_init(&names->durable);
    ria_list_init(&names->changes);
    ria_list_init(&names->nodes);
    names->root = node_new(names, true);
}

void ria_sim_names_fini(struct ria_sim_names *names)
{
    RIA_LIST_FOREACH (it, &names->changes) {
        change_free(RIA_CONTAINER(it, struct change, link));
    }
    hold_all(names);
    RIA_LIST_FOREACH (it, &names->nodes) {
        struct ria_sim_node *node = RIA_CONTAINER(it, struct ria_sim_node, link);
        detach(names, &names->visible, node);
        detach(names, &names->durable, node);
    }
    release_all(names);
    ria_sim_node_unref(names->root);
    RIA_ASSERT(ria_list_is_empty(&names->nodes)); /* nobody holds any */
    ria_map_fini(&names->visible);
    ria_map_fini(&names->durable);
}

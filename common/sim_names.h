/* sim_names: the folders of the simulated disk, as its process sees them and as a power cut would
 * leave them. A part of fs_sim.
 *
 * A file or folder (a node) has at most one visible and at most one durable name: there are no hard
 * links. A change of names is visible at once and recorded; a sync of a folder makes the changes
 * that touch it durable, in order. (A rename between two folders drags the earlier changes of both
 * along.) At a crash each change that is left happens or not; one that builds on another that did
 * not happen does not happen either, and rename is never seen half done.
 *
 * Paths: names separated by slashes; empty names and "." are skipped, so absolute and relative
 * paths are the same; ".." is not supported.
 *
 * Out of memory aborts: this code runs in tests only.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/fs.h"
#include "common/list.h"
#include "common/map.h"
#include "common/rand.h"
#include "common/sim_content.h"

enum { RIA_SIM_NAME_MAX = 255 };

struct ria_sim_name;

struct ria_sim_node {
    uint32_t id;
    uint32_t refs; /* names, recorded changes, and whoever holds it open */
    bool is_dir;
    bool locked;
    bool syncing;      /* scratch of ria_sim_names_sync() */
    uint32_t children; /* of a folder: visible names in it */
    struct ria_sim_name *visible;
    struct ria_sim_name *durable;
    struct ria_sim_content content; /* of a file */
    struct ria_list link;           /* of nodes */
};

struct ria_sim_names {
    struct ria_sim_node *root;
    struct ria_map visible; /* parent's id and name -> struct ria_sim_name */
    struct ria_map durable;
    struct ria_list changes; /* not yet durable, oldest first */
    struct ria_list nodes;   /* in order of creation */
    uint32_t id_next;
};

void ria_sim_names_init(struct ria_sim_names *names);
void ria_sim_names_fini(struct ria_sim_names *names);

void ria_sim_node_ref(struct ria_sim_node *node);
void ria_sim_node_unref(struct ria_sim_node *node);

/* Errors: RIA_ERR_NOT_FOUND, RIA_ERR_INVALID (..), RIA_ERR_LIMIT (a name is too long). */
ria_err ria_sim_names_find(
    struct ria_sim_names *names, const char *path, struct ria_sim_node **out_node
) RIA_MUST_USE;

/* The folder that holds a name of that path, existing or not. *out_name points into path's last
 * name, *out_size is its size. Errors: as above; RIA_ERR_INVALID for the root. */
ria_err ria_sim_names_find_dir(
    struct ria_sim_names *names,
    const char *path,
    struct ria_sim_node **out_dir,
    const char **out_name,
    size_t *out_size
) RIA_MUST_USE;

/* A new, empty file or folder. Errors: as above, RIA_ERR_EXISTS. */
ria_err ria_sim_names_create(
    struct ria_sim_names *names, const char *path, bool is_dir, struct ria_sim_node **out_node
) RIA_MUST_USE;

/* Errors: as above; RIA_ERR_IO if it is a folder (a file), RIA_ERR_EXISTS if it is not empty. */
ria_err
ria_sim_names_remove(struct ria_sim_names *names, const char *path, bool is_dir) RIA_MUST_USE;

/* Errors: as above; RIA_ERR_IO if one is a folder and the other is not, RIA_ERR_INVALID into
 * itself. */
ria_err
ria_sim_names_rename(struct ria_sim_names *names, const char *from, const char *to) RIA_MUST_USE;

ria_err ria_sim_names_list(
    struct ria_sim_names *names, const char *path, ria_fs_list_fn fn, void *arg
) RIA_MUST_USE;

/* The folder's names are durable. */
void ria_sim_names_sync(struct ria_sim_names *names, struct ria_sim_node *dir);

/* Power cut. Nodes that lose their name are gone unless somebody holds them. */
void ria_sim_names_crash(struct ria_sim_names *names, struct ria_rand *rand);

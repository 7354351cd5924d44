/* identity: who a data folder belongs to: the file `node`.
 *
 * Format: docs/formats/node.md. Written when the folder is first used, when the coordinator has
 * given the node its number, and when the node's folders change.
 *
 * Thread: the loop's; blocks on the disk, at start only.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/fs.h"
#include "common/uuid.h"

/* The number of a start and what tells it from another with the same number, if that could not be
 * kept, make an incarnation (docs/formats/node.md). */
enum { IDENTITY_START_SHIFT = 24 };
#define IDENTITY_STARTS_MAX (INT64_MAX >> IDENTITY_START_SHIFT)

enum { IDENTITY_FORMAT = 3, IDENTITY_PATH_MAX = 4096, IDENTITY_FOLDERS_MAX = 16 };

struct identity {
    struct ria_uuid node_uuid;
    struct ria_uuid cluster_id; /* zero: not registered yet */
    int32_t node_id;            /* -1: not registered yet */
    int64_t starts;             /* of this node's process so far */
    int64_t revision;           /* of the list of folders; the highest counts. 0: format 1 */
    bool lost_data; /* a folder was given up: what is found nowhere may have been in it */
    struct ria_uuid folder_id;                     /* this folder; zero: format 1, the only one */
    struct ria_uuid folders[IDENTITY_FOLDERS_MAX]; /* all of this node */
    uint32_t folder_count;
};

bool identity_has_folder(const struct identity *identity, const struct ria_uuid *folder_id);

/* Errors: RIA_ERR_NOT_FOUND (a new folder, or none), RIA_ERR_UNKNOWN_VERSION (a newer format),
 * RIA_ERR_CORRUPT, those of fs. */
ria_err
identity_load(struct ria_fs *fs, const char *data_dir, struct identity *out_identity) RIA_MUST_USE;

/* Errors: those of fs. */
ria_err identity_save(struct ria_fs *fs, const char *data_dir, const struct identity *identity)
    RIA_MUST_USE;

/* The file's text, and back; for tests. Errors: RIA_ERR_UNKNOWN_VERSION, RIA_ERR_CORRUPT. */
ria_err identity_parse(struct ria_slice text, struct identity *out_identity) RIA_MUST_USE;
enum { IDENTITY_TEXT_MAX = 2048 };
size_t identity_format(const struct identity *identity, char out_text[IDENTITY_TEXT_MAX]);

/* identity: who this data folder belongs to: the file `node`.
 *
 * Format: docs/formats/node.md. Written when the folder is first used and once more when the
 * coordinator has given the node its number; never changed after that.
 *
 * Thread: the loop's; blocks on the disk, at start only.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/fs.h"
#include "common/rand.h"
#include "common/uuid.h"

enum { IDENTITY_FORMAT = 1, IDENTITY_PATH_MAX = 4096 };

struct identity {
    struct ria_uuid node_uuid;
    struct ria_uuid cluster_id; /* zero: not registered yet */
    int32_t node_id;            /* -1: not registered yet */
};

/* Read the folder's identity, or give a new folder one. Errors: RIA_ERR_UNKNOWN_VERSION (a newer
 * format), RIA_ERR_CORRUPT, those of fs. */
ria_err identity_open(
    struct ria_fs *fs, const char *data_dir, struct ria_rand *rand, struct identity *out_identity
) RIA_MUST_USE;

/* Errors: those of fs. */
ria_err identity_save(struct ria_fs *fs, const char *data_dir, const struct identity *identity)
    RIA_MUST_USE;

/* The file's text, and back; for tests. Errors: RIA_ERR_UNKNOWN_VERSION, RIA_ERR_CORRUPT. */
ria_err identity_parse(struct ria_slice text, struct identity *out_identity) RIA_MUST_USE;
enum { IDENTITY_TEXT_MAX = 512 };
size_t identity_format(const struct identity *identity, char out_text[IDENTITY_TEXT_MAX]);

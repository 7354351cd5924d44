#include "services/storage/identity.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/crc.h"

static ria_err path_of(const char *data_dir, char *out_path, size_t out_size)
{
    int n = snprintf(out_path, out_size, "%s/node", data_dir);

    return n < 0 || (size_t)n >= out_size ? RIA_ERR_LIMIT : RIA_OK;
}

bool identity_has_folder(const struct identity *identity, const struct ria_uuid *folder_id)
{
    for (uint32_t i = 0; i < identity->folder_count; i++) {
        if (ria_uuid_equal(identity->folders[i], *folder_id)) {
            return true;
        }
    }
    return false;
}

/* "uuid,uuid" */
static void
format_folders(const struct identity *identity, char out[IDENTITY_FOLDERS_MAX * RIA_UUID_TEXT_SIZE])
{
    size_t size = 0;

    out[0] = '\0';
    for (uint32_t i = 0; i < identity->folder_count; i++) {
        if (i > 0) {
            out[size++] = ',';
        }
        ria_uuid_format(identity->folders[i], out + size);
        size += RIA_UUID_TEXT_SIZE - 1;
    }
}

size_t identity_format(const struct identity *identity, char out_text[IDENTITY_TEXT_MAX])
{
    char node_uuid[RIA_UUID_TEXT_SIZE];
    char cluster_id[RIA_UUID_TEXT_SIZE];
    char folder_id[RIA_UUID_TEXT_SIZE];
    char folders[IDENTITY_FOLDERS_MAX * RIA_UUID_TEXT_SIZE];

    ria_uuid_format(identity->node_uuid, node_uuid);
    ria_uuid_format(identity->cluster_id, cluster_id);
    ria_uuid_format(identity->folder_id, folder_id);
    format_folders(identity, folders);
    int n = snprintf(
        out_text,
        IDENTITY_TEXT_MAX,
        "format = %d\nnode-uuid = %s\ncluster-id = %s\nnode-id = %" PRId32 "\nstarts = %" PRId64
        "\nrevision = %" PRId64 "\nlost-data = %d\nfolder-id = %s\nfolders = %s\n",
        IDENTITY_FORMAT,
        node_uuid,
        cluster_id,
        identity->node_id,
        identity->starts,
        identity->revision,
        identity->lost_data ? 1 : 0,
        folder_id,
        folders
    );
    RIA_ASSERT(n > 0 && n < IDENTITY_TEXT_MAX);
    uint32_t crc = ria_crc32c(out_text, (size_t)n);
    int m = snprintf(out_text + n, IDENTITY_TEXT_MAX - (size_t)n, "crc = %08" PRIx32 "\n", crc);
    RIA_ASSERT(m > 0 && m < IDENTITY_TEXT_MAX - n);
    return (size_t)(n + m);
}

/* Take "name = value\n" off the front of *text. */
static ria_err take_line(struct ria_slice *text, const char *name, struct ria_slice *out_value)
{
    size_t name_size = strlen(name);
    const uint8_t *end = text->size == 0 ? NULL : memchr(text->data, '\n', text->size);

    if (end == NULL) {
        return RIA_ERR_CORRUPT;
    }
    struct ria_slice line = ria_slice_sub(*text, 0, (size_t)(end - text->data));
    if (line.size < name_size + 3 || memcmp(line.data, name, name_size) != 0 ||
        memcmp(line.data + name_size, " = ", 3) != 0) {
        return RIA_ERR_CORRUPT;
    }
    *text = ria_slice_sub(*text, line.size + 1, SIZE_MAX);
    *out_value = ria_slice_sub(line, name_size + 3, SIZE_MAX);
    return RIA_OK;
}

static ria_err parse_number(struct ria_slice value, int base, long long *out_number)
{
    char text[32];
    char *end = NULL;

    if (value.size == 0 || value.size >= sizeof(text)) {
        return RIA_ERR_CORRUPT;
    }
    memcpy(text, value.data, value.size);
    text[value.size] = '\0';
    *out_number = strtoll(text, &end, base);
    return *end == '\0' ? RIA_OK : RIA_ERR_CORRUPT;
}

static ria_err parse_uuid(struct ria_slice value, struct ria_uuid *out_uuid)
{
    return ria_uuid_parse(value, out_uuid) == RIA_OK ? RIA_OK : RIA_ERR_CORRUPT;
}

/* Since format 3. */
static ria_err parse_starts(struct ria_slice *rest, struct identity *identity)
{
    struct ria_slice value;
    long long number = 0;

    RIA_TRY(take_line(rest, "starts", &value));
    RIA_TRY(parse_number(value, 10, &number));
    identity->starts = number;
    return number < 0 || number > IDENTITY_STARTS_MAX ? RIA_ERR_CORRUPT : RIA_OK;
}

/* Since format 2. */
static ria_err parse_folders(struct ria_slice *rest, struct identity *identity)
{
    size_t uuid_size = RIA_UUID_TEXT_SIZE - 1;
    struct ria_slice value;
    long long number = 0;

    RIA_TRY(take_line(rest, "revision", &value));
    RIA_TRY(parse_number(value, 10, &number));
    identity->revision = number;
    RIA_TRY(take_line(rest, "lost-data", &value));
    RIA_TRY(parse_number(value, 10, &number));
    identity->lost_data = number == 1;
    if (identity->revision < 1 || number < 0 || number > 1) {
        return RIA_ERR_CORRUPT;
    }
    RIA_TRY(take_line(rest, "folder-id", &value));
    RIA_TRY(parse_uuid(value, &identity->folder_id));
    RIA_TRY(take_line(rest, "folders", &value));
    for (size_t at = 0; at < value.size; at += uuid_size + 1) {
        if (identity->folder_count == IDENTITY_FOLDERS_MAX ||
            (at > 0 && value.data[at - 1] != ',')) {
            return RIA_ERR_CORRUPT;
        }
        RIA_TRY(parse_uuid(
            ria_slice_sub(value, at, uuid_size), &identity->folders[identity->folder_count++]
        ));
    }
    return identity_has_folder(identity, &identity->folder_id) ? RIA_OK : RIA_ERR_CORRUPT;
}

ria_err identity_parse(struct ria_slice text, struct identity *out_identity)
{
    struct ria_slice rest = text;
    struct ria_slice value;
    struct identity identity = {.revision = 0};
    long long number = 0;

    RIA_TRY(take_line(&rest, "format", &value));
    RIA_TRY(parse_number(value, 10, &number));
    if (number > IDENTITY_FORMAT) {
        return RIA_ERR_UNKNOWN_VERSION; /* before the rest, which may look different */
    }
    bool has_folders = number >= 2;
    bool has_starts = number >= 3;
    RIA_TRY(take_line(&rest, "node-uuid", &value));
    RIA_TRY(parse_uuid(value, &identity.node_uuid));
    RIA_TRY(take_line(&rest, "cluster-id", &value));
    RIA_TRY(parse_uuid(value, &identity.cluster_id));
    RIA_TRY(take_line(&rest, "node-id", &value));
    RIA_TRY(parse_number(value, 10, &number));
    if (number < -1 || number > INT32_MAX) {
        return RIA_ERR_CORRUPT;
    }
    identity.node_id = (int32_t)number;
    if (has_starts) {
        RIA_TRY(parse_starts(&rest, &identity));
    }
    if (has_folders) {
        RIA_TRY(parse_folders(&rest, &identity));
    }
    size_t covered = text.size - rest.size;
    RIA_TRY(take_line(&rest, "crc", &value));
    RIA_TRY(parse_number(value, 16, &number));
    if (rest.size != 0 || number != (long long)ria_crc32c(text.data, covered)) {
        return RIA_ERR_CORRUPT;
    }
    *out_identity = identity;
    return RIA_OK;
}

ria_err identity_save(struct ria_fs *fs, const char *data_dir, const struct identity *identity)
{
    char path[IDENTITY_PATH_MAX];
    char text[IDENTITY_TEXT_MAX];

    RIA_TRY(path_of(data_dir, path, sizeof(path)));
    size_t size = identity_format(identity, text);
    return ria_fs_replace(fs, path, text, size);
}

ria_err identity_load(struct ria_fs *fs, const char *data_dir, struct identity *out_identity)
{
    char path[IDENTITY_PATH_MAX];
    uint8_t *data = NULL;
    size_t size = 0;

    RIA_TRY(path_of(data_dir, path, sizeof(path)));
    ria_err err = ria_fs_read_all(fs, path, IDENTITY_TEXT_MAX, &data, &size);
    if (err == RIA_ERR_LIMIT) {
        return RIA_ERR_CORRUPT;
    }
    if (err == RIA_OK) {
        err = identity_parse(ria_slice_of(data, size), out_identity);
        free(data);
    }
    return err;
}

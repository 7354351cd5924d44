#include "services/storage/record_file.h"

#include <stdlib.h>

#include "common/assert.h"
#include "common/crc.h"

enum { CRC_AT = 12 };

ria_err record_file_begin(struct ria_buf *out, size_t body_size, struct ria_writer *out_body)
{
    ria_buf_clear(out);
    RIA_TRY(ria_buf_reserve(out, RECORD_FILE_HEADER_SIZE + body_size));
    out->size = RECORD_FILE_HEADER_SIZE + body_size;
    *out_body = ria_writer_of(out->data + RECORD_FILE_HEADER_SIZE, body_size);
    return RIA_OK;
}

static uint32_t frame_crc(const uint8_t *frame, size_t size)
{
    return ria_crc32c_extend(
        ria_crc32c(frame, CRC_AT), frame + RECORD_FILE_HEADER_SIZE, size - RECORD_FILE_HEADER_SIZE
    );
}

void record_file_finish(struct ria_buf *out, const char *magic, int16_t version)
{
    RIA_ASSERT(out->size >= RECORD_FILE_HEADER_SIZE);
    RIA_ASSERT(out->size - RECORD_FILE_HEADER_SIZE <= UINT32_MAX);

    struct ria_writer w = ria_writer_of(out->data, RECORD_FILE_HEADER_SIZE);
    ria_write_bytes(&w, ria_slice_of(magic, RECORD_FILE_MAGIC_SIZE));
    ria_write_i16(&w, version);
    ria_write_i16(&w, 0);
    ria_write_u32(&w, (uint32_t)(out->size - RECORD_FILE_HEADER_SIZE));
    ria_write_u32(&w, frame_crc(out->data, out->size));
    RIA_ASSERT(w.pos == RECORD_FILE_HEADER_SIZE);
}

ria_err record_file_open(
    struct ria_slice file,
    const char *magic,
    int16_t version_max,
    int16_t *out_version,
    struct ria_slice *out_body
)
{
    struct ria_reader r = ria_reader_of(file);

    struct ria_slice found = ria_read_bytes(&r, RECORD_FILE_MAGIC_SIZE);
    int16_t version = ria_read_i16(&r);
    int16_t reserved = ria_read_i16(&r);
    uint32_t body_size = ria_read_u32(&r);
    uint32_t crc = ria_read_u32(&r);
    if (r.err != RIA_OK || body_size != ria_reader_left(&r)) {
        return RIA_ERR_CORRUPT;
    }
    if (!ria_slice_equal(found, ria_slice_of(magic, RECORD_FILE_MAGIC_SIZE)) ||
        crc != frame_crc(file.data, file.size) || version < 0 || reserved != 0) {
        return RIA_ERR_CORRUPT;
    }
    if (version > version_max) {
        return RIA_ERR_UNKNOWN_VERSION;
    }
    *out_version = version;
    *out_body = ria_slice_sub(file, RECORD_FILE_HEADER_SIZE, body_size);
    return RIA_OK;
}

static ria_err load(struct ria_file *file, size_t size_max, uint8_t **out_data, size_t *out_size)
{
    uint64_t size = 0;
    size_t got = 0;

    RIA_TRY(ria_fs_size(file, &size));
    if (size > size_max) {
        return RIA_ERR_CORRUPT;
    }
    uint8_t *data = malloc((size_t)size + 1);
    if (data == NULL) {
        return RIA_ERR_NOMEM;
    }
    ria_err err = ria_fs_pread(file, data, (size_t)size, 0, &got);
    if (err != RIA_OK) {
        free(data);
        return err;
    }
    *out_data = data;
    *out_size = got;
    return RIA_OK;
}

ria_err record_file_load(
    struct ria_fs *fs, const char *path, size_t size_max, uint8_t **out_data, size_t *out_size
)
{
    struct ria_file *file = NULL;

    RIA_TRY(ria_fs_open(fs, path, RIA_FS_READ, &file));
    ria_err err = load(file, size_max, out_data, out_size);
    ria_fs_close(file);
    return err;
}

ria_err record_file_decode_err(ria_err err)
{
    return err == RIA_OK || err == RIA_ERR_NOMEM ? err : RIA_ERR_CORRUPT;
}

ria_err record_file_write(struct ria_fs *fs, const char *path, struct ria_slice data)
{
    struct ria_file *file = NULL;

    RIA_TRY(ria_fs_open(fs, path, RIA_FS_WRITE | RIA_FS_CREATE, &file));
    ria_err err = ria_fs_pwrite(file, data.data, data.size, 0);
    if (err == RIA_OK) {
        err = ria_fs_truncate(file, data.size);
    }
    ria_fs_close(file);
    return err;
}

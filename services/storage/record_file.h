/* record_file: the frame of a partition's small files: magic, version, size, CRC-32C, one record.
 *
 * Format: docs/formats/partition.md, "Frame of the small files". Records: schemas/records/.
 *
 * Thread: the owner's; nothing here keeps state.
 */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/codec.h"
#include "common/err.h"
#include "common/fs.h"
#include "common/slice.h"

enum { RECORD_FILE_HEADER_SIZE = 16, RECORD_FILE_MAGIC_SIZE = 4 };

/* Room in out (emptied) for a frame around body_size bytes, which the caller writes to *out_body.
 * Errors: RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err
record_file_begin(struct ria_buf *out, size_t body_size, struct ria_writer *out_body) RIA_MUST_USE;

/* The body is written: fill the frame's header. magic has 4 bytes. */
void record_file_finish(struct ria_buf *out, const char *magic, int16_t version);

/* The body of a frame. Borrows from file.
 * Errors: RIA_ERR_CORRUPT; RIA_ERR_UNKNOWN_VERSION (the frame is right, but newer). */
ria_err record_file_open(
    struct ria_slice file,
    const char *magic,
    int16_t version_max,
    int16_t *out_version,
    struct ria_slice *out_body
) RIA_MUST_USE;

/* A whole small file, which the caller frees. Tells a file that is too large from other limits.
 * Errors: RIA_ERR_NOT_FOUND, RIA_ERR_CORRUPT (more than size_max), RIA_ERR_LIMIT (descriptors),
 * RIA_ERR_IO, RIA_ERR_NOMEM. */
ria_err record_file_load(
    struct ria_fs *fs, const char *path, size_t size_max, uint8_t **out_data, size_t *out_size
) RIA_MUST_USE;

/* What a decoder's error means for bytes whose CRC was right: NOMEM stays, the rest is CORRUPT. */
ria_err record_file_decode_err(ria_err err);

/* Write the file in place, without any sync: for files that are rebuilt when they are bad.
 * Errors: as ria_fs_open() and ria_fs_pwrite(). */
ria_err record_file_write(struct ria_fs *fs, const char *path, struct ria_slice data) RIA_MUST_USE;

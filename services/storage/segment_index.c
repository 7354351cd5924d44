/* The index files of a segment (segment.h): loaded, verified, saved (docs/formats/index.md). */
#include <stdlib.h>

#include "common/arena.h"
#include "common/assert.h"

#include "schemas/gen/offset_index_file.h"
#include "schemas/gen/time_index_file.h"

#include "services/storage/log_path.h"
#include "services/storage/record_file.h"
#include "services/storage/segment.h"

static const char OFFSETS_MAGIC[] = "RIAO";
static const char TIMES_MAGIC[] = "RIAT";

enum {
    INDEX_FILE_SIZE_MAX = 256 * 1024,
    INDEX_ARENA_MAX = 256 * 1024,
};
_Static_assert(
    OFFSET_INDEX_MAX * sizeof(struct offset_index_file_offset_index_entry) < INDEX_ARENA_MAX &&
        TIME_INDEX_MAX * sizeof(struct time_index_file_time_index_entry) < INDEX_ARENA_MAX,
    "the largest index must be readable"
);

/* A file read from disk and what it decodes to. */
struct loaded {
    uint8_t *data;
    struct ria_arena arena;
    int16_t version;
    struct ria_reader body;
};

static void loaded_fini(struct loaded *loaded)
{
    free(loaded->data);
    ria_arena_fini(&loaded->arena);
}

/* loaded_fini() is due in every case. A newer version is as good as a bad file: it is rebuilt. */
static ria_err load_file(
    const struct segment *segment,
    log_path_kind kind,
    const char *magic,
    int16_t version_max,
    struct loaded *out_loaded
)
{
    char path[LOG_PATH_MAX];
    size_t size = 0;
    struct ria_slice body;

    *out_loaded = (struct loaded){.data = NULL};
    ria_arena_init(&out_loaded->arena, INDEX_ARENA_MAX);
    log_path_of(path, segment->file.dir, segment->base_offset, kind);
    ria_err err = record_file_load(
        segment_cache_fs(segment->file.cache), path, INDEX_FILE_SIZE_MAX, &out_loaded->data, &size
    );
    if (err != RIA_OK) {
        return err == RIA_ERR_IO ? RIA_ERR_CORRUPT : err; /* a bad sector: it is made again */
    }
    err = record_file_open(
        ria_slice_of(out_loaded->data, size), magic, version_max, &out_loaded->version, &body
    );
    if (err != RIA_OK) {
        return RIA_ERR_CORRUPT;
    }
    out_loaded->body = ria_reader_of(body);
    return RIA_OK;
}

static ria_err read_offsets(
    const struct segment *segment, struct loaded *loaded, struct offset_index_file *out_file
)
{
    RIA_TRY(load_file(segment, LOG_PATH_INDEX, OFFSETS_MAGIC, OFFSET_INDEX_FILE_VERSION_MAX, loaded)
    );
    RIA_TRY(record_file_decode_err(
        offset_index_file_decode(out_file, loaded->version, &loaded->body, &loaded->arena)
    ));
    int64_t span = out_file->next_offset - segment->base_offset;
    if (out_file->base_offset != segment->base_offset || out_file->covered_size < 0 ||
        out_file->covered_size > SEGMENT_SIZE_MAX || out_file->next_offset < 0 || span < 0 ||
        span > SEGMENT_OFFSETS_MAX || (span == 0) != (out_file->covered_size == 0)) {
        return RIA_ERR_CORRUPT;
    }
    return RIA_OK;
}

static ria_err
read_times(const struct segment *segment, struct loaded *loaded, struct time_index_file *out_file)
{
    RIA_TRY(
        load_file(segment, LOG_PATH_TIME_INDEX, TIMES_MAGIC, TIME_INDEX_FILE_VERSION_MAX, loaded)
    );
    RIA_TRY(record_file_decode_err(
        time_index_file_decode(out_file, loaded->version, &loaded->body, &loaded->arena)
    ));
    uint32_t count = out_file->entries_count;
    if (out_file->base_offset != segment->base_offset ||
        (count > 0 && out_file->entries[count - 1].relative_offset >=
                          segment->next_offset - segment->base_offset)) {
        return RIA_ERR_CORRUPT;
    }
    return RIA_OK;
}

ria_err segment_index_info(const struct segment *segment, struct segment_index_info *out_info)
{
    struct loaded loaded;
    struct offset_index_file file;
    struct offset_index index;

    ria_err err = read_offsets(segment, &loaded, &file);
    if (err == RIA_OK) {
        offset_index_init(&index);
        err = offset_index_load(&index, &file); /* checks the entries */
        offset_index_fini(&index);
    }
    loaded_fini(&loaded);
    if (err != RIA_OK) {
        return err;
    }
    *out_info = (struct segment_index_info){
        .next_offset = file.next_offset,
        .covered_size = (uint64_t)file.covered_size,
        .max_timestamp = file.max_timestamp,
    };
    return RIA_OK;
}

/* Read all headers again. Both indexes come out of it, and go to disk if that is possible. */
static ria_err rebuild(struct segment *segment, const char *why)
{
    struct segment_place start = {.offset = segment->base_offset, .position = 0};
    struct segment_walk walk;
    struct batch_header header;
    bool more = true;
    struct segment scratch = {.base_offset = segment->base_offset};

    ria_log_warn(
        segment->log,
        "storage.index_rebuilt",
        "dir=%s segment=%lld reason=\"%s\"",
        segment->file.dir,
        (long long)segment->base_offset,
        why
    );
    segment_cache_metrics(segment->file.cache)->indexes_rebuilt.value++;
    scratch.next_offset = segment->base_offset;
    scratch.max_timestamp = -1;
    scratch.offsets_loaded = true;
    scratch.times_loaded = true;
    offset_index_init(&scratch.offsets);
    time_index_init(&scratch.times);
    ria_err err = segment_walk_init(&walk, segment, start);
    while (err == RIA_OK) {
        err = segment_walk_next(&walk, &header, &more);
        if (err != RIA_OK || !more) {
            break;
        }
        err = segment_reserve(&scratch, 1);
        if (err == RIA_OK) {
            segment_note(&scratch, &header);
        }
    }
    if (err != RIA_OK) {
        offset_index_fini(&scratch.offsets);
        time_index_fini(&scratch.times);
        return err;
    }
    offset_index_fini(&segment->offsets);
    time_index_fini(&segment->times);
    segment->offsets = scratch.offsets;
    segment->times = scratch.times;
    segment->offsets_loaded = true;
    segment->times_loaded = true;
    segment->index_saved = false;
    if (segment->synced_size == segment->size) {
        err = segment_save_indexes(segment); /* if not, they stay in memory */
        if (err == RIA_ERR_IO && segment->on_write_failed != NULL) {
            segment->on_write_failed(segment->owner);
        }
    }
    return RIA_OK;
}

/* Errors that mean "the file is no use", not "try again". */
static bool is_bad_file(ria_err err)
{
    return err == RIA_ERR_NOT_FOUND || err == RIA_ERR_CORRUPT;
}

ria_err segment_load_offsets(struct segment *segment)
{
    struct loaded loaded;
    struct offset_index_file file;

    ria_err err = read_offsets(segment, &loaded, &file);
    if (err == RIA_OK && ((uint64_t)file.covered_size != segment->size ||
                          file.next_offset != segment->next_offset)) {
        err = RIA_ERR_CORRUPT;
    }
    if (err == RIA_OK) {
        err = offset_index_load(&segment->offsets, &file);
    }
    loaded_fini(&loaded);
    if (is_bad_file(err)) {
        return rebuild(segment, ria_err_text(err));
    }
    segment->offsets_loaded = err == RIA_OK;
    return err;
}

ria_err segment_load_times(struct segment *segment)
{
    struct loaded loaded;
    struct time_index_file file;

    ria_err err = read_times(segment, &loaded, &file);
    if (err == RIA_OK && (uint64_t)file.covered_size != segment->size) {
        err = RIA_ERR_CORRUPT;
    }
    if (err == RIA_OK) {
        err = time_index_load(&segment->times, &file);
    }
    loaded_fini(&loaded);
    if (is_bad_file(err)) {
        return rebuild(segment, ria_err_text(err));
    }
    segment->times_loaded = err == RIA_OK;
    return err;
}

/* RIA_OK if both files say what the segment does. Errors: is_bad_file() and others. */
static ria_err check_files(const struct segment *segment)
{
    struct segment_index_info info;
    struct loaded loaded;
    struct time_index_file file;
    struct time_index times;

    RIA_TRY(segment_index_info(segment, &info));
    if (info.covered_size != segment->size || info.next_offset != segment->next_offset) {
        return RIA_ERR_CORRUPT;
    }
    ria_err err = read_times(segment, &loaded, &file);
    if (err == RIA_OK) {
        time_index_init(&times);
        err = (uint64_t)file.covered_size == segment->size ? time_index_load(&times, &file)
                                                           : RIA_ERR_CORRUPT;
        time_index_fini(&times);
    }
    loaded_fini(&loaded);
    return err;
}

ria_err segment_verify_indexes(struct segment *segment, bool *out_bad)
{
    RIA_ASSERT(segment->index_saved);

    ria_err err = check_files(segment);
    *out_bad = is_bad_file(err);
    if (!*out_bad) {
        return err;
    }
    if (segment->offsets_loaded && segment->times_loaded) {
        return segment_save_indexes(segment);
    }
    return rebuild(segment, ria_err_text(err));
}

static ria_err
save_file(const struct segment *segment, log_path_kind kind, const struct ria_buf *content)
{
    char path[LOG_PATH_MAX];

    log_path_of(path, segment->file.dir, segment->base_offset, kind);
    return record_file_write(segment_cache_fs(segment->file.cache), path, ria_buf_slice(content));
}

static ria_err save_times(const struct segment *segment, struct ria_buf *buf)
{
    struct time_index_file file;
    struct ria_writer w;

    time_index_file_init(&file);
    file.base_offset = segment->base_offset;
    file.covered_size = (int64_t)segment->size;
    file.entries = segment->times.entries;
    file.entries_count = segment->times.count;
    RIA_TRY(record_file_begin(buf, time_index_file_size(&file, TIME_INDEX_FILE_VERSION_MAX), &w));
    time_index_file_encode(&file, TIME_INDEX_FILE_VERSION_MAX, &w);
    record_file_finish(buf, TIMES_MAGIC, TIME_INDEX_FILE_VERSION_MAX);
    return save_file(segment, LOG_PATH_TIME_INDEX, buf);
}

static ria_err save_offsets(const struct segment *segment, struct ria_buf *buf)
{
    struct offset_index_file file;
    struct ria_writer w;

    offset_index_file_init(&file);
    file.base_offset = segment->base_offset;
    file.next_offset = segment->next_offset;
    file.covered_size = (int64_t)segment->size;
    file.max_timestamp = segment->max_timestamp;
    file.entries = segment->offsets.entries;
    file.entries_count = segment->offsets.count;
    RIA_TRY(record_file_begin(buf, offset_index_file_size(&file, OFFSET_INDEX_FILE_VERSION_MAX), &w)
    );
    offset_index_file_encode(&file, OFFSET_INDEX_FILE_VERSION_MAX, &w);
    record_file_finish(buf, OFFSETS_MAGIC, OFFSET_INDEX_FILE_VERSION_MAX);
    return save_file(segment, LOG_PATH_INDEX, buf);
}

ria_err segment_save_indexes(struct segment *segment)
{
    struct ria_buf buf;

    RIA_ASSERT(segment->synced_size == segment->size);
    RIA_ASSERT(segment->offsets_loaded && segment->times_loaded);

    ria_buf_init(&buf, INDEX_FILE_SIZE_MAX);
    ria_err err = save_times(segment, &buf);
    if (err == RIA_OK) {
        err = save_offsets(segment, &buf);
    }
    ria_buf_fini(&buf);
    segment->index_saved = err == RIA_OK;
    return err;
}

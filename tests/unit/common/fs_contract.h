/* fs_contract: what every implementation of common/fs.h does, on an empty folder `dir`. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/fs.h"
#include "common/slice.h"

#include "tests/lib/harness.h"

enum { FS_PATH_SIZE = 512, FS_LIST_SIZE = 256 };

struct fs_path {
    char text[FS_PATH_SIZE];
};

static inline struct fs_path fs_path(const char *dir, const char *name)
{
    struct fs_path path;

    (void)snprintf(path.text, sizeof(path.text), "%.200s/%.200s", dir, name);
    return path;
}

/* A file with that content, not synced. */
static inline void fs_write_file(struct ria_fs *fs, const char *path, const char *content)
{
    struct ria_file *file = NULL;

    CU_ASSERT_EQUAL_FATAL(ria_fs_open(fs, path, RIA_FS_WRITE | RIA_FS_CREATE, &file), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, content, strlen(content), 0), RIA_OK);
    ria_fs_close(file);
}

static inline bool fs_file_holds(struct ria_fs *fs, const char *path, const char *content)
{
    uint8_t *data = NULL;
    size_t size = 0;

    if (ria_fs_read_all(fs, path, 1 << 20, &data, &size) != RIA_OK) {
        return false;
    }
    bool holds = ria_slice_equal(ria_slice_of(data, size), ria_slice_cstr(content));
    free(data);
    return holds;
}

static inline bool fs_exists(struct ria_fs *fs, const char *path)
{
    struct ria_file *file = NULL;
    ria_err err = ria_fs_open(fs, path, RIA_FS_READ, &file);

    ria_fs_close(file);
    return err == RIA_OK;
}

static inline void fs_check_open_flags(struct ria_fs *fs, const char *dir)
{
    struct fs_path path = fs_path(dir, "a");
    struct fs_path lost = fs_path(dir, "no/such");
    struct ria_file *file = NULL;
    unsigned fresh = RIA_FS_WRITE | RIA_FS_CREATE | RIA_FS_EXCL;

    CU_ASSERT_EQUAL(ria_fs_open(fs, path.text, RIA_FS_READ, &file), RIA_ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(ria_fs_open(fs, path.text, RIA_FS_WRITE, &file), RIA_ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(ria_fs_open(fs, lost.text, fresh, &file), RIA_ERR_NOT_FOUND);
    CU_ASSERT_PTR_NULL(file);
    CU_ASSERT_EQUAL_FATAL(ria_fs_open(fs, path.text, fresh, &file), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, "kept", 4, 0), RIA_OK);
    ria_fs_close(file);
    CU_ASSERT_EQUAL(ria_fs_open(fs, path.text, fresh, &file), RIA_ERR_EXISTS);
    CU_ASSERT_EQUAL_FATAL(ria_fs_open(fs, path.text, RIA_FS_WRITE | RIA_FS_CREATE, &file), RIA_OK);
    ria_fs_close(file);
    CU_ASSERT_TRUE(fs_file_holds(fs, path.text, "kept"));
    CU_ASSERT_EQUAL_FATAL(ria_fs_open(fs, path.text, RIA_FS_READ, &file), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, "x", 1, 0), RIA_ERR_IO);
    ria_fs_close(file);
    ria_fs_close(NULL);
}

static inline void fs_check_read_write(struct ria_fs *fs, const char *dir)
{
    struct fs_path path = fs_path(dir, "a");
    struct ria_file *file = NULL;
    uint8_t data[64];
    static const uint8_t zeros[64] = {0};
    size_t n = 0;
    uint64_t size = 1;

    CU_ASSERT_EQUAL_FATAL(ria_fs_open(fs, path.text, RIA_FS_WRITE | RIA_FS_CREATE, &file), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_size(file, &size), RIA_OK);
    CU_ASSERT_EQUAL(size, 0);
    CU_ASSERT_EQUAL(ria_fs_pread(file, data, sizeof(data), 0, &n), RIA_OK);
    CU_ASSERT_EQUAL(n, 0);
    /* Across pages, with a hole before. */
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, "0123456789", 10, 8190), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, "AB", 2, 8191), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_size(file, &size), RIA_OK);
    CU_ASSERT_EQUAL(size, 8200);
    CU_ASSERT_EQUAL(ria_fs_pread(file, data, sizeof(data), 8190, &n), RIA_OK);
    CU_ASSERT_EQUAL(n, 10);
    CU_ASSERT_EQUAL(memcmp(data, "0AB3456789", 10), 0);
    CU_ASSERT_EQUAL(ria_fs_pread(file, data, sizeof(data), 4090, &n), RIA_OK);
    CU_ASSERT_EQUAL(n, sizeof(data));
    CU_ASSERT_EQUAL(memcmp(data, zeros, sizeof(zeros)), 0);
    CU_ASSERT_EQUAL(ria_fs_pread(file, data, sizeof(data), 1 << 20, &n), RIA_OK);
    CU_ASSERT_EQUAL(n, 0);
    /* What was cut off does not come back. */
    CU_ASSERT_EQUAL(ria_fs_truncate(file, 8193), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_truncate(file, 8210), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_pread(file, data, sizeof(data), 8190, &n), RIA_OK);
    CU_ASSERT_EQUAL(n, 20);
    CU_ASSERT_EQUAL(memcmp(data, "0AB", 3), 0);
    CU_ASSERT_EQUAL(memcmp(data + 3, zeros, 17), 0);
    CU_ASSERT_EQUAL(ria_fs_sync(file), RIA_OK);
    ria_fs_close(file);
}

struct fs_listing {
    char text[FS_LIST_SIZE];
    size_t left; /* stop after so many */
};

static inline bool fs_list_one(void *arg, const char *name, bool is_dir)
{
    struct fs_listing *listing = arg;
    size_t size = strlen(listing->text);

    (void
    )snprintf(listing->text + size, sizeof(listing->text) - size, "%s%s ", name, is_dir ? "/" : "");
    return --listing->left > 0;
}

static inline void fs_check_list(struct ria_fs *fs, const char *dir)
{
    static const char *const names[] = {"b", "a10", "a2", "Z", "_"};
    struct fs_listing all = {.left = SIZE_MAX};
    struct fs_listing two = {.left = 2};
    struct fs_listing none = {.left = SIZE_MAX};

    for (size_t i = 0; i < RIA_COUNT(names); i++) {
        fs_write_file(fs, fs_path(dir, names[i]).text, "");
    }
    CU_ASSERT_EQUAL(ria_fs_mkdir(fs, fs_path(dir, "aa").text), RIA_OK);
    fs_write_file(fs, fs_path(dir, "aa/inside").text, "");
    CU_ASSERT_EQUAL(ria_fs_list(fs, dir, fs_list_one, &all), RIA_OK);
    CU_ASSERT_STRING_EQUAL(all.text, "Z _ a10 a2 aa/ b ");
    CU_ASSERT_EQUAL(ria_fs_list(fs, dir, fs_list_one, &two), RIA_OK);
    CU_ASSERT_STRING_EQUAL(two.text, "Z _ ");
    CU_ASSERT_EQUAL(
        ria_fs_list(fs, fs_path(dir, "no").text, fs_list_one, &none), RIA_ERR_NOT_FOUND
    );
    CU_ASSERT_STRING_EQUAL(none.text, "");
}

static inline void fs_check_names(struct ria_fs *fs, const char *dir)
{
    struct fs_path a = fs_path(dir, "a");
    struct fs_path b = fs_path(dir, "b");
    struct fs_path sub = fs_path(dir, "sub");
    struct fs_path sub_a = fs_path(dir, "sub//./a");

    CU_ASSERT_EQUAL(ria_fs_unlink(fs, a.text), RIA_ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(ria_fs_rename(fs, a.text, b.text), RIA_ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(ria_fs_rmdir(fs, sub.text), RIA_ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(ria_fs_sync_dir(fs, sub.text), RIA_ERR_NOT_FOUND);

    CU_ASSERT_EQUAL(ria_fs_mkdir(fs, sub.text), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_mkdir(fs, sub.text), RIA_ERR_EXISTS);
    fs_write_file(fs, sub_a.text, "first");
    CU_ASSERT_EQUAL(ria_fs_rmdir(fs, sub.text), RIA_ERR_EXISTS);
    CU_ASSERT_EQUAL(ria_fs_unlink(fs, sub.text), RIA_ERR_IO);
    CU_ASSERT_EQUAL(ria_fs_rmdir(fs, sub_a.text), RIA_ERR_IO);

    fs_write_file(fs, b.text, "second");
    CU_ASSERT_EQUAL(ria_fs_rename(fs, sub_a.text, b.text), RIA_OK);
    CU_ASSERT_TRUE(fs_file_holds(fs, b.text, "first"));
    CU_ASSERT_FALSE(fs_exists(fs, sub_a.text));
    CU_ASSERT_EQUAL(ria_fs_rename(fs, b.text, b.text), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_sync_dir(fs, dir), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_rmdir(fs, sub.text), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_unlink(fs, b.text), RIA_OK);
    CU_ASSERT_FALSE(fs_exists(fs, b.text));
}

static inline void fs_check_unlinked_file_stays_usable(struct ria_fs *fs, const char *dir)
{
    struct fs_path path = fs_path(dir, "a");
    struct ria_file *file = NULL;
    char data[4];
    size_t n = 0;

    CU_ASSERT_EQUAL_FATAL(ria_fs_open(fs, path.text, RIA_FS_WRITE | RIA_FS_CREATE, &file), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_unlink(fs, path.text), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, "data", 4, 0), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_pread(file, data, 4, 0, &n), RIA_OK);
    CU_ASSERT_EQUAL(n, 4);
    CU_ASSERT_EQUAL(memcmp(data, "data", 4), 0);
    CU_ASSERT_FALSE(fs_exists(fs, path.text));
    ria_fs_close(file);
}

static inline void fs_check_lock(struct ria_fs *fs, const char *dir)
{
    struct fs_path path = fs_path(dir, "lock");
    struct ria_file *first = NULL;
    struct ria_file *second = NULL;

    CU_ASSERT_EQUAL_FATAL(ria_fs_lock(fs, path.text, &first), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_lock(fs, path.text, &second), RIA_ERR_BUSY);
    CU_ASSERT_PTR_NULL(second);
    ria_fs_close(first);
    CU_ASSERT_EQUAL_FATAL(ria_fs_lock(fs, path.text, &second), RIA_OK);
    ria_fs_close(second);
}

static inline void fs_check_replace_and_read_all(struct ria_fs *fs, const char *dir)
{
    struct fs_path path = fs_path(dir, "a");
    struct fs_listing all = {.left = SIZE_MAX};
    uint8_t *data = NULL;
    size_t size = 0;

    CU_ASSERT_EQUAL(ria_fs_read_all(fs, path.text, 9, &data, &size), RIA_ERR_NOT_FOUND);
    fs_write_file(fs, fs_path(dir, "a.tmp").text, "left by a crash");
    CU_ASSERT_EQUAL(ria_fs_replace(fs, path.text, "longer", 6), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_replace(fs, path.text, "old", 3), RIA_OK);
    CU_ASSERT_TRUE(fs_file_holds(fs, path.text, "old"));
    CU_ASSERT_EQUAL(ria_fs_read_all(fs, path.text, 2, &data, &size), RIA_ERR_LIMIT);
    CU_ASSERT_PTR_NULL(data);
    CU_ASSERT_EQUAL(ria_fs_read_all(fs, path.text, 3, &data, &size), RIA_OK);
    CU_ASSERT_EQUAL(size, 3);
    CU_ASSERT_EQUAL(data[3], '\0');
    free(data);
    CU_ASSERT_EQUAL(ria_fs_replace(fs, path.text, NULL, 0), RIA_OK);
    CU_ASSERT_TRUE(fs_file_holds(fs, path.text, ""));
    CU_ASSERT_EQUAL(ria_fs_list(fs, dir, fs_list_one, &all), RIA_OK);
    CU_ASSERT_STRING_EQUAL(all.text, "a ");
    CU_ASSERT_EQUAL(ria_fs_replace(fs, fs_path(dir, "no/such").text, "x", 1), RIA_ERR_NOT_FOUND);
}

static inline void fs_check_free_bytes(struct ria_fs *fs, const char *dir)
{
    uint64_t bytes = 0;

    CU_ASSERT_EQUAL(ria_fs_free_bytes(fs, dir, &bytes), RIA_OK);
    CU_ASSERT_TRUE(bytes > 0);
    CU_ASSERT_EQUAL(ria_fs_free_bytes(fs, fs_path(dir, "no").text, &bytes), RIA_ERR_NOT_FOUND);
    uint64_t total = 0;
    CU_ASSERT_EQUAL(ria_fs_total_bytes(fs, dir, &total), RIA_OK);
    CU_ASSERT_TRUE(total >= bytes);
    CU_ASSERT_EQUAL(ria_fs_total_bytes(fs, fs_path(dir, "no").text, &bytes), RIA_ERR_NOT_FOUND);
}

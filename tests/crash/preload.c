/* preload: LD_PRELOADed into a process, journals its calls to files below one folder (journal.h).
 *
 *   JOURNAL_FILE     where entries are appended
 *   JOURNAL_ROOT     the folder, as the process names it
 *   JOURNAL_SYNC_US  how much longer each sync takes: an acknowledgement that did not wait for its
 *                    sync then comes well before it in the journal
 *   JOURNAL_DIE_AT   the process kills itself (SIGKILL) when it begins its n-th sync
 *
 * A call and its entry are made under one lock, so that the order of entries is the order of
 * effects; a sync is two entries with the call between them, outside the lock. The process dies
 * inside the lock as well: no call is made that is not in the journal. Calls that fail leave no
 * entry; a write that is short is entered as long as it was.
 *
 * A library has no main() to hand state around: this one is file-level.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/crash/journal.h"

enum { FDS_MAX = 65536, PATH_SIZE_MAX = 4096 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int journal_fd = -1;
static char root[PATH_SIZE_MAX];
static size_t root_size;
static useconds_t sync_us;
static uint32_t sync_count;
static uint32_t die_at;
static bool watched[FDS_MAX]; /* descriptors of files below the root */

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_mkdir)(const char *, mode_t);
static int (*real_rmdir)(const char *);

static void die(const char *what)
{
    (void)fprintf(stderr, "preload: %s\n", what);
    abort();
}

/* ISO C knows no way from void * to a function. */
static void find(const char *name, void *out_function)
{
    void *symbol = dlsym(RTLD_NEXT, name);

    if (symbol == NULL) {
        die(name);
    }
    memcpy(out_function, &symbol, sizeof(symbol));
}

static void put_size(
    journal_kind kind,
    int fd,
    uint64_t at,
    uint32_t id,
    const char *path,
    const void *data,
    size_t size
)
{
    struct journal_entry entry = {
        .kind = kind,
        .fd = fd,
        .at = at,
        .id = id,
        .path_size = path == NULL ? 0 : (uint32_t)strlen(path) + 1,
        .data_size = (uint32_t)size,
    };
    /* iov_base is not const. */
    union {
        const void *from;
        void *to;
    } parts[] = {{.from = path}, {.from = data}};
    struct iovec iov[] = {
        {&entry, sizeof(entry)}, {parts[0].to, entry.path_size}, {parts[1].to, size}};

    if (writev(journal_fd, iov, 3) != (ssize_t)(sizeof(entry) + entry.path_size + size)) {
        die("cannot write the journal");
    }
}

static void put(journal_kind kind, int fd, uint64_t at, uint32_t id, const char *path)
{
    put_size(kind, fd, at, id, path, NULL, 0);
}

static void init(void)
{
    const char *file = getenv("JOURNAL_FILE");
    const char *folder = getenv("JOURNAL_ROOT");
    const char *delay = getenv("JOURNAL_SYNC_US");
    const char *last = getenv("JOURNAL_DIE_AT");

    find("open", &real_open);
    find("close", &real_close);
    find("pwrite", &real_pwrite);
    find("write", &real_write);
    find("ftruncate", &real_ftruncate);
    find("fsync", &real_fsync);
    find("fdatasync", &real_fdatasync);
    find("rename", &real_rename);
    find("unlink", &real_unlink);
    find("mkdir", &real_mkdir);
    find("rmdir", &real_rmdir);
    if (file == NULL || folder == NULL) {
        die("JOURNAL_FILE and JOURNAL_ROOT are needed");
    }
    root_size = (size_t)snprintf(root, sizeof(root), "%s", folder);
    sync_us = delay == NULL ? 0 : (useconds_t)atoi(delay);
    die_at = last == NULL ? 0 : (uint32_t)atoi(last);
    journal_fd = real_open(file, O_WRONLY | O_APPEND | O_CLOEXEC | O_CREAT, 0600);
    if (journal_fd < 0) {
        die("cannot open the journal");
    }
    put(JOURNAL_START, -1, 0, 0, NULL);
}

static void begin(void)
{
    (void)pthread_once(&once, init);
    (void)pthread_mutex_lock(&lock);
}

static void end(void)
{
    int kept = errno;

    (void)pthread_mutex_unlock(&lock);
    errno = kept;
}

/* The part below the root, NULL if it is not. */
static const char *below(const char *path)
{
    if (strncmp(path, root, root_size) != 0) {
        return NULL;
    }
    path += root_size;
    if (path[0] == '\0') {
        return path;
    }
    return path[0] == '/' ? path + 1 : NULL;
}

static bool is_watched(int fd)
{
    return fd >= 0 && fd < FDS_MAX && watched[fd];
}

int open(const char *path, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    begin();
    int fd = real_open(path, flags, mode);
    const char *name = below(path);
    if (fd >= 0 && fd < FDS_MAX) {
        watched[fd] = name != NULL;
    }
    if (fd >= 0 && name != NULL) {
        if (fd >= FDS_MAX || (flags & (O_TRUNC | O_APPEND)) != 0) {
            die("an open that the journal does not know");
        }
        put(JOURNAL_OPEN, fd, 0, 0, name);
    }
    end();
    return fd;
}

int close(int fd)
{
    begin();
    if (is_watched(fd)) {
        watched[fd] = false;
    }
    int result = real_close(fd);
    end();
    return result;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    begin();
    ssize_t done = real_pwrite(fd, data, size, at);
    if (done > 0 && is_watched(fd)) {
        put_size(JOURNAL_WRITE, fd, (uint64_t)at, 0, NULL, data, (size_t)done);
    }
    end();
    return done;
}

ssize_t write(int fd, const void *data, size_t size)
{
    (void)pthread_once(&once, init);
    if (is_watched(fd)) {
        die("a write() that the journal does not know");
    }
    return real_write(fd, data, size);
}

int ftruncate(int fd, off_t size)
{
    begin();
    int result = real_ftruncate(fd, size);
    if (result == 0 && is_watched(fd)) {
        put(JOURNAL_TRUNCATE, fd, (uint64_t)size, 0, NULL);
    }
    end();
    return result;
}

static int sync_with(int (*sync)(int), int fd)
{
    begin();
    bool counts = is_watched(fd);
    uint32_t id = 0;
    if (counts) {
        id = ++sync_count;
        put(JOURNAL_SYNC_BEGIN, fd, 0, id, NULL);
        if (id == die_at) {
            (void)kill(getpid(), SIGKILL);
            (void)pause();
        }
    }
    end();
    if (counts && sync_us > 0) {
        (void)usleep(sync_us);
    }
    int result = sync(fd);
    if (counts && result == 0) {
        begin();
        put(JOURNAL_SYNC_END, fd, 0, id, NULL);
        end();
    }
    return result;
}

int fsync(int fd)
{
    (void)pthread_once(&once, init);
    return sync_with(real_fsync, fd);
}

int fdatasync(int fd)
{
    (void)pthread_once(&once, init);
    return sync_with(real_fdatasync, fd);
}

int rename(const char *from, const char *to)
{
    begin();
    int result = real_rename(from, to);
    const char *name = below(from);
    const char *new_name = below(to);
    if (result == 0 && name != NULL) {
        if (new_name == NULL) {
            die("a rename out of the folder");
        }
        put_size(JOURNAL_RENAME, -1, 0, 0, name, new_name, strlen(new_name) + 1);
    }
    end();
    return result;
}

static int name_call(journal_kind kind, int result, const char *path)
{
    const char *name = below(path);

    if (result == 0 && name != NULL) {
        put(kind, -1, 0, 0, name);
    }
    end();
    return result;
}

int unlink(const char *path)
{
    begin();
    return name_call(JOURNAL_UNLINK, real_unlink(path), path);
}

int mkdir(const char *path, mode_t mode)
{
    begin();
    return name_call(JOURNAL_MKDIR, real_mkdir(path, mode), path);
}

int rmdir(const char *path)
{
    begin();
    return name_call(JOURNAL_RMDIR, real_rmdir(path), path);
}

/* Every call of the coordinator to its disk fails once: the data folder and SQLite's own files,
 * which go through the file seam here (services/coordinator/vfs_db.h).
 *
 * It may refuse to start, refuse a command, or end at once and say so (meta_db_failed): a process
 * that cannot commit must not go on. So each life is a process of its own, and an abort() that was
 * announced is a death like another. Then the power fails; without the fault it must start again,
 * with every topic whose creation was acknowledged and none whose creation failed definitely.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/assert.h"

#include "tests/lib/fault_fs.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

enum { NODES = 1, TOPICS = 2, ANSWER_MS = 50, LINES_MAX = 16 * 1024, CALLS_MAX = 10000 };

typedef enum fate { FATE_NONE, FATE_STORED, FATE_REFUSED, FATE_UNKNOWN } fate;

/* How a life ended, as its process's status. */
enum { LIFE_GOOD, LIFE_NOT_STRUCK, LIFE_BROKEN };

struct life {
    struct fixture f;
    struct fault_fs *fs;
    struct ria_log logger;
    char lines[LINES_MAX];
    size_t size;
    fate fates[TOPICS + 1];
    char names[TOPICS + 1][16];
    bool has_data; /* it has acknowledged something */
};

/* Where an abort() comes back to; a handler has no other way to know. */
static sigjmp_buf on_abort;

static void abort_handler(int number)
{
    (void)number;
    siglongjmp(on_abort, 1);
}

RIA_NORETURN RIA_PRINTF(1, 2) static void broken(const char *fmt, ...)
{
    va_list args;

    printf("    ");
    va_start(args, fmt);
    (void)vprintf(fmt, args);
    va_end(args);
    printf("\n");
    (void)fflush(stdout);
    _exit(LIFE_BROKEN);
}

static void write_line(void *arg, const char *line, size_t size)
{
    struct life *life = arg;

    if (life->size + size < LINES_MAX) {
        memcpy(life->lines + life->size, line, size);
        life->size += size;
    }
}

/* ---- a life ---- */

static fate ask(struct fixture *f, int16_t api_key, const void *body)
{
    struct fixture_request *request = fixture_send(f, api_key, body);

    fixture_advance(f, ANSWER_MS);
    ria_err err = fixture_answer(f, request, NULL);
    if (err == RIA_OK) {
        return FATE_STORED;
    }
    return ria_err_is_definite(err) && err != RIA_ERR_TIMEOUT ? FATE_REFUSED : FATE_UNKNOWN;
}

static void create_topic(struct life *life, uint32_t i)
{
    (void)snprintf(life->names[i], sizeof(life->names[i]), "topic-%u", i);
    struct create_topic_request request = fixture_topic(100 + i, life->names[i], 4, 1);

    life->fates[i] = FATE_UNKNOWN; /* if it dies on the way */
    life->fates[i] = ask(&life->f, API_CREATE_TOPIC, &request);
    life->has_data = life->has_data || life->fates[i] == FATE_STORED;
}

static void live(struct life *life)
{
    struct fixture *f = &life->f;

    if (fixture_start(f) != RIA_OK) {
        if (f->reason[0] == '\0') {
            broken("it does not start, and does not say why");
        }
        return;
    }
    for (uint32_t i = 0; i < NODES; i++) {
        struct register_node_request request = fixture_register(i + 1, 1);
        (void)ask(f, API_REGISTER_NODE, &request);
    }
    for (uint32_t i = 0; i < TOPICS; i++) {
        create_topic(life, i);
    }
    fixture_stop(f);
}

/* ---- the next one ---- */

static bool has_topic(const struct metadata_response *metadata, const char *name)
{
    for (uint32_t i = 0; i < metadata->topics_count; i++) {
        if (ria_slice_equal(metadata->topics[i].name, ria_slice_cstr(name))) {
            return true;
        }
    }
    return false;
}

static void check_next_life(struct life *life)
{
    struct fixture *f = malloc(sizeof(*f));
    struct metadata_response metadata;

    RIA_ASSERT(f != NULL);
    fixture_open(f);
    f->env.fs = life->f.fs; /* the disk stays */
    ria_err err = fixture_start(f);
    if (err != RIA_OK) {
        broken("it does not start again: %s: %s", ria_err_text(err), f->reason);
    }
    if (life->has_data) {
        err = fixture_metadata(f, 0, &metadata);
        RIA_ASSERT(err == RIA_OK);
        for (uint32_t i = 0; i < TOPICS; i++) {
            bool there = has_topic(&metadata, life->names[i]);
            if ((life->fates[i] == FATE_STORED && !there) ||
                (life->fates[i] == FATE_REFUSED && there)) {
                broken("%s %s", life->names[i], there ? "was refused and is there" : "is lost");
            }
        }
    }
    for (uint32_t i = 0; i < NODES; i++) {
        struct register_node_request request = fixture_register(i + 1, 2);
        if (ask(f, API_REGISTER_NODE, &request) != FATE_STORED) {
            broken("takes no node any more: %s", f->text);
        }
    }
    struct create_topic_request request = fixture_topic(200, "one-more", 4, 1);
    if (ask(f, API_CREATE_TOPIC, &request) != FATE_STORED) {
        broken("takes no topic any more: %s", f->text);
    }
    fixture_stop(f);
}

/* In a process of its own; what it leaves in memory goes with it. */
RIA_NORETURN static void run_life(const struct fault *fault)
{
    const struct fault none = {.at = 0};
    struct life *life = calloc(1, sizeof(*life));

    RIA_ASSERT(life != NULL);
    fixture_open(&life->f);
    life->logger = (struct ria_log){.level = RIA_LOG_WARN, .write = write_line, .arg = life};
    life->f.env.log = &life->logger;
    life->fs = fault_fs_new(life->f.fs, &life->f.timers, NULL, NULL);
    life->f.env.fs = fault_fs_fs(life->fs);
    fault_fs_set(life->fs, fault);
    (void)signal(SIGABRT, abort_handler);
    if (sigsetjmp(on_abort, 1) == 0) {
        live(life);
        if (fault_fs_open_count(life->fs) > 0) {
            broken("%zu files are still open", fault_fs_open_count(life->fs));
        }
    } else if (strstr(life->lines, "coordinator.meta_db_failed") == NULL) {
        broken("it died and did not say why");
    }
    (void)signal(SIGABRT, SIG_DFL);
    bool struck = fault_fs_has_struck(life->fs);
    fault_fs_set(life->fs, &none);
    ria_fs_sim_crash(life->f.fs, true);
    check_next_life(life);
    _exit(struck ? LIFE_GOOD : LIFE_NOT_STRUCK);
}

/* ---- every call ---- */

static void try_kind(fault_kind kind, ria_err err, bool half)
{
    struct fault fault = {.kind = kind, .err = err, .half = half};
    int status = LIFE_GOOD;

    for (fault.at = 1; status != LIFE_NOT_STRUCK && fault.at < CALLS_MAX; fault.at++) {
        (void)fflush(stdout);
        pid_t pid = fork();
        RIA_ASSERT(pid >= 0);
        if (pid == 0) {
            run_life(&fault);
        }
        RIA_ASSERT(waitpid(pid, &status, 0) == pid);
        status = WIFEXITED(status) ? WEXITSTATUS(status) : LIFE_BROKEN;
        if (status != LIFE_GOOD && status != LIFE_NOT_STRUCK) {
            printf("    %s %d\n", fault_kind_name(kind), (int)fault.at);
            CU_FAIL("a promise was broken");
        }
    }
    CU_ASSERT_EQUAL(status, LIFE_NOT_STRUCK);
    CU_ASSERT(fault.at > 2); /* else the kind is never called */
}

static void open_fails(void)
{
    try_kind(FAULT_OPEN, RIA_ERR_IO, false);
    try_kind(FAULT_OPEN, RIA_ERR_LIMIT, false);
}

static void read_fails(void)
{
    try_kind(FAULT_READ, RIA_ERR_IO, false);
}

static void write_fails(void)
{
    try_kind(FAULT_WRITE, RIA_ERR_IO, false);
}

static void disk_is_full(void)
{
    try_kind(FAULT_WRITE, RIA_ERR_NO_SPACE, true); /* half of it is written */
}

static void sync_fails(void)
{
    try_kind(FAULT_SYNC, RIA_ERR_IO, false);
}

static void sync_of_a_folder_fails(void)
{
    try_kind(FAULT_SYNC_DIR, RIA_ERR_IO, false);
}

static void rename_fails(void)
{
    try_kind(FAULT_RENAME, RIA_ERR_IO, false);
}

static void mkdir_fails(void)
{
    try_kind(FAULT_MKDIR, RIA_ERR_NO_SPACE, false);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(open_fails),
    HARNESS_TEST(read_fails),
    HARNESS_TEST(write_fails),
    HARNESS_TEST(disk_is_full),
    HARNESS_TEST(sync_fails),
    HARNESS_TEST(sync_of_a_folder_fails),
    HARNESS_TEST(rename_fails),
    HARNESS_TEST(mkdir_fails),
};
HARNESS_MAIN(tests);

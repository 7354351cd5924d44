#include "tests/iofail/alloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The linker's names. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);

static struct {
    bool armed;
    bool failed;
    uint64_t at;
    uint64_t count;
} state;

void alloc_fail_at(uint64_t at)
{
    state.armed = false;
    state.failed = false;
    state.at = at;
    state.count = 0;
}

bool alloc_has_failed(void)
{
    return state.failed;
}

bool alloc_arm(bool armed)
{
    bool before = state.armed;

    state.armed = armed;
    return before;
}

static bool fails(void)
{
    if (!state.armed || state.at == 0 || ++state.count != state.at) {
        return false;
    }
    state.failed = true;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails() ? NULL : __real_realloc(memory, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

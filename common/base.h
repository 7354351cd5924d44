/* base: compiler attributes and the few macros every other header may rely on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RIA_MUST_USE     __attribute__((warn_unused_result))
#define RIA_CLEANUP(fn)  __attribute__((cleanup(fn)))
#define RIA_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define RIA_NORETURN     __attribute__((noreturn))
#define RIA_UNUSED       __attribute__((unused))

/* Number of elements of a real array (not of a pointer). */
#define RIA_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The struct of this type that embeds *ptr as `member`. */
#define RIA_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Give up ownership of *(pp): returns the pointer and leaves NULL behind. */
#define RIA_STEAL(pp)                      \
    __extension__({                        \
        __typeof__(*(pp)) stolen_ = *(pp); \
        *(pp) = NULL;                      \
        stolen_;                           \
    })

/* Return from the enclosing function with the error of expr, if it has one. */
#define RIA_TRY(expr)              \
    do {                           \
        ria_err try_err_ = (expr); \
        if (try_err_ != RIA_OK) {  \
            return try_err_;       \
        }                          \
    } while (0)

static inline int64_t ria_min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t ria_max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline size_t ria_min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

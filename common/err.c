#include "common/err.h"

#include <errno.h>

const char *ria_err_text(ria_err err)
{
#define CASE(name, number, retry, definite, text) \
    case name:                                    \
        return text;
    switch (err) {
        RIA_ERR_TABLE(CASE)
    }
#undef CASE
    return "unknown error";
}

const char *ria_err_name(ria_err err)
{
#define CASE(name, number, retry, definite, text) \
    case name:                                    \
        return #name;
    switch (err) {
        RIA_ERR_TABLE(CASE)
    }
#undef CASE
    return "RIA_ERR_UNKNOWN";
}

bool ria_err_is_retriable(ria_err err)
{
#define CASE(name, number, retry, definite, text) \
    case name:                                    \
        return retry;
    switch (err) {
        RIA_ERR_TABLE(CASE)
    }
#undef CASE
    return false;
}

bool ria_err_is_definite(ria_err err)
{
#define CASE(name, number, retry, definite, text) \
    case name:                                    \
        return definite;
    switch (err) {
        RIA_ERR_TABLE(CASE)
    }
#undef CASE
    return false;
}

ria_err ria_err_from_wire(int16_t number)
{
#define CASE(name, value, retry, definite, text) \
    case value:                                  \
        return name;
    switch (number) {
        RIA_ERR_TABLE(CASE)
    default:
        return RIA_ERR_MALFORMED;
    }
#undef CASE
}

ria_err ria_err_from_errno(int errnum)
{
    switch (errnum) {
    case 0:
        return RIA_OK;
    case ENOMEM:
        return RIA_ERR_NOMEM;
    case ENOSPC:
    case EDQUOT:
        return RIA_ERR_NO_SPACE;
    case ENOENT:
        return RIA_ERR_NOT_FOUND;
    case EEXIST:
        return RIA_ERR_EXISTS;
    case EMFILE:
    case ENFILE:
        return RIA_ERR_LIMIT;
    default:
        return RIA_ERR_IO;
    }
}

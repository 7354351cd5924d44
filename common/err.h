/* err: the one result type of the code base, and of the wire between services.
 *
 * Every fallible function returns ria_err. RIA_OK is zero and nothing else is. Results come back
 * through trailing out_ parameters, which are written only on RIA_OK. Numbers are part of the
 * protocol (ResponseHeader.errorCode and the errorCode fields of messages): never renumber.
 *
 * Three questions decide what a caller may do with an error: may the same call succeed later
 * (retriable)? is it certain that nothing was done (definite)? whose fault is it (the text)?
 */
#pragma once

#include "common/base.h"

/* clang-format off */
/*    name                         number  retry  definite  text */
#define RIA_ERR_TABLE(X)                                                                            \
    X(RIA_OK,                       0, false, true,  "ok")                                          \
    X(RIA_ERR_NOMEM,                1, true,  true,  "out of memory")                               \
    X(RIA_ERR_IO,                   2, false, false, "storage error")                               \
    X(RIA_ERR_CORRUPT,              3, false, true,  "stored data is damaged")                      \
    X(RIA_ERR_MALFORMED,            4, false, true,  "message cannot be decoded")                   \
    X(RIA_ERR_LIMIT,                5, false, true,  "a configured limit was hit")                  \
    X(RIA_ERR_INVALID,              6, false, true,  "a value breaks its rule")                     \
    X(RIA_ERR_UNKNOWN_TYPE,         7, false, true,  "message type is not known here")              \
    X(RIA_ERR_UNKNOWN_VERSION,      8, false, true,  "message version is not known here")           \
    X(RIA_ERR_TIMEOUT,              9, true,  false, "no answer in time")                           \
    X(RIA_ERR_DISCONNECTED,        10, true,  false, "the peer cannot be reached")                  \
    X(RIA_ERR_BUSY,                11, true,  true,  "too much work is waiting")                    \
    X(RIA_ERR_SHUTDOWN,            12, true,  false,  "the process is shutting down")                \
    X(RIA_ERR_UNSUPPORTED,         13, false, true,  "not implemented")                             \
    X(RIA_ERR_EXISTS,              14, false, true,  "already exists")                              \
    X(RIA_ERR_NOT_FOUND,           15, false, true,  "not found")                                   \
    X(RIA_ERR_UNKNOWN_TOPIC,       16, false, true,  "topic does not exist")                        \
    X(RIA_ERR_UNKNOWN_PARTITION,   17, false, true,  "partition does not exist")                    \
    X(RIA_ERR_NOT_LEADER,          18, true,  true,  "not the leader of this partition")            \
    X(RIA_ERR_NO_LEADER,           19, true,  true,  "the partition has no leader")                 \
    X(RIA_ERR_FENCED_EPOCH,        20, true,  true,  "leader epoch is older than the newest known") \
    X(RIA_ERR_UNKNOWN_EPOCH,       21, true,  true,  "leader epoch is newer than the newest known") \
    X(RIA_ERR_NOT_ENOUGH_REPLICAS, 22, true,  true,  "too few in-sync replicas")                    \
    X(RIA_ERR_OFFSET_OUT_OF_RANGE, 23, false, true,  "offset is outside the log")                   \
    X(RIA_ERR_TOO_LARGE,           24, false, true,  "larger than the limit")                       \
    X(RIA_ERR_OUT_OF_ORDER,        25, false, true,  "producer sequence is out of order")           \
    X(RIA_ERR_FENCED_PRODUCER,     26, false, true,  "producer epoch is older than the newest known") \
    X(RIA_ERR_CONFLICT,            27, false, true,  "state changed since it was read")             \
    X(RIA_ERR_NO_SPACE,            28, true,  true,  "disk is full")                                \
    X(RIA_ERR_WRONG_CLUSTER,       29, false, true,  "belongs to another cluster")                  \
    X(RIA_ERR_NOT_ENOUGH_NODES,    30, true,  true,  "more replicas asked for than nodes exist")    \
    X(RIA_ERR_UNKNOWN_OUTCOME,     31, true,  false, "may or may not have been done")               \
    X(RIA_ERR_SQL,                 32, false, true,  "statement is not accepted")
/* clang-format on */

#define RIA_ERR_ENUM_(name, number, retry, definite, text) name = (number),
typedef enum ria_err { RIA_ERR_TABLE(RIA_ERR_ENUM_) } ria_err;

const char *ria_err_text(ria_err err);

/* The enum's own name, "RIA_ERR_IO": for logs. */
const char *ria_err_name(ria_err err);

/* The same call may succeed later without anybody mending something by hand. */
bool ria_err_is_retriable(ria_err err);

/* The operation is known not to have taken effect. */
bool ria_err_is_definite(ria_err err);

/* A number from a peer: RIA_ERR_MALFORMED if it is not in the table. */
ria_err ria_err_from_wire(int16_t number);

/* Translate at the border, once: errno never travels further than the file that read it. */
ria_err ria_err_from_errno(int errnum);

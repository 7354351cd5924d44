/* append: what both dialects do to store the records of a request and to answer for them.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"

#include "services/gateway/gateway.h"

struct append;

/* Ends the request. */
typedef void (*append_reply_fn)(struct append *append);

/* One request that stores records, in its arena. */
struct append {
    struct gateway *gateway;
    struct request *request;
    struct produce_call call;
    append_reply_fn reply;
    bool is_single; /* of /v1: the body is one record */
};

/* Store gateway->records in the topic, then reply. identity (may be NULL): the client's own
 * producer. Refuses the whole request, and answers, if a record cannot be taken. */
void append_records(
    struct gateway *gateway,
    struct request *request,
    struct cluster_topic *topic,
    const struct produce_identity *identity,
    bool is_single,
    append_reply_fn reply
);

/* Why this record is not stored, or not known to be. */
void append_failure(
    const struct append *append, const struct produce_result *result, struct failure *out
);

/* The status for a request whose records fared differently: 207, or that of all. */
int append_status(const struct append *append);

/* The first result with an error; NULL if there is none. */
const struct produce_result *append_first_error(const struct append *append);

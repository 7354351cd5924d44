/* cors: which web pages may use /v1 from a browser (the Fetch standard's CORS protocol).
 *
 * Off unless origins are named. Nothing here keeps anybody out who is no browser, and there are no
 * credentials: an allowed page may do what anybody may who reaches the gateway.
 *
 * Pure. Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/slice.h"

#include "services/gateway/request.h"

/* Is it "", "*", or origins (scheme://host, scheme://host:port) with commas between them? */
bool cors_is_valid(const char *origins);

/* At the head of a request: adds what the answer needs, and answers a preflight (true). origins may
 * be NULL or "": nothing happens. Borrows origins for the request's life. */
bool cors_begin(const char *origins, struct request *request);

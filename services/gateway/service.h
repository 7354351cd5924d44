/* service: one gateway without its web server: requests in, answers out.
 *
 * The shell (main.c) puts http.h in front; the simulator and the tests hand in requests of their
 * own. Everything it does goes through struct ria_env.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/metrics.h"

#include "services/gateway/request.h"

struct budget;
struct gateway;

struct gateway_options {
    const char *coordinator; /* addresses, separated by commas */
    int64_t body_max;        /* bytes of a body with records */
    uint32_t request_timeout_ms;
    uint32_t streams_max;        /* live streams at a time */
    const char *cors_origins;    /* cors.h; NULL: none. Lives as long as the gateway */
    int32_t consumer_session_ms; /* of Confluent's instances; 0: CONSUMER_SESSION_MS_DEFAULT */
    const char *advertised_url;  /* how clients reach the gateway; NULL, "": as they did */
};

enum { CONSUMER_SESSION_MS_DEFAULT = 5 * 60 * 1000 };

enum { GATEWAY_WAIT_MS_MAX = 60 * 1000 }; /* of a read */

/* Borrows env and budget, which the web server counts in too; copies options. metrics (may be NULL)
 * outlives the gateway. Errors: RIA_ERR_NOMEM, RIA_ERR_INVALID (coordinator is no address). */
ria_err gateway_new(
    const struct ria_env *env,
    const struct gateway_options *options,
    struct budget *budget,
    struct ria_metrics *metrics,
    struct gateway **out_gateway
) RIA_MUST_USE;

/* Begin to pull metadata and to heartbeat. */
void gateway_start(struct gateway *gateway);

/* Shutting down: nobody waits for new records any more. */
void gateway_stop(struct gateway *gateway);

/* No record is on its way. */
bool gateway_is_idle(const struct gateway *gateway);

/* Requests that are under way are forgotten, or answered. Accepts NULL. */
void gateway_free(struct gateway *gateway);

/* What struct http_service asks for; arg is the gateway. */
void gateway_begin(void *arg, struct request *request, size_t *out_body_max);
void gateway_handle(void *arg, struct request *request);
void gateway_refuse(void *arg, struct request *request, int status, const char *text);

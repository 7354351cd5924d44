/* base_uri: where clients reach this gateway, as they see it.
 *
 * --advertised-url, else what a proxy in front says (X-Forwarded-Proto, -Host, -Prefix; of a list
 * the first: the one nearest to the client), else the header Host. What has other characters than
 * such things consist of is ignored.
 *
 * Thread: any; pure.
 */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/err.h"

#include "services/gateway/request.h"

/* scheme://host:port/prefix, without a slash at the end. advertised: NULL or "": none. */
ria_err base_uri_append(struct ria_buf *out, const struct request *request, const char *advertised)
    RIA_MUST_USE;

/* Percent-encoded but for letters, digits and "-._~". */
ria_err base_uri_append_segment(struct ria_buf *out, struct ria_slice text) RIA_MUST_USE;

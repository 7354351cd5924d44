/* fake_env: the world of a core in a unit test: a clock that the test moves, and calls that it sees
 * and answers.
 *
 * Thread: the test's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/limits.h"
#include "common/list.h"

struct fake_call {
    struct ria_list link;
    char address[RIA_ADDRESS_MAX + 1];
    struct ria_msg *msg;
    uint32_t timeout_ms;
    ria_rpc_done_fn done;
    void *arg;
};

enum { FAKE_LOG_SIZE = 64 * 1024 };

struct fake_env {
    struct ria_env env;
    struct ria_clock clock;
    struct ria_timers timers;
    struct ria_rand rand;
    struct ria_log log;
    struct ria_rpc rpc;
    int64_t now_us;
    struct ria_list calls; /* unanswered, oldest first */
    unsigned call_count;   /* ever made */
    char log_text[FAKE_LOG_SIZE];
    size_t log_size;
};

void fake_env_init(struct fake_env *fake);

/* Ends every call with RIA_ERR_SHUTDOWN. */
void fake_env_fini(struct fake_env *fake);

/* Let time pass, timer by timer. Calls do not time out by themselves. */
void fake_env_advance_ms(struct fake_env *fake, int64_t ms);

/* Oldest unanswered call of this api, NULL if there is none. */
struct fake_call *fake_env_call(struct fake_env *fake, int16_t api_key);

/* Decode the request's body. The test fails if it is not of this api. Text in it lives as long as
 * the call; no arrays. */
void fake_call_body(const struct fake_call *call, int16_t api_key, void *out_body);

/* All take the call; reply_frame takes the frame, too. */
void fake_call_reply(struct fake_call *call, const void *body);
void fake_call_reply_error(struct fake_call *call, ria_err err);
void fake_call_reply_frame(struct fake_call *call, struct ria_msg *frame);
void fake_call_fail(struct fake_call *call, ria_err err);

/* How often `text` stands in what was logged. */
unsigned fake_env_logged(const struct fake_env *fake, const char *text);

/* ShutdownNode: a node that is about to end hands over what it leads first. Until the coordinator's
 * answer has come back as metadata, it goes on as before: leads, follows, answers. */
#include <stdlib.h>

#include "schemas/gen/shutdown_node_request.h"
#include "schemas/gen/shutdown_node_response.h"

#include "services/storage/storage.h"

enum {
    HANDOVER_MS = 5000,        /* for all of it */
    HANDOVER_SILENT_MS = 1500, /* no coordinator answers: nobody will take over */
    HANDOVER_CALL_MS = 500,
    HANDOVER_RETRY_MS = 50,
};

/* One call under way. Outlives the service if that is freed first: then storage is NULL. */
struct handover {
    struct storage *storage;
};

static int64_t now_us(const struct storage *s)
{
    return ria_clock_mono_us(s->env->clock);
}

static void note_answer(struct storage *s, ria_err err, const struct shutdown_node_response *answer)
{
    if (err == RIA_OK) {
        s->handover_agreed = true;
        s->handover_leaders_left = answer->leaders_left;
        return;
    }
    s->handover_retry_us = now_us(s) + (int64_t)HANDOVER_RETRY_MS * 1000;
    if (err == RIA_ERR_TIMEOUT || err == RIA_ERR_DISCONNECTED) {
        cluster_coordinator_failed(s->cluster);
        return;
    }
    if (err == RIA_ERR_NOT_LEADER || err == RIA_ERR_NO_LEADER) {
        cluster_coordinator_failed(s->cluster);
    }
    s->handover_silent_us = s->handover_until_us; /* somebody is there: worth the whole time */
    if (!ria_err_is_retriable(err)) {
        ria_log_warn(s->env->log, "storage.handover_refused", "err=\"%s\"", ria_err_text(err));
        s->handover_until_us = now_us(s);
    }
}

static void on_answer(void *arg, ria_err err, struct ria_msg *reply)
{
    struct handover *handover = arg;
    struct storage *s = handover->storage;
    struct shutdown_node_response answer = {.leaders_left = 0};

    free(handover);
    if (s == NULL) {
        ria_msg_free(reply);
        return;
    }
    s->handover = NULL;
    if (err == RIA_OK) {
        ria_arena_reset(&s->arena);
        err = envelope_read_reply(reply, API_SHUTDOWN_NODE, &s->arena, &answer, NULL, NULL, 0);
        ria_msg_free(reply);
    }
    note_answer(s, err, &answer);
}

static void call(struct storage *s)
{
    struct shutdown_node_request request = {
        .node_id = s->identity.node_id,
        .incarnation = s->incarnation,
    };
    struct handover *handover = malloc(sizeof(*handover));
    struct ria_msg *msg = envelope_request(
        API_SHUTDOWN_NODE,
        SHUTDOWN_NODE_REQUEST_VERSION_MAX,
        s->identity.node_id,
        HANDOVER_CALL_MS,
        &request,
        0,
        NULL
    );

    if (handover == NULL || msg == NULL) {
        free(handover);
        ria_msg_free(msg);
        s->handover_retry_us = now_us(s) + (int64_t)HANDOVER_RETRY_MS * 1000;
        return;
    }
    handover->storage = s;
    s->handover = handover;
    ria_rpc_call(
        s->env->rpc, cluster_coordinator(s->cluster), msg, HANDOVER_CALL_MS, on_answer, handover
    );
}

void storage_begin_handover(struct storage *s)
{
    int64_t start_us = now_us(s);

    s->handover_until_us = start_us + (int64_t)HANDOVER_MS * 1000;
    s->handover_silent_us = start_us + (int64_t)HANDOVER_SILENT_MS * 1000;
    if (!s->registered) { /* nobody has heard of this incarnation: it leads nothing */
        s->handover_agreed = true;
    }
}

bool storage_hand_over(struct storage *s)
{
    int64_t now = now_us(s);

    if (s->handover_agreed && storage_count_leaders(s) <= s->handover_leaders_left) {
        return true;
    }
    if (now >= s->handover_until_us || (!s->handover_agreed && now >= s->handover_silent_us)) {
        ria_log_warn(
            s->env->log,
            "storage.handover_given_up",
            "leaders=%lld agreed=%s",
            (long long)storage_count_leaders(s),
            s->handover_agreed ? "yes" : "no"
        );
        return true;
    }
    if (!s->handover_agreed && s->handover == NULL && now >= s->handover_retry_us) {
        call(s);
    }
    return false;
}

void storage_forget_handover(struct storage *s)
{
    if (s->handover != NULL) {
        s->handover->storage = NULL;
        s->handover = NULL;
    }
}

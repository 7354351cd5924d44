/* RegisterNode: the node asks the coordinator who it is, until one answers. */
#include <inttypes.h>
#include <stdlib.h>

#include "schemas/gen/register_node_request.h"
#include "schemas/gen/register_node_response.h"

#include "services/storage/storage.h"

enum {
    REGISTER_CALL_MS = 3000,
    REGISTER_DELAY_MS_MIN = 100,
    REGISTER_DELAY_MS_MAX = 2000,
};

/* One call under way. Outlives the service if that is freed first: then storage is NULL. */
struct registration {
    struct storage *storage;
};

static void retry(struct storage *s, ria_err err, const char *text)
{
    if (s->register_err != err) { /* once per reason */
        s->register_err = err;
        ria_log_info(
            s->env->log,
            "storage.waiting_for_coordinator",
            "address=%s err=\"%s\"",
            cluster_coordinator(s->cluster),
            text[0] != '\0' ? text : ria_err_text(err)
        );
    }
    cluster_coordinator_failed(s->cluster);
    uint32_t delay_ms = s->register_delay_ms;
    s->register_delay_ms = (uint32_t)ria_min_i64((int64_t)delay_ms * 2, REGISTER_DELAY_MS_MAX);
    /* Spread: a whole cluster starts at the same moment. */
    int64_t delay_us =
        (int64_t)delay_ms * 500 + (int64_t)ria_rand_below(s->env->rand, delay_ms * 500 + 1);
    ria_timer_start(s->env->timers, &s->register_timer, delay_us);
}

/* The coordinator knows this folder under other names than the folder does. */
static bool contradicts(struct storage *s, const struct register_node_response *response)
{
    const struct identity *known = &s->identity;

    if (known->node_id >= 0 && (!ria_uuid_equal(known->cluster_id, response->cluster_id) ||
                                known->node_id != response->node_id)) {
        storage_fatal(
            s,
            "data folder %s belongs to node %d, but the coordinator at %s calls it node %d: it has "
            "lost its state or serves another cluster; give the right --coordinator or an empty "
            "--data-dir",
            s->data_dir,
            known->node_id,
            cluster_coordinator(s->cluster),
            response->node_id
        );
        return true;
    }
    return false;
}

/* The coordinator knows a newer life of this node. As long as it has not registered this process,
 * which has the folder's lock, that one is over, and the folder has lost count: it was written by
 * an older version, comes from a backup, or could not be written. Later it is this process that is
 * over. */
static void pass(struct storage *s, int64_t incarnation)
{
    if (s->registered) {
        retry(
            s, RIA_ERR_FENCED_EPOCH, "this node was started anew, with a copy of its data folder"
        );
        return;
    }
    ria_log_warn(
        s->env->log,
        "storage.start_count_passed",
        "own=%" PRId64 " coordinator=%" PRId64,
        s->incarnation >> IDENTITY_START_SHIFT,
        incarnation >> IDENTITY_START_SHIFT
    );
    s->identity.starts = incarnation >> IDENTITY_START_SHIFT;
    storage_count_start(s);
    ria_timer_start(s->env->timers, &s->register_timer, REGISTER_DELAY_MS_MIN * 1000);
}

static void on_registered(struct storage *s, const struct register_node_response *response)
{
    if (response->node_id < 0 || contradicts(s, response)) {
        return;
    }
    if (response->incarnation > s->incarnation) {
        pass(s, response->incarnation);
        return;
    }
    if (s->identity.node_id < 0) {
        s->identity.node_id = response->node_id;
        s->identity.cluster_id = response->cluster_id;
        ria_err err = data_dirs_save(&s->dirs, &s->identity);
        if (err != RIA_OK) {
            storage_fatal(
                s,
                "cannot write to the data folder %s: %s; free some space or repair the disk",
                s->data_dir,
                ria_err_text(err)
            );
            return;
        }
    }
    s->register_delay_ms = REGISTER_DELAY_MS_MIN;
    s->register_err = RIA_OK;
    membership_set_node_id(s->membership, s->identity.node_id);
    ria_log_info(s->env->log, "storage.registered", "node=%d", s->identity.node_id);
    fitness_repeat(s->fitness);
    if (!s->registered) {
        s->registered = true;
        membership_start(s->membership);
        /* Not before: the answer to the registration of a new incarnation gives every partition it
         * leads a new epoch. Leading under the old one, after a crash that lost unsynced records,
         * would write two histories under the same epoch. */
        cluster_start(s->cluster);
    }
}

static void on_answer(void *arg, ria_err err, struct ria_msg *reply)
{
    struct registration *registration = arg;
    struct storage *s = registration->storage;
    struct register_node_response response;
    char text[256] = "";

    free(registration);
    if (s == NULL) {
        ria_msg_free(reply);
        return;
    }
    s->registration = NULL;
    if (err == RIA_OK) {
        ria_arena_reset(&s->arena);
        err = envelope_read_reply(
            reply, API_REGISTER_NODE, &s->arena, &response, NULL, text, sizeof(text)
        );
        ria_msg_free(reply);
    }
    if (s->leaving || s->is_fatal) {
        return;
    }
    if (err == RIA_ERR_WRONG_CLUSTER) {
        storage_fatal(
            s,
            "data folder %s belongs to another cluster than the coordinator at %s; give the right "
            "--coordinator or another --data-dir",
            s->data_dir,
            cluster_coordinator(s->cluster)
        );
    } else if (err == RIA_ERR_CONFLICT) {
        storage_fatal(s, "%s", text[0] != '\0' ? text : "the coordinator refuses this node");
    } else if (err == RIA_OK) {
        on_registered(s, &response);
    } else {
        retry(s, err, text);
    }
}

void storage_register(struct storage *s)
{
    if (s->registration != NULL || s->leaving || s->is_fatal) {
        return;
    }
    if (s->register_delay_ms == 0) {
        s->register_delay_ms = REGISTER_DELAY_MS_MIN;
    }
    struct register_node_request request = {
        .process_uuid = s->identity.node_uuid,
        .incarnation = s->incarnation,
        .address = ria_slice_cstr(s->address),
        .rack = ria_slice_cstr(s->rack),
        .cluster_id = s->identity.cluster_id,
    };
    struct ria_msg *msg = envelope_request(
        API_REGISTER_NODE,
        REGISTER_NODE_REQUEST_VERSION_MAX,
        s->identity.node_id,
        REGISTER_CALL_MS,
        &request,
        0,
        NULL
    );
    struct registration *registration = malloc(sizeof(*registration));
    if (msg == NULL || registration == NULL) {
        ria_msg_free(msg);
        free(registration);
        retry(s, RIA_ERR_NOMEM, "");
        return;
    }
    registration->storage = s;
    s->registration = registration;
    ria_rpc_call(
        s->env->rpc, cluster_coordinator(s->cluster), msg, REGISTER_CALL_MS, on_answer, registration
    );
}

void storage_forget_registration(struct storage *s)
{
    if (s->registration != NULL) {
        s->registration->storage = NULL;
        s->registration = NULL;
    }
}

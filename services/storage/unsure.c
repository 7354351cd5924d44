/* Requests whose refusal another leader could know better: of a sequence or an offset that is not
 * in this log. A leader that was deposed and has not heard of it lacks what its successor took. So
 * the coordinator is asked (services/shared/confirm.h), and then the request is handled anew; if it
 * cannot be asked, the answer is NOT_LEADER, which is definite and makes the caller look again. */
#include <stdlib.h>

#include "common/limits.h"

#include "services/storage/handle.h"

/* That wait at a time, and the bytes of their frames. Rejected: BUSY. */
enum { UNSURE_MAX = 1024, UNSURE_BYTES_MAX = RIA_FRAME_SIZE_MAX };

struct unsure {
    struct ria_list link; /* in storage.unsure */
    struct confirm_wait wait;
    struct storage *storage;
    struct ria_rpc_request *request;
    size_t frame_size;
    int64_t received_us;
};

static void forget(struct unsure *unsure)
{
    unsure->storage->unsure_count--;
    unsure->storage->unsure_bytes -= unsure->frame_size;
    ria_list_remove(&unsure->link);
    free(unsure);
}

static void on_confirmed(void *arg, bool confirmed)
{
    struct unsure *unsure = arg;
    struct handle_request r = handle_resumed(unsure->storage, unsure->request, true);

    int64_t waited_us = ria_clock_mono_us(unsure->storage->env->clock) - unsure->received_us;
    bool is_late = r.header.deadline_ms > 0 && waited_us >= (int64_t)r.header.deadline_ms * 1000;

    forget(unsure);
    r.confirmed = confirmed && !is_late;
    if (r.confirmed) {
        storage_handle(&r);
    } else {
        handle_reply_error(
            &r,
            RIA_ERR_NOT_LEADER,
            "another leader may know better, and the coordinator, which can tell, does not answer"
        );
    }
}

bool handle_confirm(const struct handle_request *r)
{
    struct storage *s = r->storage;
    size_t frame_size = ria_msg_size(ria_rpc_request_msg(s->env->rpc, r->request));

    if (r->confirmed) {
        return false;
    }
    struct unsure *unsure = NULL;
    if (s->unsure_count < UNSURE_MAX && frame_size <= UNSURE_BYTES_MAX - s->unsure_bytes) {
        unsure = calloc(1, sizeof(*unsure));
    }
    if (unsure == NULL) {
        handle_reply_error(r, RIA_ERR_BUSY, "too many requests wait for the coordinator's word");
        return true;
    }
    unsure->storage = s;
    unsure->request = r->request;
    unsure->frame_size = frame_size;
    unsure->received_us = ria_clock_mono_us(s->env->clock);
    unsure->wait.fn = on_confirmed;
    unsure->wait.arg = unsure;
    s->unsure_count++;
    s->unsure_bytes += frame_size;
    s->metrics.unsure.value++;
    ria_list_push_back(&s->unsure, &unsure->link);
    confirm_start(&s->confirm, &unsure->wait);
    return true;
}

void storage_end_unsure(struct storage *s)
{
    RIA_LIST_FOREACH (link, &s->unsure) {
        struct unsure *unsure = RIA_CONTAINER(link, struct unsure, link);
        struct handle_request r = handle_resumed(s, unsure->request, true);
        confirm_cancel(&unsure->wait);
        forget(unsure);
        handle_reply_error(&r, RIA_ERR_NOT_LEADER, "this storage node is shutting down");
    }
}

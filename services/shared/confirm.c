#include "services/shared/confirm.h"

#include <stdlib.h>

#include "common/assert.h"

#include "schemas/envelope.h"
#include "schemas/gen/metadata_request.h"
#include "schemas/gen/metadata_response.h"

enum {
    CONFIRM_ASK_MS = 500,      /* for the coordinator's answer */
    CONFIRM_CATCH_UP_MS = 500, /* for the view to have what it says */
    CONFIRM_DECODED_MAX = 64 * 1024,
};

/* One question under way. Outlives the confirm if that ends first. */
struct confirm_round {
    struct confirm *confirm; /* NULL: nobody waits for it any more */
    int64_t version;         /* of the view when it began */
};

static void begin_round(struct confirm *confirm);

static void tell(struct ria_list *waits, bool confirmed)
{
    struct ria_list *link;

    while ((link = ria_list_pop_front(waits)) != NULL) {
        struct confirm_wait *wait = RIA_CONTAINER(link, struct confirm_wait, link);
        wait->fn(wait->arg, confirmed);
    }
}

static void end_round(struct confirm_round *round, bool confirmed)
{
    struct confirm *confirm = round->confirm;
    struct ria_list ended;

    free(round);
    if (confirm == NULL) {
        return;
    }
    ria_list_init(&ended);
    ria_list_splice(&ended, &confirm->asked);
    confirm->round = NULL;
    if (!ria_list_is_empty(&confirm->next)) {
        begin_round(confirm);
    }
    tell(&ended, confirmed);
}

static void on_version(void *arg, bool reached)
{
    end_round(arg, reached);
}

/* Errors: those of the envelope; RIA_ERR_CONFLICT: it is another cluster's, or of a coordinator
 * that knows less than we did (an old copy of its database). Borrows reply. */
static ria_err
read_version(const struct confirm_round *round, const struct ria_msg *reply, int64_t *out_version)
{
    const struct cluster *cluster = round->confirm->cluster;
    struct metadata_response response;
    struct ria_arena arena;

    ria_arena_init(&arena, CONFIRM_DECODED_MAX);
    ria_err err = envelope_read_reply(reply, API_METADATA, &arena, &response, NULL, NULL, 0);
    if (err == RIA_OK) {
        bool is_ours = ria_uuid_equal(response.cluster_id, cluster_id(cluster));
        err = is_ours && response.version >= round->version ? RIA_OK : RIA_ERR_CONFLICT;
        *out_version = response.version;
    }
    ria_arena_fini(&arena);
    return err;
}

static void on_answer(void *arg, ria_err err, struct ria_msg *reply)
{
    struct confirm_round *round = arg;
    struct confirm *confirm = round->confirm;
    int64_t version = 0;

    if (err == RIA_OK && confirm != NULL) {
        err = read_version(round, reply, &version);
    }
    ria_msg_free(reply);
    if (err == RIA_OK && confirm != NULL) {
        cluster_wait_version(confirm->cluster, version, CONFIRM_CATCH_UP_MS, on_version, round);
        return;
    }
    if (confirm != NULL) {
        cluster_coordinator_failed(confirm->cluster);
    }
    end_round(round, false);
}

/* Who knows more than there is gets no rows, only the newest version. */
static struct ria_msg *question(void)
{
    struct metadata_request body = {.known_version = INT64_MAX, .wait_ms = 0};

    return envelope_request(
        API_METADATA, METADATA_REQUEST_VERSION_MAX, -1, CONFIRM_ASK_MS, &body, 0, NULL
    );
}

static void begin_round(struct confirm *confirm)
{
    struct ria_list asked;

    RIA_ASSERT(confirm->round == NULL && ria_list_is_empty(&confirm->asked));
    ria_list_init(&asked);
    ria_list_splice(&asked, &confirm->next);

    struct confirm_round *round = malloc(sizeof(*round));
    struct ria_msg *msg = question();
    if (round == NULL || msg == NULL) {
        free(round);
        ria_msg_free(msg);
        tell(&asked, false);
        return;
    }
    ria_list_splice(&confirm->asked, &asked);
    *round =
        (struct confirm_round){.confirm = confirm, .version = cluster_version(confirm->cluster)};
    confirm->round = round;
    ria_rpc_call(
        confirm->env->rpc,
        cluster_coordinator(confirm->cluster),
        msg,
        CONFIRM_ASK_MS,
        on_answer,
        round
    );
}

void confirm_init(struct confirm *confirm, const struct ria_env *env, struct cluster *cluster)
{
    *confirm = (struct confirm){.env = env, .cluster = cluster};
    ria_list_init(&confirm->asked);
    ria_list_init(&confirm->next);
}

void confirm_fini(struct confirm *confirm)
{
    RIA_ASSERT(ria_list_is_empty(&confirm->asked) && ria_list_is_empty(&confirm->next));

    if (confirm->round != NULL) {
        RIA_STEAL(&confirm->round)->confirm = NULL;
    }
}

void confirm_start(struct confirm *confirm, struct confirm_wait *wait)
{
    ria_list_push_back(&confirm->next, &wait->link);
    if (confirm->round == NULL) {
        begin_round(confirm);
    }
}

void confirm_cancel(struct confirm_wait *wait)
{
    ria_list_remove(&wait->link);
}

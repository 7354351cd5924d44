/* Metadata: what changed since a version; parks while nothing did. */
#include "schemas/gen/metadata_request.h"
#include "schemas/gen/metadata_response.h"

#include "services/coordinator/coordinator.h"
#include "services/coordinator/metadata_view.h"

/* The answer for a known version, from the arena if it was just built: a change wakes many who know
 * the same. */
static ria_err build_answer(struct coordinator *coordinator, int64_t known_version)
{
    if (coordinator->answer_known == known_version &&
        coordinator->answer.version == coordinator->version) {
        return RIA_OK;
    }
    coordinator_forget(coordinator);
    /* A caller that knows more than there is (another cluster's past, a follower's future) gets no
     * rows: the cluster id and the version tell it. */
    RIA_TRY(metadata_view_read(
        coordinator->db,
        &coordinator->cluster_id,
        known_version,
        coordinator->version,
        &coordinator->arena,
        &coordinator->answer
    ));
    coordinator->answer_known = known_version;
    return RIA_OK;
}

static void
answer(struct coordinator *coordinator, const struct coordinator_call *call, int64_t known_version)
{
    ria_err err = build_answer(coordinator, known_version);

    if (err == RIA_OK) {
        coordinator_reply(coordinator, call, &coordinator->answer);
    } else {
        coordinator_refuse(coordinator, call, err, "%s", ria_err_text(err));
    }
}

void handle_metadata_unparked(
    void *arg,
    struct ria_rpc_request *request,
    const struct request_header *header,
    int64_t known_version
)
{
    const struct coordinator_call call = {.request = request, .header = *header};

    answer(arg, &call, known_version);
}

void handle_metadata(struct coordinator *coordinator, const struct coordinator_call *call)
{
    struct metadata_request request;

    if (!coordinator_decode(coordinator, call, &request)) {
        return;
    }
    if (request.known_version < coordinator->version || request.wait_ms <= 0) {
        answer(coordinator, call, request.known_version);
        return;
    }
    ria_err err = metadata_waits_add(
        coordinator->parked, call->request, &call->header, request.known_version, request.wait_ms
    );
    if (err != RIA_OK) {
        coordinator_refuse(coordinator, call, err, "too many Metadata requests wait");
    }
}

/* msg: one frame between services, in the memory the transport sends without copying.
 *
 * A frame has one owner. Encoders write straight into it; slices decoded from a received frame
 * point into it and must not outlive it. Usable without any network: the simulator passes frames by
 * pointer.
 */
#pragma once

#include "common/base.h"

struct ria_msg;

/* Uninitialised bytes. NULL: no memory. */
struct ria_msg *ria_msg_new(size_t size);
struct ria_msg *ria_msg_copy(const struct ria_msg *msg);

uint8_t *ria_msg_data(const struct ria_msg *msg);
size_t ria_msg_size(const struct ria_msg *msg);

/* Shorten the frame to its first `size` bytes. */
void ria_msg_truncate(struct ria_msg *msg, size_t size);

/* Accepts NULL. */
void ria_msg_free(struct ria_msg *msg);
void ria_msg_freep(struct ria_msg **msg);

/* advertise: the address under which the other services reach this process. For main.c only: it
 * asks the system. */
#pragma once

#include "common/base.h"
#include "common/limits.h"

/* advertise, if it is not empty; else the listen address ("tcp://host:port") with the port that was
 * bound, and where its host stands for every interface (0.0.0.0, *, [::]), this machine's own first
 * address: in a container, the one its peers see. False: that cannot be told. */
bool advertise_address(
    const char *advertise, const char *listen, uint16_t port, char out_address[RIA_ADDRESS_MAX + 1]
);

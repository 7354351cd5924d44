#include "services/shared/advertise.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* By the machine's own name. */
static bool own_host(char *out_host, size_t out_size)
{
    char name[256];
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    if (gethostname(name, sizeof(name)) != 0) {
        return false;
    }
    name[sizeof(name) - 1] = '\0';
    if (getaddrinfo(name, NULL, &hints, &found) != 0) {
        return false;
    }
    int status = getnameinfo(
        found->ai_addr, found->ai_addrlen, out_host, (socklen_t)out_size, NULL, 0, NI_NUMERICHOST
    );
    freeaddrinfo(found);
    return status == 0;
}

static bool is_every_interface(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "*") == 0 || strcmp(host, "[::]") == 0 ||
           host[0] == '\0';
}

bool advertise_address(
    const char *advertise, const char *listen, uint16_t port, char out_address[RIA_ADDRESS_MAX + 1]
)
{
    static const char prefix[] = "tcp://";
    char host[RIA_ADDRESS_MAX + 1];

    if (advertise != NULL && advertise[0] != '\0') {
        int n = snprintf(out_address, RIA_ADDRESS_MAX + 1, "%s", advertise);
        return n > 0 && n <= RIA_ADDRESS_MAX;
    }
    if (listen == NULL || strncmp(listen, prefix, sizeof(prefix) - 1) != 0) {
        return false;
    }
    listen += sizeof(prefix) - 1;
    const char *colon = strrchr(listen, ':');
    if (colon == NULL || colon - listen > RIA_ADDRESS_MAX) {
        return false;
    }
    (void)snprintf(host, sizeof(host), "%.*s", (int)(colon - listen), listen);
    if (is_every_interface(host) && !own_host(host, sizeof(host))) {
        return false;
    }
    int n = snprintf(out_address, RIA_ADDRESS_MAX + 1, "tcp://%s:%u", host, (unsigned)port);
    return n > 0 && n <= RIA_ADDRESS_MAX;
}

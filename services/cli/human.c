#include "services/cli/human.h"

#include <stdio.h>

#include "common/base.h"

const char *human_bytes(long long bytes, char out[HUMAN_SIZE])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes / 1024;
    size_t unit = 0;

    if (bytes < 0) {
        (void)snprintf(out, HUMAN_SIZE, "?");
        return out;
    }
    if (bytes < 1024) {
        (void)snprintf(out, HUMAN_SIZE, "%lld B", bytes);
        return out;
    }
    for (; value >= 1023.95 && unit + 1 < RIA_COUNT(units); unit++) {
        value /= 1024;
    }
    (void)snprintf(out, HUMAN_SIZE, "%.1f %s", value, units[unit]);
    return out;
}

const char *human_seconds(double seconds, char out[HUMAN_SIZE])
{
    if (seconds < 1) {
        (void)snprintf(out, HUMAN_SIZE, "less than a second");
    } else if (seconds < 120) {
        (void)snprintf(out, HUMAN_SIZE, "about %.0f s", seconds);
    } else if (seconds < 120 * 60) {
        (void)snprintf(out, HUMAN_SIZE, "about %.0f min", seconds / 60);
    } else {
        (void)snprintf(out, HUMAN_SIZE, "about %.1f h", seconds / 3600);
    }
    return out;
}

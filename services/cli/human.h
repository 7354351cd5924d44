/* human: numbers as people read them. Pure. */
#pragma once

#include <stddef.h>

enum { HUMAN_SIZE = 32 };

/* "0 B", "1023 B", "1.5 MiB"; "?" if negative. */
const char *human_bytes(long long bytes, char out[HUMAN_SIZE]);

/* "less than a second", "about 40 s", "about 12 min", "about 3.5 h". */
const char *human_seconds(double seconds, char out[HUMAN_SIZE]);

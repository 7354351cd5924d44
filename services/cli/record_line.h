/* record_line: a record as the gateway writes it (docs/http.md, "Read"), printed as --output says.
 *
 * Thread: one.
 */
#pragma once

#include "common/json.h"

#include "services/cli/cli.h"

/* To standard output, which is not flushed. False: it cannot be written, or the line is none of a
 * gateway's. */
bool record_line_print(struct ria_json *json, cli_output output, struct ria_slice line);

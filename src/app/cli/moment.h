/* moment - a time as people type it. */
#ifndef APP_CLI_MOMENT_H
#define APP_CLI_MOMENT_H

#include <stdint.h>

#include "base/err.h"

/* moment_parse - "2026-11-22", "2026-11-22T08:05", "2026-11-22T08:05:30.123Z" (UTC, with or without
 * the Z), or how long before now: "90m", "24h", "7d". Milliseconds of Unix. ERR_MALFORMED: none of
 * these, or no such day. */
MUST_USE enum err moment_parse(const char *text, int64_t now_wall_ms, int64_t *ret);

#endif

/*
 * outlet_open - the supervisor's part in sinks on this machine: opens the file that a sink appends
 * to, after it was rotated when it is large enough; or a socket that is connected to journald's.
 * The broker opens nothing outside DIR.
 */
#ifndef APP_DAEMON_OUTLET_OPEN_H
#define APP_DAEMON_OUTLET_OPEN_H

#include "service/courier/courier.h"

enum { OUTLET_FILE_MODE = 0640 };

/* outlet_open - way COURIER_FILE or COURIER_JOURNALD. -1 with errno. A file is a regular one with
 * one name, no link; made with OUTLET_FILE_MODE where there is none. The caller's. */
int outlet_open(const struct courier_sink *s);

#endif

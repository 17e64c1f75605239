/* scribe_socket - the broker's link to the scribe (service/watch/scribe_client.h) over its end of
 * the pair. */
#ifndef APP_DAEMON_SCRIBE_SOCKET_H
#define APP_DAEMON_SCRIBE_SOCKET_H

#include "service/watch/scribe_client.h"

/* fd is borrowed for life, a place that holds it. */
struct scribe_link scribe_socket(int *fd);

#endif

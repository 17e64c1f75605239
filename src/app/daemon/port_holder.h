/*
 * port_holder - which process has the port that we were refused, for the words of the refusal.
 */
#ifndef APP_DAEMON_PORT_HOLDER_H
#define APP_DAEMON_PORT_HOLDER_H

#include "net/peer.h"

enum { PORT_HOLDER_BYTES = 96 };

/*
 * port_holder - "mosquitto (process 812)"; the name is what the process calls itself, escaped.
 *
 * proc_fd  /proc, opened as a directory
 * at       the address and port that were refused
 *
 * False: it cannot be told. Nobody serves there (a port can be held without), or the process is
 * another user's, or in another container. Reads the descriptors of all processes: for an error
 * alone.
 */
bool port_holder(int proc_fd, const struct net_peer *at, bool is_udp, char dst[PORT_HOLDER_BYTES]);

#endif

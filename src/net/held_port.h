/*
 * held_port - a TCP port that is ours and closed: nobody is served there, and nobody else can have
 * it. It is opened and closed again as often as one likes, by its descriptor alone.
 *
 * A socket that is bound and does not listen keeps nobody away who sets SO_REUSEADDR, as every
 * server does. So it has listened once, behind a filter that lets nothing in, which finds out who
 * else holds the port, and while it is closed it does not share its address.
 */
#ifndef NET_HELD_PORT_H
#define NET_HELD_PORT_H

#include "base/err.h"
#include "base/slice.h"

/*
 * held_port_take - the port, closed.
 *
 * where   as net_peer_parse; port 0: the kernel picks one. "[::]" takes IPv4 too (mapped).
 * ret_fd  gives: non-blocking, close-on-exec; written only on OK
 *
 * ERR_MALFORMED  the text is not an address
 * ERR_EXISTS     somebody serves there, or holds it as we would
 * ERR_DENIED     no permission (a port below 1024, or not this host's address)
 * ERR_IO         anything else; errno says what
 */
MUST_USE enum err held_port_take(struct slice where, int *ret_fd);

/* held_port_open - listens; it may do so already. ERR_IO: closed. */
MUST_USE enum err held_port_open(int fd);

/* held_port_close - connections that were not accepted are reset; those that were stay. It may be
 * closed already. */
void held_port_close(int fd);

#endif

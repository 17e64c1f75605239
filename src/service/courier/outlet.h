/*
 * outlet - where records go on this machine: lines at the end of a file, or datagrams into a
 * socket. What is behind the descriptor is somebody else's matter (app/daemon/outlet_open.h).
 */
#ifndef SERVICE_COURIER_OUTLET_H
#define SERVICE_COURIER_OUTLET_H

#include "base/buf.h"
#include "base/err.h"

struct outlet {
    int fd;    /* borrowed */
    int error; /* errno of the last failure */
    uint64_t n_bytes;
};

/* outlet_begin - fd: opened for appending, or a connected socket. */
void outlet_begin(int fd, struct outlet *ret);
/* outlet_append - all of *lines, emptied then, at the end of a file. A line that a crash left torn
 * gets its end first. On an error nothing of it stays: ERR_SPACE, ERR_IO. */
MUST_USE enum err outlet_append(struct outlet *o, struct buf *lines);
/* outlet_sync - what was appended survives a power cut. ERR_IO. */
MUST_USE enum err outlet_sync(struct outlet *o);
/* outlet_bytes - the size of the file behind what was appended. */
uint64_t outlet_bytes(const struct outlet *o);
/* outlet_send - takes whole frames (SHIPMENT_FRAME_BYTES) from the front of *frames, each one
 * datagram. ERR_AGAIN: the receiver's queue is full, the rest stays. ERR_IO, ERR_MALFORMED. */
MUST_USE enum err outlet_send(struct outlet *o, struct buf *frames);
/* outlet_error - why the last call failed; static. */
const char *outlet_error(const struct outlet *o);

#endif

#include "service/courier/outlet.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rd.h"
#include "service/courier/shipment.h"

void outlet_begin(int fd, struct outlet *ret)
{
    *ret = (struct outlet){.fd = fd};
}

const char *outlet_error(const struct outlet *o)
{
    const char *text = o->error != 0 ? strerrordesc_np(o->error) : NULL;
    return text != NULL ? text : "it does not take what it is given";
}

static enum err failed(struct outlet *o)
{
    o->error = errno;
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? ERR_SPACE : ERR_IO;
}

/* ---- files ---- */

static enum err append_all(struct outlet *o, struct slice s)
{
    while (s.n > 0) {
        ssize_t n = write(o->fd, s.p, s.n);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return failed(o);
        }
        s = slice_from(s, (size_t)n);
    }
    return OK;
}

static enum err end_torn_line(struct outlet *o, off_t size)
{
    char last = '\n';
    if (size > 0 && pread(o->fd, &last, 1, size - 1) != 1) {
        return failed(o);
    }
    return last == '\n' ? OK : append_all(o, slice_text("\n"));
}

enum err outlet_append(struct outlet *o, struct buf *lines)
{
    struct stat before;
    if (fstat(o->fd, &before) != 0) {
        return failed(o);
    }
    enum err err = end_torn_line(o, before.st_size);
    err = err == OK ? append_all(o, buf_slice(lines)) : err;
    if (err != OK) {
        int error = o->error;
        if (ftruncate(o->fd, before.st_size) != 0) {
            (void)failed(o); /* a torn line stays; the next one gets a line of its own */
        }
        o->error = error;
        return err;
    }
    o->n_bytes = (uint64_t)before.st_size + lines->n;
    buf_clear(lines);
    return OK;
}

enum err outlet_sync(struct outlet *o)
{
    return fdatasync(o->fd) == 0 ? OK : failed(o);
}

uint64_t outlet_bytes(const struct outlet *o)
{
    return o->n_bytes;
}

/* ---- datagrams ---- */

static enum err send_one(struct outlet *o, struct slice datagram)
{
    for (;;) {
        ssize_t n = send(o->fd, datagram.p, datagram.n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n == (ssize_t)datagram.n) {
            return OK;
        }
        if (n < 0 && errno == EAGAIN) {
            return ERR_AGAIN;
        }
        if (n >= 0 || errno != EINTR) {
            return failed(o);
        }
    }
}

enum err outlet_send(struct outlet *o, struct buf *frames)
{
    size_t taken = 0;
    enum err err = OK;
    while (err == OK && taken < frames->n) {
        struct rd r = rd_from(slice_from(buf_slice(frames), taken));
        size_t n = rd_u32(&r);
        struct slice datagram = rd_bytes(&r, n);
        err = r.err != OK ? ERR_MALFORMED : send_one(o, datagram);
        taken += err == OK ? SHIPMENT_FRAME_BYTES + n : 0;
    }
    buf_drop(frames, taken);
    return err;
}

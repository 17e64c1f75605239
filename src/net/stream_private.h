/* stream_private - what the files of a stream (stream*.c) share; not for other files. */
#ifndef NET_STREAM_PRIVATE_H
#define NET_STREAM_PRIVATE_H

#include <sys/uio.h>

#include "net/stream.h"
#include "net/tls_private.h"
#include "net/ws.h"

enum {
    RECORD_BYTES = 16 * 1024,                             /* SPEC: RFC8446 5.1, plaintext */
    PLAIN_BYTES = STREAM_RECV_BYTES + RECORD_BYTES + 512, /* and what waited for its record's end */
    SEALED_BYTES = STREAM_SEND_BYTES + 64 * 1024,         /* and the records around it */
    PARTS_MAX = STREAM_PARTS_ONCE,                        /* of one system call */
    PARTS_FEW = 8,                                        /* what most calls have */
    MINUTE_MS = 60 * 1000,
    FRUITLESS_MAX = 8 /* steps in a row that take no received byte */
};

struct stream_io {
    uint64_t now_ms;
    struct slice in; /* received, not yet taken by TLS; empty between calls */
    size_t sealed_n; /* made by TLS, not yet sent; 0 between calls */
    uint8_t recv[STREAM_RECV_BYTES];
    uint8_t plain[PLAIN_BYTES];
    uint8_t record[RECORD_BYTES];
    uint8_t sealed[SEALED_BYTES];
    uint8_t out[STREAM_SEND_BYTES];
};

/* What TLS alone needs. */
struct stream_tls {
    struct tls *shared; /* its own share */
    SSL *ssl;
    struct stream_io *io; /* aimed at the worker for the length of a call, else NULL */
    struct tls_note note;
};

/* For the socket, from `at` on. */
struct stream_pending {
    struct buf bytes;
    size_t at;
};

/* What an idle one has; the rest is beside it when there is some. */
struct stream {
    struct loop_source source;
    struct loop *loop; /* NULL: detached */
    void (*ready)(void *owner, uint32_t events);
    void *owner;
    struct stream_tls *tls;         /* owned; NULL: plaintext */
    struct ws *ws;                  /* NULL: bytes as they are */
    struct stream_pending *pending; /* owned; NULL: the socket has taken all */
    const char *error;              /* of a literal, or of the note; NULL: nothing went wrong */
    enum err failed : 8;            /* the first error; sticks */
    bool failure_told : 1;
    bool ws_failure_told : 1;
    bool poll_once : 1; /* after a move */
    bool held : 1, closing : 1, cleanly : 1;
    bool has_opened : 1;  /* bytes have come */
    bool has_drained : 1; /* the last read found less than it had room for */
    uint16_t glanced_n;   /* that the kernel still has, and we have read */
    uint32_t opening_n; /* of them, in the worker's buffer, when the last read brought the first */
};

/* stream_aim, stream_unaim - around every call of the library: its bytes come from and go to this
 * io. */
void stream_aim(struct stream *s, struct stream_io *io);
void stream_unaim(struct stream *s);
/* stream_watch - what its loop is to tell of. Errors as loop_change. */
MUST_USE enum err stream_watch(struct stream *s);
/* stream_fail - the first error and its text (borrowed for life) stick; returns the one that stuck.
 */
enum err stream_fail(struct stream *s, enum err e, const char *text);
/* stream_fail_errno - the same for a failed system call. */
enum err stream_fail_errno(struct stream *s);
/* stream_send_parts - one sendmsg behind what is kept already; what the socket does not take is
 * kept. ERR_LIMIT, ERR_CLOSED, ERR_IO. */
MUST_USE enum err stream_send_parts(struct stream *s, struct iovec *parts, size_t n_parts);
/* stream_send_plain - the same with the caller's parts. */
MUST_USE enum err stream_send_plain(struct stream *s, const struct slice *parts, size_t n_parts);
/* stream_send_sealed - the same with what TLS has put into the worker's buffer; empties it. */
MUST_USE enum err stream_send_sealed(struct stream *s, struct stream_io *io);

#endif

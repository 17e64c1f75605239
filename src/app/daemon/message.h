/*
 * message - what the supervisor and the parts say to each other: small typed messages over a
 * SOCK_SEQPACKET pair, one datagram each, decoded by the cursors.
 *
 *   supervisor -> broker   BOOT (first, once), STOP, RELOAD, EVENT (of the others)
 *   broker -> supervisor   STARTING, READY, RELOADED, FAILED
 *   supervisor -> signer   BOOT (first, once), STOP, RULES
 *   supervisor -> scribe   BOOT (first, once), BROKER, STOP
 *   supervisor -> courier  BOOT (first, once), STOP
 *   signer -> supervisor   READY, FAILED, EVENT; scribe and courier too
 *   both ways, each part   ALIVE
 *
 * Each gets its descriptors by inheritance through exec: the pair is LINK_FD, and BOOT says
 * which of those from BOOT_FIRST_FD up is what.
 */
#ifndef APP_DAEMON_MESSAGE_H
#define APP_DAEMON_MESSAGE_H

#include "base/err.h"
#include "base/slice.h"

enum {
    LINK_FD = 3,
    BOOT_FIRST_FD = 4,
    BOOT_LISTENERS_MAX = 16,
    BOOT_SOCKETS_MAX = 64, /* of one listener */
    BOOT_SINKS_MAX = 4,
    BOOT_TEXT_BYTES = 256,
    MESSAGE_NAME_BYTES = 65,
    MESSAGE_BYTES_MAX = 8192
};

enum message_type {
    MESSAGE_BOOT = 1,
    MESSAGE_STOP,     /* drain and exit 0 */
    MESSAGE_RELOAD,   /* read sallyport.yaml and policy.yaml again */
    MESSAGE_READY,    /* every listener is served */
    MESSAGE_RELOADED, /* text: empty, or why the old configuration stays */
    MESSAGE_FAILED,   /* text: why the broker cannot start; it will exit, do not restart */
    MESSAGE_STARTING, /* text: what it is still busy with before READY; it does not hang */
    MESSAGE_EVENT,    /* category, severity, name; text: the reason */
    MESSAGE_ALIVE,    /* to a part: answer the same; from it: it does not hang */
    MESSAGE_RULES,    /* rules: by which the signer signs from now on */
    MESSAGE_BROKER    /* life: another broker is started */
};

/* How the broker before this one ended. */
enum boot_last {
    BOOT_LAST_NONE,   /* this is the first */
    BOOT_LAST_EXIT,   /* last_code is an exit code */
    BOOT_LAST_SIGNAL, /* last_code is a signal */
    BOOT_LAST_HANG    /* did not answer and was killed */
};

struct boot_listener {
    char name[34]; /* as in sallyport.yaml */
    bool udp;
    bool listening; /* false: bound only. listen(2) opens it, shutdown(2) closes it again */
    uint16_t port;  /* the real one when 0 was asked for */
    int first_fd;
    unsigned n_fds; /* one for each worker, in worker order; a plain TCP listener and one of
                       OSCORE have one in all */
    bool asks;      /* CoAP with a proxy: as many sockets follow, to ask other servers by */
};

struct boot {
    int dir_fd;          /* DIR, the only place the broker may open files in */
    int key_fd;          /* the master key, at offset 0, read-only */
    int spare_key_fd;    /* tried when that one does not open the keyring */
    unsigned key_source; /* KEY_SOURCE_*: who may read it, can it be rotated */
    /* of these two 0: it has none */
    int control_fd;   /* listening unix socket */
    int authority_fd; /* its end of the pair between broker and signer */
    /* of the signer: certificates in a second, at once, and of one name in a minute */
    unsigned signs_per_second, signs_burst, signs_per_name;
    unsigned workers;
    unsigned generation; /* 1 for the first broker of this supervisor */
    enum boot_last last;
    unsigned last_code;
    char dir[BOOT_TEXT_BYTES]; /* path of DIR, for messages to people only */
    struct boot_listener listeners[BOOT_LISTENERS_MAX];
    size_t n_listeners;
    int courier_fd;   /* its end of the pair between broker and courier; 0: none */
    unsigned n_sinks; /* of `export`: so many descriptors to ask for connections by (dialler.h) */
    int first_sink_fd;
    int scribe_fd; /* of broker and scribe, its end of the pair between them; of others 0 */
    int porter_fd; /* of the broker, its end of the pair for what lies in DIR itself; else 0 */
    /* of the scribe: this run of `serve`, a random number, and the number of its present broker */
    uint64_t house;
    unsigned broker_generation;
};

/* A broker that is started now, and how the one before it ended. */
struct message_life {
    unsigned generation;
    enum boot_last last;
    unsigned last_code;
};

/* Limits of the signer, which it has of the operator's file and never of the broker. */
struct signing_rules {
    uint32_t grace_s;           /* for which an ended certificate may renew */
    uint32_t per_second, burst; /* certificates in all */
    uint32_t per_name_minute;   /* of one name */
};

struct message {
    enum message_type type;
    struct boot boot;           /* of BOOT */
    struct signing_rules rules; /* of RULES */
    char text[BOOT_TEXT_BYTES]; /* of RELOADED, FAILED, STARTING and EVENT */
    uint8_t category, severity; /* of EVENT: of base/event.h */
    char name[MESSAGE_NAME_BYTES];
    struct message_life life; /* of BROKER */
};

/* message_encode - into dst. ERR_SPACE. */
MUST_USE enum err message_encode(const struct message *m, void *dst, size_t cap, size_t *ret_n);
/* message_decode - the whole of bytes. ERR_TRUNCATED, ERR_TRAILING, ERR_MALFORMED, ERR_LIMIT. */
MUST_USE enum err message_decode(struct slice bytes, struct message *ret);

/* message_send, message_receive - over the pair. message_receive: ERR_AGAIN when there is nothing,
 * ERR_CLOSED when the other side has gone. ERR_IO. */
MUST_USE enum err message_send(int fd, const struct message *m);
MUST_USE enum err message_receive(int fd, struct message *ret);
/* message_await_boot - what a part that was just started is told first, over LINK_FD. ERR_TIMEOUT,
 * ERR_PROTOCOL: something else; else as message_receive. */
MUST_USE enum err message_await_boot(struct message *ret);

#endif

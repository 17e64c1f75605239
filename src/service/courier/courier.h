/*
 * courier - takes the records of the audit trail to where it is watched: a thread for each sink, in
 * a process of its own, which follows the files of the trail, so that a sink that stands still
 * costs nobody anything and nothing is lost while it does.
 *
 * A sink has taken a record when it says so in a way that nobody else can: after COURIER_TURN_MS or
 * COURIER_TURN_RECORDS the courier ends its side of the connection, and the receiver, having read
 * all, ends its own by TLS's close_notify, and its machine without a reset. Only then the place in
 * the trail is saved (DIR/courier/NAME); whatever else happens, all behind it is sent again. So a
 * record comes at least once, and its number (or leaf) tells a repetition.
 *
 * A webhook says it by 2xx, a file when its bytes are synced; a datagram that journald's socket
 * has taken outlives journald, as the socket is the init system's.
 *
 * A thread opens no socket and no file of a sink: it sends the sink's `to` to the supervisor over
 * dial_fd, and gets a descriptor, when it is the one that the supervisor has for that sink: one
 * that connects there, or of the file, or to journald's socket.
 */
#ifndef SERVICE_COURIER_COURIER_H
#define SERVICE_COURIER_COURIER_H

#include "base/clock.h"
#include "base/disk.h"
#include "service/courier/shipment.h"
#include "service/courier/webhook.h"

enum {
    COURIER_SINKS_MAX = 4,
    COURIER_NAME_BYTES = 34,
    COURIER_FILE_BYTES = 64,
    COURIER_TO_BYTES = 64,
    COURIER_TURN_MS = 2 * 1000,
    COURIER_TURN_RECORDS = 20000,
    COURIER_STALL_MS = 30 * 1000, /* a connection that moves no byte is given up */
    COURIER_DIAL_MS = 10 * 1000,  /* to connect and shake hands */
    COURIER_RETRY_MS = 500,       /* after a failure; doubles */
    COURIER_RETRY_MAX_MS = 15 * 1000,
    COURIER_SILENCE_S = 60,     /* with records waiting: then it is an alert */
    COURIER_HANG_MS = 8 * 1000, /* a thread that turns no more */
    COURIER_PATH_BYTES = 200,
    COURIER_FILE_MAX_BYTES = 64 * 1024 * 1024, /* then it is rotated; as configured otherwise */
    COURIER_FILES_KEPT = 8,
    COURIER_TEXT_BYTES = 200
};
#define COURIER_DIR "courier" /* the places, a file for each sink */

/* How a sink is reached. */
enum courier_way {
    COURIER_TLS,     /* a stream of records */
    COURIER_WEBHOOK, /* requests of HTTPS */
    COURIER_FILE,    /* lines of a file of this machine */
    COURIER_JOURNALD
};

/* One of `export`, as configured. */
struct courier_sink {
    char name[COURIER_NAME_BYTES];
    enum courier_way way;
    enum shipment_format format;
    bool only_alerts;                /* what has not the severity alert is passed over */
    char to[COURIER_TO_BYTES];       /* "192.0.2.7:6514"; what events name */
    char url[WEBHOOK_URL_BYTES];     /* of a webhook */
    char path[COURIER_PATH_BYTES];   /* of a file, or of journald's socket */
    uint64_t file_bytes;             /* of a file: over so many it is rotated */
    uint32_t files_kept;             /* beside the one that is written */
    char secret[COURIER_FILE_BYTES]; /* of a webhook: file of DIR */
    char host[SHIPMENT_HOST_BYTES];  /* what its certificate must carry */
    char ca[COURIER_FILE_BYTES];     /* files of DIR */
    char cert[COURIER_FILE_BYTES], key[COURIER_FILE_BYTES]; /* our own; empty: none */
    uint32_t silence_s;
    char state[COURIER_NAME_BYTES + 8]; /* of its alert: "export NAME"; set by courier_view_set */
};

struct tls;
/* courier_sink_tls - what a sink is connected to by, out of its files. ret_text: TLS_TEXT_BYTES, on
 * error what is wrong. Errors as disk_load and tls_client_new. */
MUST_USE enum err courier_sink_tls(struct disk *d, const struct courier_sink *s, char *ret_text,
                                   struct tls **ret);
/* courier_sink_secret - what a webhook signs by, appended (buf_wipe it). ret_text: TLS_TEXT_BYTES,
 * on error what is wrong. Errors as disk_load and webhook_secret_read. */
MUST_USE enum err courier_sink_secret(struct disk *d, const struct courier_sink *s, char *ret_text,
                                      struct buf *ret);

struct courier;

struct courier_setup {
    struct disk *disk; /* the data directory's; outlives it */
    struct clock clock;
    struct slice root; /* of the trail, borrowed for the call */
    const char *host;  /* our name in messages; copied */
    const struct courier_sink *sinks;
    const int *dial_fds;  /* one for each; borrowed for life */
    const int *watch_fds; /* inotify on the trail's folder, one for each; -1: it looks often */
    size_t n;
    void *ctx; /* of notify: courier_take has something; called by any of its threads */
    void (*notify)(void *ctx);
};

/* courier_open - starts the threads. ERR_NOMEM, ERR_IO, ERR_CRYPTO. */
MUST_USE enum err courier_open(const struct courier_setup *s, struct courier **ret);
/* courier_free - ends them; what was not taken is sent by the next one. NULL is fine. */
struct courier *courier_free(struct courier *c);

enum courier_news {
    COURIER_FAILED,   /* the first failure after it went well */
    COURIER_SILENT,   /* records have waited for silence_s; found by courier_view.h */
    COURIER_AT_EDGE,  /* the trail is about to forget what it has not taken */
    COURIER_LOST,     /* it has; seq says how many */
    COURIER_RECOVERED /* it has taken all that had waited */
};

struct courier_report {
    enum courier_news news;
    const struct courier_sink *sink; /* lives as long as the courier */
    uint64_t n;
    char text[COURIER_TEXT_BYTES];
};
/* courier_take - the next report of a sink; false: there is none. */
bool courier_take(struct courier *c, size_t i, struct courier_report *ret);
/* courier_event - a report as an event, with the fix. */
struct event courier_event(const struct courier_report *r);

struct courier_numbers {
    uint64_t sent;    /* records, repetitions included */
    uint64_t taken;   /* records that the sink has for sure */
    uint64_t retries; /* connections that failed */
    uint64_t lost;
    uint64_t lag_records; /* read from the trail and not taken yet */
    uint64_t lag_ms;      /* for how long the oldest of them has waited */
};
size_t courier_count(const struct courier *c);
struct courier_numbers courier_numbers(const struct courier *c, size_t i);
/* courier_trouble - the last failure, or empty. */
void courier_trouble(const struct courier *c, size_t i, char dst[COURIER_TEXT_BYTES]);
/* courier_is_alive - has every thread turned within COURIER_HANG_MS? */
bool courier_is_alive(const struct courier *c, uint64_t now_ms);

#endif

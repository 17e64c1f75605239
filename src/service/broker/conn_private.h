/* conn_private - a connection of a worker, from its first byte to its last; shared by the files of
 * this folder only. */
#ifndef SERVICE_BROKER_CONN_PRIVATE_H
#define SERVICE_BROKER_CONN_PRIVATE_H

#include "base/buf.h"
#include "base/list.h"
#include "base/wheel.h"
#include "core/principal.h"
#include "engine/mqtt_gate.h"
#include "engine/mqtt_server.h"
#include "security/crypto/digest.h"
#include "service/broker/lane.h"

struct account;
struct entrance;
struct replays;
struct scram;
struct session;
struct worker;

enum { UNREAD_SLACK = 256 * 1024 /* read from the socket before back-pressure was felt */ };

enum conn_phase {
    CONN_FREE,
    CONN_GATE,   /* before CONNECT */
    CONN_ASKED,  /* the verify pool has a question */
    CONN_OPEN,   /* mqtt_server runs, a session is bound */
    CONN_CLOSING /* its last words are to leave, then finished */
};

/* The certificate that a connection showed, as far as who it is depends on it. */
struct shown {
    struct digest spki, cert_id;
    char name[PRINCIPAL_NAME_MAX + 1]; /* empty where it has come to its home: it was judged */
};

/* How a connection came in, if not anonymous or by a password alone: it goes along to its home. */
struct conn_login {
    struct lane lane;        /* the certificate it came in by, and its renewal */
    struct shown *shown;     /* owned; NULL: no certificate */
    struct scram *scram;     /* owned: a login or re-authentication that waits for its proof */
    int64_t token_wall_ms;   /* end of the token that let it in; 0: none did */
    uint64_t token_until_ms; /* the same, monotonic, while OPEN; UINT64_MAX: none */
};

struct conn {
    uint64_t handle; /* generation << 24 | slot; 0 when free */
    const struct entrance *entrance;
    void *transport;
    struct mqtt_gate *gate;
    struct mqtt_server *engine;
    struct conn_login *login; /* how it came in; never NULL: LOGIN_NONE, where nothing is written */
    uint64_t credential;      /* that let it in; 0: not yet, anonymous, or by token */
    struct account *account;  /* while OPEN */
    struct session *session;  /* while OPEN */
    struct buf *unread; /* the unfinished packet, or what back-pressure keeps; NULL: nothing */
    struct timer timer; /* pre-authentication deadline, then keep-alive */
    struct list_node dirty, paused;
    uint64_t backlog_bytes;   /* written, and not taken by its socket */
    struct replays *replays;  /* retained messages for its new subscriptions; NULL: none */
    uint64_t held_until_ms;   /* see n_subacks */
    uint64_t paused_until_ms; /* UINT64_MAX: until a ring or the journal drains */
    uint64_t hello_lsn;       /* CONNACK, and all behind it, waits until this is committed */
    uint64_t reported_rate_ms;
    const char *peer;   /* of its transport */
    uint32_t n_subacks; /* that wait for their barriers: a PUBLISH behind them waits, too, but not
                           longer than until held_until_ms */
    enum conn_phase phase : 8;
    enum mqtt_reason closed_for : 8; /* MQTT_SUCCESS: nothing that we said */
    bool is_paused : 1;              /* the publisher waits for budget, ring or journal */
    bool is_held : 1;                /* the same, for a disk that is slow: see hold_takes */
    bool is_stalled : 1; /* the engine waits for answers or for a reader; `unread` holds packets */
    bool is_resumed : 1, is_clean_end : 1, has_left : 1, has_published : 1, is_abandoned : 1,
        is_shed : 1;
};

/* conn.c */
/* entrance_is_open - do the exceptions in force let such a client in here? */
bool entrance_is_open(const struct worker *w, const struct entrance *e, bool is_anonymous);
struct conn *conn_find(const struct worker *w, uint64_t handle);
/* conn_is_taken_back - a list in force revokes the certificate that it showed. */
bool conn_is_taken_back(const struct worker *w, const struct conn *c);
MUST_USE enum err conn_new(struct worker *w, const struct entrance *entrance, const char *peer,
                           void *transport, struct conn **ret);
/* conn_client_id - for events: as its CONNECT says, then as its session does. Borrows. */
struct slice conn_client_id(const struct conn *c);
/* conn_keep - `more` waits unread, behind what does; with that, `most` bytes at most.
 * ERR_TOO_LARGE, ERR_NOMEM: nothing changed. */
MUST_USE enum err conn_keep(struct conn *c, struct slice more, size_t most);
static inline struct slice conn_unread(const struct conn *c)
{
    return c->unread != NULL ? buf_slice(c->unread) : (struct slice){0};
}
void conn_mark_dirty(struct worker *w, struct conn *c);
/* conn_close - says why to the client in its protocol and to the audit trail (NULL event: already
 * said), then lets the output leave. */
void conn_close(struct worker *w, struct conn *c, enum mqtt_reason reason);
void conn_forget(struct worker *w, struct conn *c);
void conn_arm(struct worker *w, struct conn *c);
void conn_feed(struct worker *w, struct conn *c, struct slice plain);
void conn_pause(struct worker *w, struct conn *c, uint64_t until_ms);
void conns_resume(struct worker *w);
void conn_timeout(struct worker *w, struct conn *c);

/* ahead.c */
/* ahead_input - what the first messages of `in` will touch is asked for, if they are several and it
 * is not near anyway. Returns how many bytes are behind them. */
size_t ahead_input(const struct worker *w, struct slice in);
/* ahead_output - the same of the connections behind `first` in the dirty list. */
void ahead_output(const struct worker *w, const struct list_node *first);

/* hold.c: a disk that is only slow for a moment */
/* hold_takes - may the packet in front of `in` be cut? false: it asks for lasting room, the log
 * will have it when the disk has caught up, and c is paused until then. Never longer than the disk
 * stands still for JOURNAL_STALL_S: it is refused then. hold_waits - nothing that waits for the
 * disk has room yet. */
bool hold_takes(struct worker *w, struct conn *c, struct slice in);
bool hold_waits(const struct worker *w);
/* hold_admits - journal_admits for a new session: its record, and its will's, are always taken, and
 * CONNACK leaves behind them. So a log that is only behind does not refuse it. */
MUST_USE enum err hold_admits(const struct worker *w);

#endif

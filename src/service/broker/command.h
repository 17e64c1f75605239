/*
 * command - requests over MQTT 5 to a resource of a CoAP device, on the device's own association.
 *
 * A PUBLISH to $coap/DEVICE/METHOD/PATH... with a Response Topic is a command. The worker of who
 * asks checks it (command_read, command_allowed) and gives it to the *desk*: the home worker of the
 * device, where all commands for it wait in one place. Doors tell the desk which association a
 * device has now, and carry out what it sends there (service/gateway/errand.c). Every command that
 * reached its desk is answered once: by the device, or by the desk with a code and a reason.
 * What the desk and the doors tell each other are notes. Nothing of it is on record: a restart
 * forgets what waits.
 */
#ifndef SERVICE_BROKER_COMMAND_H
#define SERVICE_BROKER_COMMAND_H

#include "base/list.h"
#include "base/map.h"
#include "base/wheel.h"
#include "core/msg.h"
#include "core/policy.h"
#include "service/broker/realm.h"
#include "service/broker/spot.h"

struct worker;
struct account;
struct route;

enum {
    COMMAND_QUERIES_MAX = 16,     /* user properties coap-query */
    COMMAND_ANNOUNCE_MS = 60000,  /* how often a door says again where a device is that is heard */
    COMMAND_AT_DOOR_BYTES = 3072, /* what one costs at its door beside the message */
    COMMAND_GRACE_MS = 2000       /* behind its deadline the desk waits for the door so long */
};

/* ---- what a command says ---- */

struct command_ask {
    struct slice device;         /* a principal's name */
    uint8_t method;              /* a CoAP code */
    struct slice path;           /* "light/1" */
    bool has_path;               /* false: the root */
    struct slice response_topic; /* borrows, as all of it, from topic and props */
    struct slice correlation;
    struct slice content_type;
};

/* command_is - is this topic below $coap/? */
bool command_is(struct slice topic);
/* command_read - props: the properties of a PUBLISH, decoded before. ERR_DENIED with *ret_why: it
 * is no command that could be carried out, or answered. Never anything else. */
MUST_USE enum err command_read(struct slice topic, struct slice props, struct command_ask *ret,
                               const char **ret_why);
/* command_may_repeat - does asking twice what asking once does? SPEC: RFC7252 5.1 */
bool command_may_repeat(uint8_t method);
/* command_changes - does the method change something at the device? */
bool command_changes(uint8_t method);
/* command_allowed - may its answer go to the Response Topic? Whoever asks must itself be allowed to
 * subscribe to it and to publish there, so a command gives no right that its sender does not have.
 * ERR_DENIED, explained. */
MUST_USE enum err command_allowed(const struct grants *g, const struct command_ask *ask,
                                  struct decision *ret);

/* ---- notes ---- */

enum command_step {
    COMMAND_ASK,    /* to the desk: msg */
    COMMAND_THERE,  /* to the desk: the device is at worker, door, association */
    COMMAND_GONE,   /* to the desk: that association has ended */
    COMMAND_SEND,   /* to the door: carry out id: msg, until deadline_ms */
    COMMAND_RECALL, /* to the door: id is better sent elsewhere; give it back if that is safe */
    COMMAND_BACK,   /* to the desk: id was not carried out, and may be sent again */
    COMMAND_ANSWER  /* to the desk: id ends with code */
};

struct command_note {
    struct list_node node; /* while it waits for its door */
    enum command_step step;
    uint64_t device; /* the principal's id */
    uint64_t id;     /* of the command, given by the desk */
    unsigned desk;   /* the worker that has the command */
    unsigned worker, door;
    uint64_t association;
    uint64_t deadline_ms;
    const struct msg *msg; /* ASK, SEND: one reference */
    /* ANSWER */
    bool is_by_device;
    uint8_t code;
    uint16_t format;  /* UINT16_MAX: none */
    uint32_t segment; /* of the device */
    const char *why;  /* static; NULL when the device has answered */
    size_t n;
    uint8_t payload[];
};

/* command_note_new - zeroed, with room for a payload that is copied. ERR_NOMEM. */
MUST_USE enum err command_note_new(enum command_step step, struct slice payload,
                                   struct command_note **ret);
struct command_note *command_note_free(struct command_note *n);

/* ---- for doors ---- */

/* worker_device_there - the account's device has this association, and no newer one; is_there
 * false: it has ended. ERR_NOMEM: nobody knows; say it again later. */
MUST_USE enum err worker_device_there(struct worker *w, const struct principal *device,
                                      unsigned door, uint64_t association, bool is_there);
/* worker_next_command - the next SEND or RECALL for this door, which owns it then; NULL: none. */
struct command_note *worker_next_command(struct worker *w, unsigned door);
/* worker_command_done - BACK or ANSWER, with id, desk and where it was; takes n. Without memory it
 * is lost, and the desk answers when its time is over. */
void worker_command_done(struct worker *w, struct command_note *n);

/* ---- for the worker ---- */

/* The commands for the devices whose home is this worker, and what waits for its doors. */
struct desk {
    struct map spots;    /* by device: of each that has an association */
    struct map posts;    /* by device: of each for which something waits */
    struct map askers;   /* by principal */
    struct map commands; /* by id */
    struct wheel wheel;
    struct list for_doors;
    uint64_t bytes; /* of commands that wait */
    uint64_t next_id;
};

/* publisher_grants - (publisher.c) what it may do now; NULL: it is gone, or that cannot be told. */
const struct grants *publisher_grants(struct worker *w, uint64_t publisher);

void desk_init(struct desk *d, const struct siphash_key *key, uint64_t now_ms);
/* desk_done - without an answer to anybody. */
void desk_done(struct worker *w);
/* desk_check - OK: topic is no command's, or one that may be asked. ERR_DENIED, explained. */
MUST_USE enum err desk_check(const struct account *a, struct slice topic, struct slice props,
                             bool retain, struct decision *ret);
/* desk_offer - m was published; when it is a command, it is on its way to its desk afterwards. */
void desk_offer(struct worker *w, const struct msg *m);
/* desk_take - a note that came by ring, or from this worker; takes it. */
void desk_take(struct worker *w, struct command_note *n);
void desk_turn(struct worker *w);
uint64_t desk_deadline(const struct worker *w);

#endif

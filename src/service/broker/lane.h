/*
 * lane - renewal of certificates over MQTT, and the renewal lane (docs/decisions/0071, 0072).
 *
 * A client that came in by a certificate subscribes to $sallyport/renew/answer and publishes a CSR
 * (PEM or DER) to $sallyport/renew; the new certificate chain comes as the answer, in PEM, or one
 * line that says why not. Neither topic is part of the topic space: nobody else hears what is said
 * there, and no grant is needed.
 *
 * Who comes with a certificate whose time is over, but not longer than renewal_grace, is in the
 * lane: connected, for LANE_SECONDS at most, to do this and nothing else. The session of the device
 * sleeps on meanwhile. So many are let in as can be renewed; the others are told when to come back.
 */
#ifndef SERVICE_BROKER_LANE_H
#define SERVICE_BROKER_LANE_H

#include "core/quota.h"
#include "engine/mqtt_server.h"
#include "service/broker/renewal.h"

struct conn;
struct worker;
struct wr;

#define LANE_ASK    "$sallyport/renew"
#define LANE_ANSWER "$sallyport/renew/answer"

enum {
    LANE_SECONDS = 60, /* for which a connection may be in the lane */
    LANE_ASKS_MAX = 6, /* on one connection there */
    LANE_WAIT_MAX_S = 900,
    LANE_BURST_S = 2 /* so many seconds' worth of renewals may begin at once */
};

/* Of one connection that has shown a certificate. */
struct lane {
    int64_t ends_wall_ms; /* of the certificate it has shown; 0: none */
    bool is_late;         /* it is in the lane */
    bool hears;           /* it is subscribed to the answers */
    bool is_asked;        /* an answer is on its way */
    uint8_t n_asks;
    uint32_t ask; /* whose PUBACK waits for the answer; 0: none does */
    struct buf correlation;
    const struct msg *answer; /* to be sent; one reference */
};

/* Of one worker. */
struct lane_pace {
    struct bucket starts;  /* who is let in, or asked while not in the lane */
    uint64_t booked_to_ms; /* those who were told to come back have places up to here */
};

/* lane_note_end - the certificate that c has shown ends then; 0: it has shown none. ERR_NOMEM. */
MUST_USE enum err lane_note_end(struct conn *c, int64_t ends_wall_ms);
/* lane_login - c has shown a certificate whose time is over. It is opened, or refused. */
void lane_login(struct worker *w, struct conn *c);
/* lane_begins - c is open: from here its certificate's end, or that of its time in the lane, is its
 * own. lane_is_over - the moment has come: says so and closes, unless the clock went back. */
void lane_begins(struct worker *w, struct conn *c);
void lane_is_over(struct worker *w, struct conn *c);
/* lane_takes - is this PUBLISH one of ours? Then it is dealt with. */
bool lane_takes(struct worker *w, struct conn *c, const struct mqtt_event *ev);
/* lane_is_answer - is that the filter of the answers? lane_hear, lane_unhear - SUBSCRIBE and
 * UNSUBSCRIBE of it: the code for the client. */
bool lane_is_answer(struct slice filter);
uint8_t lane_hear(struct worker *w, struct conn *c);
uint8_t lane_unhear(struct conn *c);
/* lane_output - the answer, if one waits and fits. */
void lane_output(struct worker *w, struct conn *c, struct wr *wr);
/* lane_answered - takes r. */
void lane_answered(struct worker *w, struct renewal *r);
void lane_done(struct lane *l);
void lane_pace_init(struct worker *w);
/* lane_pace_follow - the limits changed. */
void lane_pace_follow(struct worker *w);

#endif

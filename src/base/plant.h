/*
 * plant - bugs that the simulator plants on purpose, to see that its checks find them.
 *
 * PLANTED(X) is the constant false everywhere but in the library that tests/sim links, which is
 * built with -DPLANT_BUGS and decides by plant_is. So a planted line costs nothing in the product,
 * and the compiler checks it all the same.
 */
#ifndef BASE_PLANT_H
#define BASE_PLANT_H

#include <stdbool.h>

enum plant {
    PLANT_NONE,
    PLANT_NO_FDATASYNC,      /* commit without a sync */
    PLANT_ACK_BEFORE_COMMIT, /* PUBACK and PUBREC leave at once */
    PLANT_EARLY_PUBCOMP,     /* PUBCOMP before the end of its id is on disk */
    PLANT_REUSED_OUTBOUND_ID,
    PLANT_NO_SUBACK_BARRIER,
    PLANT_LOST_DROP_RECORD,
    PLANT_REPLAYED_NONCE, /* an opening takes the salt of the one before */
    PLANT_RETAINED_NUMBER_IGNORED,
    PLANT_ALIAS_UNSAID,     /* a number is taken for given although its packet did not fit */
    PLANT_ALIAS_STUCK,      /* a client cannot give a number away again */
    PLANT_ALIAS_UNKNOWN,    /* one that stands for nothing is ignored, not refused */
    PLANT_WILL_EARLY,       /* its delay is not waited for */
    PLANT_WILL_KEPT,        /* who comes back in time does not cancel it */
    PLANT_WILL_AGAIN,       /* that it was published is not on record */
    PLANT_WILL_UNJUDGED,    /* nobody asks again when it fires */
    PLANT_GROUP_TWICE,      /* who was not chosen takes the message, too */
    PLANT_GROUP_LOST,       /* what a lost member held goes to nobody */
    PLANT_GROUP_QOS2_AGAIN, /* what left with QoS 2 goes to another member */
    PLANT_GROUP_RETAINED,   /* a new member gets retained messages */
    PLANT_GROUP_UNRECORDED, /* what is passed on is in memory only */
    PLANT_GROUP_UNOWED,     /* who passes a message on answers for it, not who gets it */
    PLANT_SPILL_OVERTAKEN,  /* what waits for its body is passed over, not waited for */
    PLANT_SPILL_EARLY,      /* what is not committed leaves memory, too */
    PLANT_HELD_FOR_ANY,     /* a record goes unwritten for an end that is not on disk itself */
    PLANT_MATCH_STALE,      /* a new filter is not seen for a topic that is known already */
    PLANT_UNHELD,           /* nobody waits for a disk that is only slow */
    PLANT_END
};

#ifdef PLANT_BUGS
bool plant_is(enum plant bug); /* the simulator's */
#define PLANTED(bug) plant_is(bug)
#else
#define PLANTED(bug) false
#endif

#endif

/* detect_private - what the detectors share: rows of who is watched, and how something is found. */
#ifndef SERVICE_DETECT_DETECT_PRIVATE_H
#define SERVICE_DETECT_DETECT_PRIVATE_H

#include "base/list.h"
#include "base/map.h"
#include "net/peer.h"
#include "service/detect/baseline.h"
#include "service/detect/detect.h"
#include "service/detect/window.h"

enum {
    NETWORKS_MAX = 4,
    HABIT_TOPICS_MAX = 8, /* who uses more is not watched for new ones */
    SHAPES_MAX = 64,      /* the same of a role */
    CANDIDATES_MAX = 4,
    RELEASES_MAX = 4, /* of firmware that a role is given at a time */
    MOVES_MAX = 256,
    CANDIDATE_ADOPTED = 3, /* of one role: then it is usual */
    ROLES = DETECT_ROLES + 1
};
enum { PLACES_MAX = 4, SOURCE_WAYS = 4, SOURCE_SETS = DETECT_SOURCES / SOURCE_WAYS };

/* From where it spoke, since when. */
struct turn {
    uint32_t place; /* hash of an address; 0: none */
    uint32_t at_s;
};

/* Wills of all. */
struct fleet {
    struct detect_window wills, devices; /* devices: those whose first it is */
    struct net_prefix network;           /* that most of them may come from */
    int32_t votes;
    uint32_t told_s, storm_told_s;
};

/* What is usual of one principal. */
struct habits {
    bool is_known;    /* it has a role, and the rest is in force */
    uint8_t role;     /* below ROLES */
    uint32_t first_s; /* since when */
    uint64_t last_ms; /* its newest message; 0: none */
    struct baseline period, size;
    uint32_t longest_s;               /* silence that ended */
    uint32_t silent_s;                /* since when it is overdue; 0: it is not */
    uint32_t fast_s, odd_s;           /* since when it is too fast, of another size; 0: it is not */
    uint16_t n_fast, n_odd;           /* samples that say so */
    uint32_t held_s;                  /* since when it holds too much; 0: it does not */
    uint32_t network[NETWORKS_MAX];   /* hashes, the newest first; 0: none */
    uint32_t topic[HABIT_TOPICS_MAX]; /* hashes */
    uint8_t n_topics;
    struct detect_window retained;
};

/* What is usual of those who have one role. */
struct role {
    uint64_t hash;
    uint32_t first_s;   /* 0: a free row */
    uint32_t n_members; /* that have rows */
    uint32_t n_silent, n_fast, n_odd;
    struct baseline period, size;
    uint32_t shape[SHAPES_MAX]; /* of topics */
    uint8_t n_shapes;
    struct {
        uint32_t shape;
        uint8_t n;
    } candidate[CANDIDATES_MAX]; /* shapes that some of them use, and the role does not know yet */
    uint8_t next_candidate;
    uint32_t n_moves; /* changes of network that nobody shared */
    struct {
        uint32_t self; /* hash of what some of them came as lately */
        uint8_t n;     /* how many; 0: a free row */
    } release[RELEASES_MAX];
    uint8_t next_release;
};

/* What its clock said. */
struct clocked {
    uint32_t newest_s;      /* reading that was not ahead, since 1970; 0: none yet */
    uint32_t ahead_s;       /* since when it is ahead; 0: it is not */
    int32_t offset_s;       /* of a clock that went back or is behind, when that began, */
    uint32_t since_s, at_s; /* then, and the last time that it said the same; 0: it is not */
    uint16_t n;             /* how often it did */
};

struct identity {
    uint64_t id;
    struct list_node node;      /* in detect.order, the longest quiet first */
    uint32_t client;            /* hash of the client id it came with last */
    uint32_t place[PLACES_MAX]; /* hashes of addresses, the newest first; 0: none */
    uint32_t wide;              /* hash of the wide filter it asked for last */
    bool was_taken_over;        /* since it connected last */
    struct detect_window returns, takeovers, failures, wildcards, commands, wills, replays;
    struct detect_window certificates, revoked, impersonations;
    struct detect_sketch sources, targets;
    struct turn turn[2];            /* the newest first */
    struct detect_self self[2];     /* what it came as, the newest first */
    uint32_t self_s, self_before_s; /* since when; 0: not known */
    struct detect_window turns, returns_of_self;
    struct habits habits;
    struct clocked clock;
    uint32_t told_s[DETECTOR_COUNT]; /* when it was told last, plus 1; 0: never */
};

/* A change of network. */
struct move {
    uint64_t id; /* 0: a free row */
    uint32_t from, to, at_s;
    bool is_due; /* to be judged when others would have moved, too */
    char peer[56];
};

/* A network that has given no name, or names that do not exist. */
struct source {
    struct net_prefix prefix;
    bool is_used;
    uint32_t seen_s;
    struct detect_sketch names; /* that failed */
    struct detect_window probes, replays, forged, certificates;
    uint32_t told_s[DETECTOR_COUNT];
};

struct detect {
    struct detect_thresholds t;
    struct siphash_key key;
    struct map identities;
    struct list order;
    struct source source[DETECT_SOURCES];
    struct role role[ROLES];     /* the last: those that no row is free for */
    struct move move[MOVES_MAX]; /* the newest */
    size_t next_move;
    struct source everywhere; /* what has no address */
    struct fleet fleet;
    struct detect_sketch spray_names, spray_sources;
    uint32_t spray_told_s;
    struct detect_finding finding[DETECT_FINDINGS_MAX];
    size_t first, n; /* a ring */
    uint64_t n_dropped, n_forgotten;
};

/* What a detector is asked about. */
struct sight {
    const struct event *e;
    const struct detect_who *who;
    uint32_t now_s;
    uint32_t n;                /* how often it happened, at least 1 */
    struct identity *identity; /* NULL: nobody who exists, or no memory */
    struct source *source;     /* never NULL */
};

/* identity_of - its row, now the last in the order; NULL without memory. */
struct identity *identity_of(struct detect *d, uint64_t id);
void identities_done(struct detect *d);
/* source_of - the row of the network of this peer; made where there was none. */
struct source *source_of(struct detect *d, const char *peer, uint32_t now_s);

/* detect_hash - of a text, keyed. */
uint64_t detect_hash(const struct detect *d, struct slice text);
/* detect_tell - a finding, unless it was told within again_s; *told_s is where that is kept. */
void detect_tell(struct detect *d, enum detector which, uint32_t *told_s, const struct sight *s,
                 uint32_t since_s, const char *format, ...) __attribute__((format(printf, 6, 7)));

/* The detectors, by what they look at. */
void places_see(struct detect *d, const struct sight *s);
void logins_see(struct detect *d, const struct sight *s);
void asks_see(struct detect *d, const struct sight *s);
void bursts_see(struct detect *d, const struct sight *s);
/* Those that know what is usual. */
void networks_see(struct detect *d, const struct sight *s);
void traffic_see(struct detect *d, struct identity *i, const struct detect_sample *s,
                 uint32_t now_s);
void topics_see(struct detect *d, struct identity *i, const struct detect_sample *s,
                uint32_t now_s);
void hello_see(struct detect *d, struct identity *i, const struct detect_sample *s, uint32_t now_s);
void heard_see(struct detect *d, struct identity *i, const struct detect_sample *s, uint32_t now_s);
void clocks_see(struct detect *d, struct identity *i, const struct detect_sample *s,
                uint32_t now_s);
/* is_first: of this device in a short window. */
void outages_see(struct detect *d, const struct sight *s, bool is_first);
void silence_look(struct detect *d, uint64_t now_ms);
void moves_look(struct detect *d, uint32_t now_s);

/* role_join - its habits begin, or its role has changed. role_leave - its row goes. */
void role_join(struct detect *d, struct identity *i, struct slice role, uint32_t now_s);
void role_leave(struct detect *d, struct identity *i);
struct role *role_of(struct detect *d, const struct identity *i);
/* role_shares - so many of the role do it that it is nobody's in particular. */
bool role_shares(const struct detect *d, const struct role *r, uint32_t n);
/* is_learned - for long enough what it does was watched. */
bool is_learned(const struct detect *d, const struct habits *h, uint32_t now_s);
/* role_hours - for how many device-hours the role was watched. */
uint64_t role_hours(const struct role *r, uint32_t now_s);
/* habit_tell - a finding about somebody that no event is about. */
void habit_tell(struct detect *d, enum detector which, struct identity *i, const char *peer,
                const char *target, uint32_t since_s, uint32_t now_s, const char *format, ...)
    __attribute__((format(printf, 8, 9)));
/* topic_gives_commands - one of its levels is a word of command. */
bool topic_gives_commands(struct slice topic);

#endif

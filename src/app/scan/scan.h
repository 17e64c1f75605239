/*
 * scan - what a server shows to strangers: what was seen, and what follows from it.
 *
 * `look` files ask and write down what came (struct scan_seen); scan_judge.c makes findings out of
 * that, without asking anybody; scan_report.c tells them. No text of the server's is in any of it
 * but printable ASCII.
 */
#ifndef APP_SCAN_SCAN_H
#define APP_SCAN_SCAN_H

#include "base/clock.h"
#include "base/random.h"
#include "net/tls_look.h"

enum scan_kind { SCAN_MQTT, SCAN_MQTTS, SCAN_WS, SCAN_WSS, SCAN_COAP, SCAN_COAPS };

struct scan_door {
    enum scan_kind kind;
    uint16_t port;
};

/* scan_kind_name - "mqtts"; static. */
const char *scan_kind_name(enum scan_kind kind);
bool scan_kind_is_mqtt(enum scan_kind kind);
/* scan_kind_has_tls - by TLS over TCP. */
bool scan_kind_has_tls(enum scan_kind kind);

enum { SCAN_DOORS_MAX = 16, SCAN_WORD_BYTES = 64, SCAN_PATH_BYTES = 96 };

enum scan_state {
    SCAN_UNLOOKED, /* the time was over before */
    SCAN_CLOSED,   /* refused, or nobody there */
    SCAN_SILENT,   /* no answer */
    SCAN_FOREIGN,  /* something answers, in another protocol */
    SCAN_OPEN
};

/* The answer to one question. Unknown is never a finding, and never "clean" without being said. */
enum scan_found { SCAN_UNKNOWN, SCAN_NO, SCAN_YES };

/* ---- TLS ---- */

enum scan_terms {
    SCAN_TERMS_TLS10,
    SCAN_TERMS_TLS11,
    SCAN_TERMS_TLS12,
    SCAN_TERMS_TLS13,
    SCAN_TERMS_PLAIN,    /* suites that do not encrypt */
    SCAN_TERMS_NOBODY,   /* suites without a certificate */
    SCAN_TERMS_BROKEN,   /* RC4, DES, 3DES, export */
    SCAN_TERMS_KEPT_KEY, /* RSA key exchange: the server's key opens what was recorded */
    SCAN_TERMS_CBC,      /* no AEAD */
    SCAN_TERMS_COUNT
};

/* One that the server takes. */
struct scan_suite {
    uint16_t version, number;
    const char *name; /* by IANA, static; NULL: not known here */
};

enum { SCAN_SUITES_MAX = 48 };

struct scan_tls_seen {
    enum scan_found terms[SCAN_TERMS_COUNT];
    uint16_t suite[SCAN_TERMS_COUNT];          /* that the server took */
    struct scan_suite suites[SCAN_SUITES_MAX]; /* of 1.3 and 1.2, in the order the server prefers */
    size_t n_suites;
    bool has_certificate;
    struct tls_look certificate;
};

/* ---- MQTT ---- */

/* How a CONNECT ended. */
enum scan_entry {
    SCAN_ENTRY_UNASKED,
    SCAN_ENTRY_IN,
    SCAN_ENTRY_REFUSED, /* CONNACK with a code */
    SCAN_ENTRY_ENDED,   /* the connection, without CONNACK; also by TLS */
    SCAN_ENTRY_SILENT,
    SCAN_ENTRY_FOREIGN /* what came is not MQTT */
};

enum scan_who { SCAN_WHO_NOBODY, SCAN_WHO_ANONYMOUS, SCAN_WHO_ANY, SCAN_WHO_DEFAULT };

struct scan_mqtt_seen {
    uint8_t version; /* 5, 4; 0: no CONNACK came */
    enum scan_entry anonymous;
    uint8_t anonymous_code;
    enum scan_who who;          /* how the rest was looked at */
    char user[SCAN_WORD_BYTES]; /* of SCAN_WHO_DEFAULT, out of our own list */
    char password[SCAN_WORD_BYTES];
    unsigned n_passwords;             /* pairs that were tried */
    enum scan_found keeps_huge;       /* before CONNECT */
    enum scan_found unlimited_packet; /* MQTT 5 only */
    uint32_t packet_max;              /* 0: not said */
    enum scan_found unlimited_keep_alive;
    uint32_t keep_alive_s; /* that CONNACK sets where none was asked for; 0: none */
    enum scan_found reads_all, reads_sys;
    unsigned n_sys; /* messages of $SYS that came */
    char sys_version[SCAN_WORD_BYTES];
    enum scan_found takes_bad_utf8;
    enum scan_found takes_over; /* a second connection with the id of the first ended it */
    enum scan_found keeps_retained;
    bool has_left_retained; /* and it could not be taken away again */
    char retained_topic[SCAN_WORD_BYTES];
    enum scan_found takes_origin; /* WebSocket */
};

/* ---- CoAP ---- */

/* One request that was sent and what it brought about. */
struct scan_exchange {
    char path[SCAN_PATH_BYTES];
    size_t sent, received;
    unsigned answers;
};

struct scan_coap_seen {
    uint8_t code; /* of the discovery; 0: no response came */
    unsigned n_links;
    enum scan_found serves; /* a resource answers what is not protected with success */
    char served[SCAN_PATH_BYTES];
    enum scan_found asks_echo;                /* 4.01 with Echo, before anything large */
    struct scan_exchange discovery, resource; /* resource: the largest factor; sent 0: none */
    enum scan_found observes;                 /* a registration without proof */
    struct scan_exchange observation;
};

struct scan_coaps_seen {
    enum scan_found has_cookie; /* no: the handshake goes on without */
    struct scan_exchange hello;
};

/* ---- all ---- */

struct scan_door_seen {
    struct scan_door door;
    enum scan_state state;
    struct scan_tls_seen tls;
    struct scan_mqtt_seen mqtt;
    struct scan_coap_seen coap;
    struct scan_coaps_seen coaps;
};

struct scan_seen {
    int64_t wall_ms;      /* when it was looked at */
    bool has_authorities; /* whom to believe was said */
    bool is_cut;          /* the time was over before all was asked */
    struct scan_door_seen doors[SCAN_DOORS_MAX];
    size_t n_doors;
};

enum scan_severity { SCAN_INFO, SCAN_LOW, SCAN_MEDIUM, SCAN_HIGH, SCAN_SEVERITY_COUNT };
/* scan_severity_name - "medium"; static. */
const char *scan_severity_name(enum scan_severity s);

/* What may be found: one row each. */
struct scan_rule {
    const char *id; /* "mqtt-anonymous"; never changes */
    enum scan_severity severity;
    const char *title;
    const char *fix; /* for the operator of that server */
};

enum { SCAN_EVIDENCE_BYTES = 384, SCAN_FINDINGS_MAX = 128 };

struct scan_finding {
    const struct scan_rule *rule;
    struct scan_door door;
    char evidence[SCAN_EVIDENCE_BYTES]; /* what was sent, what came; printable ASCII */
};

struct scan_findings {
    struct scan_finding all[SCAN_FINDINGS_MAX];
    size_t n;
};

/* scan_rules - all there are; *ret_n of them. Static. */
const struct scan_rule *scan_rules(size_t *ret_n);
/* scan_judge - what follows from what was seen, by door, the gravest of each first. Pure. */
void scan_judge(const struct scan_seen *seen, struct scan_findings *ret);
/* scan_is_grave - is one of them of medium severity or higher? */
bool scan_is_grave(const struct scan_findings *f);
/* scan_has_answers - did any door answer, in its own protocol? */
bool scan_has_answers(const struct scan_seen *seen);

/* scan_word - strangers' bytes as printable ASCII, others as \xNN, cut at cap with "...". */
void scan_word(struct slice s, char *dst, size_t cap);

#endif

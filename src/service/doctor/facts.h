/*
 * facts - what one installation is, in words that fit every product: listeners, accounts, grants,
 * limits, certificates, files. Readers write it, rules judge it, neither knows the other.
 *
 * All text comes from files and peers that may mean harm: it is kept as printable ASCII, everything
 * else escaped (facts_text), and every list has a named end, beyond which facts.n_dropped counts.
 */
#ifndef SERVICE_DOCTOR_FACTS_H
#define SERVICE_DOCTOR_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/scope.h"
#include "base/slice.h"
#include "security/crypto/digest.h"

enum {
    FACTS_TEXT = 128,
    FACTS_FILES_MAX = 64,
    FACTS_LISTENERS_MAX = 64,
    FACTS_GRANTS_MAX = 4096,
    FACTS_ACCOUNTS_MAX = 20000,
    FACTS_BRIDGES_MAX = 64,
    FACTS_CERTIFICATES_MAX = 64,
    FACTS_PERMITS_MAX = 64,
    FACTS_PAIRS_MAX = 256,
    FACTS_PATH = 512,
    FACTS_ALERTS_MAX = 64,
    FACTS_UNREAD_MAX = 256
};

enum facts_product { FACTS_SALLYPORT, FACTS_MOSQUITTO, FACTS_EMQX, FACTS_NANOMQ, FACTS_PRODUCTS };

/* Where something stands: an index of facts.files, and a line from 1; 0: the file as a whole. */
struct facts_place {
    uint32_t file, line;
};

/* Not known: nobody judges it. A limit of 0 is none. Line 0: not written, the product's default. */
struct facts_value {
    bool is_known;
    int64_t n;
    struct facts_place at;
};

enum facts_number {
    FACTS_PACKET_BYTES,
    FACTS_QUEUE_MESSAGES,
    FACTS_QUEUE_BYTES,
    FACTS_INFLIGHT,
    FACTS_KEEPALIVE_S,
    FACTS_SESSION_EXPIRY_S,
    FACTS_RETAINED,          /* 0: neither a bound nor an end for retained messages */
    FACTS_PERSISTENCE,       /* is there any? */
    FACTS_SAVE_INTERVAL_S,   /* between two writings of what was acknowledged */
    FACTS_SAVE_MESSAGES,     /* so many are acknowledged before they are written together */
    FACTS_LOG,               /* is there any? */
    FACTS_CONNECTION_LOG,    /* are connections in it? */
    FACTS_DEFAULT_ALLOW,     /* what no rule names is allowed */
    FACTS_DENY_IGNORED,      /* who is denied goes on, and may try again */
    FACTS_AS_ROOT,           /* runs as root */
    FACTS_CLIENT_ID_BOUND,   /* a client id belongs to one identity */
    FACTS_MIXED_SETTINGS,    /* settings of listeners that reach other listeners than they seem */
    FACTS_DISK_FREE_PERCENT, /* of the disk with the store */
    FACTS_AUDIT_LOST,        /* records that the trail lost */
    FACTS_STORE_DAMAGED,     /* records of the store that do not read */
    FACTS_STORE_FAILS,       /* its disk takes nothing any more */
    FACTS_KEY_INSIDE,        /* the master key lies with what it seals */
    FACTS_PSK_DEVICES,       /* devices with a pre-shared key */
    FACTS_AGED,              /* secrets past their age */
    FACTS_SECRET_AGE_S,  /* the age at which somebody is told, the greatest of all kinds; 0: none */
    FACTS_OVER,          /* credentials of active devices that have ended */
    FACTS_SILENT,        /* devices away for longer than they have to renew */
    FACTS_CLIFF,         /* of all that ends, how many on one day, when that is a cliff */
    FACTS_CRL_LEFT_S,    /* until the revocation list is stale */
    FACTS_DEVICE_LIFE_S, /* of certificates for devices */
    FACTS_BACKUP_AGE_S,  /* of the newest backup that is on record */
    FACTS_PLACE_AGE_S,   /* so old the directory is at least */
    FACTS_CLOCK_ALONE,   /* nothing keeps the machine's clock right */
    FACTS_SYSTEM_LEFT_MS,  /* until nobody mends facts.system any more */
    FACTS_LIBRARY_LEFT_MS, /* … facts.library */
    FACTS_NUMBERS
};

enum facts_door { FACTS_MQTT, FACTS_WEBSOCKET, FACTS_COAP, FACTS_DASHBOARD, FACTS_API };

struct facts_listener {
    char name[FACTS_TEXT], bind[FACTS_TEXT];
    struct facts_place at;
    enum facts_door door;
    bool is_tls;                                /* or DTLS, or OSCORE */
    bool is_loopback;                           /* nobody from elsewhere reaches it */
    struct facts_value anonymous, acl, tls_min; /* tls_min: 10, 11, 12, 13 */
    struct facts_value client_certificate;      /* asked for, and needed */
    struct facts_value revocation;              /* a list is looked at */
    struct facts_value proxy;                   /* believes what a PROXY header says */
    struct facts_value origin;                  /* WebSocket: pages are asked where they are from */
    struct facts_value connections, empty_client_id, multicast, mqtt_3_1;
    struct facts_value pages; /* files of a directory are served to browsers */
    char ciphers[FACTS_TEXT]; /* as written; empty: the product's own */
    struct facts_place ciphers_at;
};

struct facts_grant {
    char who[FACTS_TEXT], filter[FACTS_TEXT];
    struct facts_place at;
    bool can_publish, can_subscribe;
    bool is_service;   /* of a program that is meant to see much */
    bool is_everybody; /* not of one identity */
    bool is_client_id; /* holds what the client says of itself */
    bool is_each;      /* the same line for each client, with its name in it or without */
};

enum facts_secret {
    FACTS_SECRET_CLEAR,  /* a password as it is */
    FACTS_SECRET_FAST,   /* a hash that is fast to guess at */
    FACTS_SECRET_HASHED, /* a slow one */
    FACTS_SECRET_PSK
};

struct facts_account {
    char name[FACTS_TEXT];
    struct facts_place at;
    enum facts_secret kind;
    bool is_default;    /* known to everybody who has read the manual */
    uint32_t bits;      /* of a key; 0: unknown */
    uint64_t likeness;  /* equal ones hold one secret; 0: unknown */
    bool is_management; /* of a dashboard, an API or a cluster */
};

struct facts_bridge {
    char name[FACTS_TEXT], address[FACTS_TEXT];
    struct facts_place at;
    bool is_tls, is_verified, is_loopback, is_wide; /* wide: everything, both ways */
};

struct facts_certificate {
    char name[FACTS_TEXT];
    struct facts_place at;
    bool is_authority;
    bool is_revoked;  /* a list of its authority names it */
    unsigned bits;    /* x509_strength_bits; 0: unknown */
    struct digest id; /* x509_info.id */
    int64_t ends_wall_ms;
};

/* A file or directory of the installation. */
struct facts_file {
    char path[FACTS_PATH];
    bool is_found, is_secret, is_directory;
    bool is_key;   /* of a certificate: as old as that, not as its file */
    uint32_t mode; /* permission bits */
    int64_t changed_wall_ms;
};

/* What was let through for a time (an exception). */
struct facts_permit {
    char id[FACTS_TEXT], listener[FACTS_TEXT], ends[FACTS_TEXT];
    bool is_plaintext, is_anonymous, is_loopback;
};

/* Two who have one secret. */
struct facts_pair {
    char one[FACTS_TEXT], other[FACTS_TEXT], what[FACTS_TEXT];
};

struct facts_alert {
    char category[FACTS_TEXT], target[FACTS_TEXT], text[FACTS_TEXT];
};

struct facts_unread {
    struct facts_place at;
    char text[FACTS_TEXT], reason[FACTS_TEXT];
};

struct facts {
    enum facts_product product;
    int64_t now_wall_ms;
    struct facts_value numbers[FACTS_NUMBERS];
    struct facts_listener *listeners;
    struct facts_grant *grants;
    struct facts_account *accounts;
    struct facts_bridge *bridges;
    struct facts_certificate *certificates;
    struct facts_file *files;
    struct facts_permit *permits;
    struct facts_alert *alerts;
    struct facts_pair *pairs;
    struct facts_unread *unread;
    size_t n_listeners, n_grants, n_accounts, n_bridges, n_certificates, n_files, n_permits;
    size_t n_alerts, n_pairs, n_unread;
    size_t n_dropped; /* did not fit into a list */
    char
        complaint[512]; /* why the product would refuse its own configuration; empty: it takes it */
    char system[FACTS_TEXT], library[FACTS_TEXT]; /* of the machine, with their versions */
    bool is_daemon_asked;                         /* FACTS_SALLYPORT: who is registered was seen */
};

/* facts_new - empty. ERR_NOMEM. facts_free - NULL is fine; returns NULL. */
MUST_USE enum err facts_new(enum facts_product product, int64_t now_wall_ms, struct facts **ret);
struct facts *facts_free(struct facts *f);
AUTOFREE(facts, facts_free)

/* facts_product_name - "mosquitto"; facts_product_find - by it. */
const char *facts_product_name(enum facts_product p);
bool facts_product_find(struct slice name, enum facts_product *ret);

/* facts_add_… - an empty one at the end; *ret is borrowed until the next of its kind is added. NULL
 * with OK: the list is full, and the loss is counted. ERR_NOMEM. Amortised O(1). */
MUST_USE enum err facts_add_listener(struct facts *f, struct facts_listener **ret);
MUST_USE enum err facts_add_grant(struct facts *f, struct facts_grant **ret);
MUST_USE enum err facts_add_account(struct facts *f, struct facts_account **ret);
MUST_USE enum err facts_add_bridge(struct facts *f, struct facts_bridge **ret);
MUST_USE enum err facts_add_certificate(struct facts *f, struct facts_certificate **ret);
MUST_USE enum err facts_add_permit(struct facts *f, struct facts_permit **ret);
MUST_USE enum err facts_add_alert(struct facts *f, struct facts_alert **ret);
MUST_USE enum err facts_add_pair(struct facts *f, struct facts_pair **ret);

/* facts_add_file - a file by its path; *ret_index says its place. ERR_LIMIT, ERR_NOMEM. */
MUST_USE enum err facts_add_file(struct facts *f, struct slice path, uint32_t *ret_index);

/* facts_unread - a line that nobody understood, and why. */
MUST_USE enum err facts_unread(struct facts *f, struct facts_place at, struct slice text,
                               const char *reason);

/* facts_seen - how a file lies there. */
void facts_seen(struct facts_file *file, uint32_t mode, int64_t changed_wall_ms);
/* facts_certificates - all of a PEM text under one name. What is none is in facts.unread.
 * ERR_NOMEM. */
MUST_USE enum err facts_certificates(struct facts *f, struct slice pem, struct facts_place at,
                                     const char *name, bool is_authority);

/* facts_text - s into dst as printable ASCII; other bytes as \xNN, cut to fit. */
void facts_text(char dst[FACTS_TEXT], struct slice s);
/* facts_shown - the same into cap (16 or more) bytes. */
void facts_shown(char *dst, size_t cap, struct slice s);
struct facts_value facts_said(int64_t n, struct facts_place at);
/* facts_preset - not written: the product's default. */
struct facts_value facts_preset(int64_t n, uint32_t file);
/* facts_is_loopback - does an address, with or without a port, reach this machine only? */
bool facts_is_loopback(struct slice bind);
/* facts_likeness - of a secret, to compare it by. Never 0. ERR_CRYPTO. */
MUST_USE enum err facts_likeness(struct slice secret, uint64_t *ret);

#endif

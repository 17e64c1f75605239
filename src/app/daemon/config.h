/*
 * config - sallyport.yaml as a value: strict, with the place of every mistake.
 *
 * The numbers are declared in service/directory/settings.h; this file knows the rest: listeners,
 * workers, the broker's user, the host names of bundles.
 */
#ifndef APP_DAEMON_CONFIG_H
#define APP_DAEMON_CONFIG_H

#include "app/daemon/config_enrol.h"
#include "app/daemon/config_export.h"
#include "app/daemon/config_respond.h"
#include "base/buf.h"
#include "base/disk.h"
#include "net/multicast.h"
#include "net/network.h"
#include "security/crypto/x509.h"
#include "security/token/trust.h"
#include "service/directory/settings.h"
#include "service/directory/yaml_reader.h"
#include "service/gateway/proxy_rules.h"

enum {
    CONFIG_LISTENERS_MAX = 16,
    CONFIG_HOSTS_MAX = 32,
    CONFIG_ORIGINS_MAX = 8,
    CONFIG_ORIGIN_BYTES = 128,
    CONFIG_PATH_BYTES = 64,
    CONFIG_REFERENCE_BYTES = 256,
    CONFIG_NAME_BYTES = 34,
    CONFIG_BIND_BYTES = 64,
    CONFIG_HOST_BYTES = 256,
    CONFIG_WORKERS_MAX = 64
};

enum config_door {
    CONFIG_DOOR_MQTT,
    CONFIG_DOOR_COAP,
    CONFIG_DOOR_HTTPS,
    CONFIG_DOOR_ENROL,
    CONFIG_DOOR_METRICS
};

enum config_auth {
    CONFIG_AUTH_X509 = 1,
    CONFIG_AUTH_PASSWORD = 2,
    CONFIG_AUTH_TOKEN = 4,
    CONFIG_AUTH_PSK = 8,
    CONFIG_AUTH_OSCORE = 16 /* alone: such a listener speaks no DTLS */
};

enum config_moved { CONFIG_STAYS, CONFIG_MOVED_TEMPORARILY, CONFIG_MOVED_PERMANENTLY };

enum config_tls_min { CONFIG_TLS_1_3, CONFIG_TLS_1_2 };

struct config_listener {
    char name[CONFIG_NAME_BYTES];
    enum config_door door;
    char bind[CONFIG_BIND_BYTES]; /* "[::]:8883" */
    unsigned auth;                /* set of enum config_auth */
    char segment[CONFIG_NAME_BYTES];
    enum config_tls_min tls_min;
    bool plain;                   /* no TLS: stays closed until an exception names it */
    bool openssl_records;         /* DTLS: none of them are run by ourselves */
    bool mqtt_3_1;                /* takes clients of MQTT 3.1, too */
    enum config_moved moved;      /* who logs in is sent to server_reference */
    bool tcp;                     /* CoAP over TLS instead of DTLS */
    bool websocket;               /* over TCP, in WebSocket frames */
    char path[CONFIG_PATH_BYTES]; /* WebSocket: where clients connect; "/mqtt" */
    char origins[CONFIG_ORIGINS_MAX][CONFIG_ORIGIN_BYTES]; /* WebSocket: pages that may connect */
    size_t n_origins;
    struct net_networks from;       /* who may connect; none: everybody */
    struct net_multicast multicast; /* groups that are answered; none: none */
};

/* One of those whose tokens are taken. */
struct config_issuer {
    char keys[CONFIG_NAME_BYTES]; /* a JWK set, in DIR */
    char issuer[TRUST_ISSUER_MAX + 1], audience[TRUST_AUDIENCE_MAX + 1];
    uint32_t skew_s;
};

/* tokens: one issuer, or a list of them. */
struct config_tokens {
    struct config_issuer issuers[TRUST_ISSUERS_MAX];
    size_t n; /* 0: no tokens are taken */
};

struct config {
    struct config_tokens tokens;
    struct config_listener listeners[CONFIG_LISTENERS_MAX];
    size_t n_listeners;
    char hosts[CONFIG_HOSTS_MAX][CONFIG_HOST_BYTES]; /* what bundles may name; first is preferred */
    size_t n_hosts;
    char server_reference[CONFIG_REFERENCE_BYTES]; /* "other.example:8883"; empty: none */
    unsigned workers;                   /* 1..CONFIG_WORKERS_MAX; the default is never below 2 */
    char master_key[CONFIG_HOST_BYTES]; /* as key_source.h reads it; empty: DIR.key */
    char user[CONFIG_NAME_BYTES];       /* whom the broker runs as when started as root */
    struct config_enrol enrol;
    struct config_export sinks;     /* of `export` */
    struct respond_rules responses; /* to misuse */
    struct proxy_rules proxy;       /* none: CoAP clients reach nothing through us */
    char pki_url[X509_URL_MAX + 1]; /* where peers hear of revocation; empty: nowhere */
    struct global_settings settings;
    struct role_limits role_limits; /* what a role of policy.yaml starts with */
};

/* config_machine - what defaults depend on; the caller asks the machine, so parsing is pure. */
struct config_machine {
    uint64_t ram_bytes; /* of RAM or the control group, the smaller */
    unsigned cores;
};
/* config_machine_ask - remembers its first answer, because inside the sandbox nobody can ask: call
 * it once before, while there is one thread. */
struct config_machine config_machine_ask(void);

/* config_parse - bytes of the file named `file`. ERR_CONFIG with a complaint, ERR_NOMEM. */
MUST_USE enum err config_parse(struct slice bytes, const char *file,
                               const struct config_machine *machine,
                               struct yaml_complaint *ret_complaint, struct config *ret);
/* config_load - the same from DIR/sallyport.yaml, by descriptor. Complaints name `dir`. */
MUST_USE enum err config_load(int dir_fd, const char *dir, const struct config_machine *machine,
                              struct yaml_complaint *ret_complaint, struct config *ret);

/* config_load_by - the same through a disk, which a sandboxed process has. */
MUST_USE enum err config_load_by(struct disk *disk, const char *dir,
                                 const struct config_machine *machine,
                                 struct yaml_complaint *ret_complaint, struct config *ret);

/* config_read_file - one of DIR's YAML files, appended to *ret. shown is its name in the complaint.
 * A symbolic link is not followed. ERR_CONFIG with a complaint, ERR_NOMEM. */
MUST_USE enum err config_read_file(int dir_fd, const char *name, const char *shown,
                                   struct yaml_complaint *ret_complaint, struct buf *ret);

/* config_has_proxy - may CoAP clients ask other servers at all? */
bool config_has_proxy(const struct config *c);

const struct config_listener *config_listener_find(const struct config *c, const char *name);
const char *config_door_name(enum config_door d);
/* config_is_datagram - its socket is of UDP. config_is_coap_tcp - CoAP over TCP, WebSocket too. */
bool config_is_datagram(const struct config_listener *l);
bool config_is_coap_tcp(const struct config_listener *l);
/* config_needs_exception - it is plain, and closed until an exception names it. Plain numbers are
 * on loopback only, and open. */
bool config_needs_exception(const struct config_listener *l);
/* config_is_absent - its door has a name, and this version has nothing that opens it. */
bool config_is_absent(const struct config_listener *l);

/* What `init` was told; everything not named keeps its default and is not written out. */
struct config_init {
    const char *master_key; /* absolute path, or NULL for DIR.key */
    const char *const *hosts;
    size_t n_hosts;
    const char *const *listens; /* "mqtts=127.0.0.1:18883" */
    size_t n_listens;
    const char *const *sets; /* "publish_rate=5/s", "workers=4" */
    size_t n_sets;
};

/* config_write - sallyport.yaml for a new directory, commented, appended to *ret; it reads back by
 * config_parse. ERR_CONFIG with a complaint that quotes the option, ERR_NOMEM. */
MUST_USE enum err config_write(const struct config_init *init, const struct config_machine *machine,
                               struct yaml_complaint *ret_complaint, struct buf *ret);

#endif

/* The sallyport.yaml of a new directory. It holds what was asked for and explains the rest. */
#include <stdarg.h>

#include "app/daemon/config.h"
#include "app/daemon/config_private.h"

enum { FILE_MAX = 65536 };

/* The listeners that have a name in the contract, with what `init` writes for them. */
struct known_listener {
    const char *name, *bind, *rest;
    bool by_default;
};

static const struct known_listener known[] = {
    {"mqtts", "[::]:8883", "door: mqtt, auth: [x509, password, token], segment: field", true},
    {"coaps", "[::]:5684", "door: coap, auth: [psk, x509], segment: field", true},
    {"mqtt", "[::]:1883", "door: mqtt, plain: yes, auth: [password, token], segment: field", true},
    {"wss", "[::]:8084",
     "door: mqtt, websocket: yes, auth: [x509, password, token], segment: field", false},
    {"ws", "[::]:8080",
     "door: mqtt, websocket: yes, plain: yes, auth: [password, token], segment: field", false},
    {"coaps+tcp", "[::]:5684", "door: coap, tcp: yes, auth: [x509], segment: field", false},
    {"coaps+ws", "[::]:8085", "door: coap, websocket: yes, auth: [x509], segment: field", false},
    {"coap", "[::]:5683", "door: coap, auth: [oscore], segment: field", false},
    {"https", "127.0.0.1:8443", "door: https, auth: [x509, password], segment: admin", false},
    {"enrol", "[::]:9443", "door: enrol, auth: [x509, token], segment: field", false},
    {"metrics", "127.0.0.1:9464", "door: metrics", false},
};

enum { KNOWN = sizeof known / sizeof *known };

static enum err put(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
static enum err put(struct buf *b, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof line) {
        return ERR_TOO_LARGE;
    }
    return buf_append(b, slice_of(line, (size_t)n), FILE_MAX);
}

static enum err refuse(struct yaml_complaint *ret, const char *option, const char *given,
                       const char *allowed)
{
    snprintf(ret->text, sizeof ret->text, "%s %.80s: %s", option, given, allowed);
    return ERR_CONFIG;
}

/* Text from the command line goes between double quotes, so it may not end them. */
static bool is_quotable(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == '"' || *p == '\\' || *p == 0x7f) {
            return false;
        }
    }
    return true;
}

static enum err resolve_listens(const struct config_init *init, struct yaml_complaint *ret,
                                const char *binds[KNOWN])
{
    for (size_t i = 0; i < KNOWN; i++) {
        binds[i] = known[i].by_default ? known[i].bind : NULL;
    }
    for (size_t k = 0; k < init->n_listens; k++) {
        const char *given = init->listens[k];
        const char *equal = strchr(given, '=');
        size_t at = KNOWN;
        for (size_t i = 0; equal != NULL && i < KNOWN; i++) {
            if (slice_is(slice_of(given, (size_t)(equal - given)), known[i].name)) {
                at = i;
            }
        }
        if (at == KNOWN || !is_quotable(given)) {
            return refuse(ret, "--listen", given,
                          "is not NAME=ADDR:PORT; names are mqtts, coaps, mqtt, wss, ws, "
                          "coaps+tcp, coaps+ws, coap, https, enrol, metrics");
        }
        if (!config_bind_ok(slice_text(equal + 1))) {
            return refuse(ret, "--listen", given,
                          "behind = stands an address and a port, like [::]:8883 for all, or "
                          "127.0.0.1:8883");
        }
        binds[at] = equal + 1;
    }
    return OK;
}

/* Where a setting of --set belongs: a top-level key, `limits` or `role_limits`. A name that is in
 * both (connect_burst) is the global one unless it is written out. */
static enum err set_target(struct slice key, const char **ret_section, struct slice *ret_name)
{
    static const struct {
        const char *prefix;
        const char *section;
    } sections[] = {{"limits.", "limits"}, {"role_limits.", "role_limits"}};
    for (size_t i = 0; i < 2; i++) {
        struct slice prefix = slice_text(sections[i].prefix);
        if (slice_has_prefix(key, prefix)) {
            *ret_section = sections[i].section;
            *ret_name = slice_from(key, prefix.n);
            return OK;
        }
    }
    *ret_name = key;
    if (slice_is(key, "workers") || slice_is(key, "user")) {
        *ret_section = "";
    } else if (setting_find(global_setting_table, n_global_settings, key) != NULL) {
        *ret_section = "limits";
    } else if (setting_find(role_setting_table, n_role_settings, key) != NULL) {
        *ret_section = "role_limits";
    } else {
        return ERR_NOT_FOUND;
    }
    return OK;
}

/* Of one setting alone, so that the complaint is about what was typed; what has to fit together is
 * found by the reader. */
static enum err check_value(const char *given, const char *section, struct slice name,
                            const char *value, struct yaml_complaint *ret)
{
    bool is_role = strcmp(section, "role_limits") == 0;
    const struct setting *s = section[0] == '\0' ? NULL
                              : is_role
                                  ? setting_find(role_setting_table, n_role_settings, name)
                                  : setting_find(global_setting_table, n_global_settings, name);
    const uint64_t any_ram = UINT64_C(1) << 40; /* what a share is of is the reader's to know */
    char why[SETTING_WHY_BYTES];
    uint64_t number;
    return s == NULL || setting_parse(s, slice_text(value), any_ram, why, &number) == OK
               ? OK
               : refuse(ret, "--set", given, why);
}

static enum err put_sets(const struct config_init *init, const char *section,
                         struct yaml_complaint *ret, struct buf *b)
{
    bool any = false;
    for (size_t i = 0; i < init->n_sets; i++) {
        const char *equal = strchr(init->sets[i], '=');
        const char *where = NULL;
        struct slice name = {0};
        enum err e = ERR_NOT_FOUND;
        if (equal != NULL && is_quotable(init->sets[i])) {
            e = set_target(slice_of(init->sets[i], (size_t)(equal - init->sets[i])), &where, &name);
        }
        if (e != OK) {
            return refuse(ret, "--set", init->sets[i],
                          "is not KEY=VALUE with a key of sallyport.yaml (workers, user, "
                          "limits.KEY, role_limits.KEY)");
        }
        if (strcmp(where, section) != 0) {
            continue;
        }
        TRY(check_value(init->sets[i], section, name, equal + 1, ret));
        if (!any && section[0] != '\0') {
            TRY(put(b, "%s:\n", section));
        }
        any = true;
        TRY(put(b, "%s%.*s: \"%s\"\n", section[0] != '\0' ? "  " : "", SLICE_ARG(name), equal + 1));
    }
    return OK;
}

/* Every key with its default, as comments: the file is its own manual. */
static enum err put_manual(struct buf *b, const struct setting *table, size_t n, const void *preset,
                           const char *section)
{
    TRY(put(b, "#\n# %s:\n", section));
    for (size_t i = 0; i < n; i++) {
        char value[SETTING_TEXT_BYTES];
        setting_text(&table[i], setting_get(&table[i], preset), value);
        TRY(put(b, "#   %-24s %-8s # %s\n", table[i].name,
                table[i].type == SETTING_SHARE ? "80%" : value, table[i].meaning));
    }
    return OK;
}

/* Numbers on loopback are for whoever is on this machine; elsewhere for who shows a certificate. */
static const char *plain_of(const struct known_listener *k, const char *where)
{
    struct net_peer at;
    bool is_loopback = net_peer_parse(slice_text(where), &at) == OK && net_peer_is_loopback(&at);
    return strcmp(k->name, "metrics") == 0 && is_loopback ? ", plain: yes" : "";
}

static enum err put_all(const struct config_init *init, const struct config_machine *machine,
                        const char *const binds[KNOWN], struct yaml_complaint *ret, struct buf *b)
{
    TRY(put(b, "# Sallyport. Every key is checked: `sallyport check DIR` says what is wrong and "
               "where.\n"
               "# SIGHUP reads this file again; what needs a restart is named in the event.\n"
               "version: 1\n"));
    TRY(put_sets(init, "", ret, b));
    if (init->master_key != NULL) {
        if (!is_quotable(init->master_key)) {
            return refuse(ret, "--master-key", init->master_key, "cannot be written in YAML");
        }
        TRY(put(b, "master_key: \"%s\"\n", init->master_key));
    }
    if (init->n_hosts > 0) {
        TRY(put(b, "hosts:                 # what device bundles name; the first is preferred\n"));
        for (size_t i = 0; i < init->n_hosts; i++) {
            if (!is_quotable(init->hosts[i])) {
                return refuse(ret, "--host", init->hosts[i], "is not a DNS name or an address");
            }
            TRY(put(b, "  - \"%s\"\n", init->hosts[i]));
        }
    }
    TRY(put(b, "listeners:             # plain ones stay closed until an exception names them\n"));
    TRY(put(b,
            "# from: [192.168.1.0/24, \"fd00::/8\"] at a listener: only these networks reach it, "
            "others are closed\n# before a byte is read. Without from everybody does; a public "
            "address there raises the alert exposure.\n"
            "# multicast: { groups: [224.0.1.187], interfaces: [eth0], resources: "
            "[/.well-known/core] } at an\n# oscore listener on all addresses answers discovery in "
            "those groups, to whoever asks.\n"));
    TRY(put(b,
            "# A listener with websocket: yes takes path (/mqtt) and origins: the pages whose "
            "scripts may connect,\n"
            "# like [\"https://dash.example\"]; browsers on other pages are refused. There, x509 "
            "in auth is for\n"
            "# programs; a page has a password or a token.\n"));
    TRY(put(b,
            "# A coap listener has auth [psk, x509] (DTLS) or [oscore] alone (OSCORE, no DTLS);\n"
            "# with tcp: yes it is CoAP over TLS, with websocket: yes the same in WebSocket "
            "frames, for\n"
            "# devices with a certificate: auth [x509].\n"
            "# mqtt_3_1: yes at an mqtt listener takes old clients of MQTT 3.1 (MQIsdp), too; they "
            "are never told\n# of a refusal, their connection just ends.\n"
            "# moved: temporarily or permanently: who logs in is sent to server_reference.\n"));
    TRY(put(b,
            "# dtls_records: openssl at a DTLS listener leaves all records to OpenSSL, for 36 KB "
            "more a peer;\n# own, the default, runs them here where the suite is AES-128 in GCM "
            "or CCM8.\n"));
    for (size_t i = 0; i < KNOWN; i++) {
        if (binds[i] != NULL) {
            TRY(put(b, "  - { name: %s, bind: \"%s\", %s%s }\n", known[i].name, binds[i],
                    known[i].rest, plain_of(&known[i], binds[i])));
        }
    }
    TRY(put(b, "# Listeners with auth token take tokens (JWT) of this issuer; keys is a JWK set "
               "beside this file:\n"
               "# tokens: { keys: jwks.json, issuer: \"https://id.example\", audience: sallyport, "
               "skew: 60s }\n"
               "# or a list of such, one for each issuer.\n"));
    TRY(put(b,
            "# An enrol listener takes claim tokens (`sallyport enrol token`); manufacturers whose "
            "certificates\n# enrol their devices, too (ca: a PEM beside this file; name: cn or "
            "san):\n"
            "# enrol: { manufacturers: [ { ca: acme.pem, role: sensor, name: cn } ] }\n"));
    TRY(put(b,
            "# A listener with door: metrics gives /metrics (for Prometheus), /health and /ready: "
            "plain: yes on\n# loopback alone, else by TLS to roles with resources: [ { path: "
            "/metrics, methods: [GET] } ].\n"));
    TRY(put(b, "# MQTT 5 clients are sent there when this server stops in order, and by a listener "
               "that has moved:\n"
               "# server_reference: \"other.example:8883\"\n"));
    TRY(put(
        b,
        "# CoAP clients with a grant like coap://10.1.2.3:5683/# reach other CoAP servers through "
        "a coap\n# listener (DTLS) only with:\n"
        "# proxy: { targets: [ { to: 10.1.0.0/16, port: 5683 } ], paths: [ { path: /line2, to: "
        "10.2.0.1 } ] }\n"));
    TRY(put(b,
            "# Certificates made from then on say where peers hear of revocation: URL/crl.der and "
            "URL/ocsp:\n"
            "# pki: { url: \"http://pki.example\" }\n"));
    TRY(put(b, "# The audit trail goes where it is watched, by TLS, as syslog (RFC 5424) or in "
               "OCSF classes\n# (format: ocsf); ca: the PEM beside this file that the receiver is "
               "verified by:\n"
               "# export: [ { name: siem, format: syslog, to: \"192.0.2.7:6514\", ca: siem-ca.pem "
               "} ]\n"));
    TRY(put(b, "# What detectors find is answered by rule; a rule without mode: enforce is a dry "
               "run, which\n# `respond list --dry-run` shows. Without rules, what is suggested "
               "runs dry:\n"
               "# responses: { rules: [ { on: probing, answer: quarantine, for: 1h, mode: dry-run "
               "} ],\n#              except: { roles: [console] }, per_hour: 10 }\n"));
    TRY(put_sets(init, "limits", ret, b));
    TRY(put_sets(init, "role_limits", ret, b));
    struct global_settings preset = global_settings_preset(machine->ram_bytes);
    static const struct role_limits role_preset = ROLE_LIMITS_DEFAULT;
    TRY(put(b, "\n# Keys that are not set have these values. role_limits is what every role of\n"
               "# policy.yaml starts with; a role's own limits go first.\n"));
    TRY(put_manual(b, global_setting_table, n_global_settings, &preset, "limits"));
    return put_manual(b, role_setting_table, n_role_settings, &role_preset, "role_limits");
}

enum err config_write(const struct config_init *init, const struct config_machine *machine,
                      struct yaml_complaint *ret_complaint, struct buf *ret)
{
    const char *binds[KNOWN];
    TRY(resolve_listens(init, ret_complaint, binds));
    AUTO(buf_done) struct buf text = {0};
    enum err e = put_all(init, machine, binds, ret_complaint, &text);
    if (e == ERR_NOMEM || e == ERR_TOO_LARGE) {
        snprintf(ret_complaint->text, sizeof ret_complaint->text,
                 "sallyport.yaml would be too large, or memory is out");
    }
    TRY(e);
    /* The reader has the last word on values, so an option is checked as the file would be. */
    struct config read_back;
    TRY(config_parse(buf_slice(&text), "the configuration asked for", machine, ret_complaint,
                     &read_back));
    return buf_append(ret, buf_slice(&text), FILE_MAX);
}

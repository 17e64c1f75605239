/* The listeners of sallyport.yaml: which door each is, where, and who may come there. */
#include <arpa/inet.h>

#include "app/daemon/config_metrics.h"
#include "app/daemon/config_multicast.h"
#include "app/daemon/config_private.h"

struct word {
    const char *name;
    unsigned value;
};

static const struct word door_words[] = {
    {"mqtt", CONFIG_DOOR_MQTT},   {"coap", CONFIG_DOOR_COAP},       {"https", CONFIG_DOOR_HTTPS},
    {"enrol", CONFIG_DOOR_ENROL}, {"metrics", CONFIG_DOOR_METRICS}, {NULL, 0}};
static const struct word auth_words[] = {
    {"x509", CONFIG_AUTH_X509}, {"password", CONFIG_AUTH_PASSWORD}, {"token", CONFIG_AUTH_TOKEN},
    {"psk", CONFIG_AUTH_PSK},   {"oscore", CONFIG_AUTH_OSCORE},     {NULL, 0}};
static const struct word records_words[] = {{"own", 0}, {"openssl", 1}, {NULL, 0}};
static const struct word tls_words[] = {
    {"1.3", CONFIG_TLS_1_3}, {"1.2", CONFIG_TLS_1_2}, {NULL, 0}};
static const struct word flag_words[] = {
    {"yes", 1}, {"no", 0}, {"true", 1}, {"false", 0}, {NULL, 0}};

static const struct word moved_words[] = {{"no", CONFIG_STAYS},
                                          {"temporarily", CONFIG_MOVED_TEMPORARILY},
                                          {"permanently", CONFIG_MOVED_PERMANENTLY},
                                          {NULL, 0}};

const char *config_door_name(enum config_door d)
{
    return door_words[d].name;
}

bool config_is_coap_tcp(const struct config_listener *l)
{
    return l->door == CONFIG_DOOR_COAP && (l->tcp || l->websocket);
}

bool config_needs_exception(const struct config_listener *l)
{
    return l->plain && l->door != CONFIG_DOOR_METRICS;
}

bool config_is_absent(const struct config_listener *l)
{
    return l->door == CONFIG_DOOR_HTTPS;
}

bool config_is_datagram(const struct config_listener *l)
{
    return l->door == CONFIG_DOOR_COAP && !config_is_coap_tcp(l);
}

/* One of a table's words. */
static enum err read_word(const struct reading *r, const struct yaml_node *n, const char *what,
                          const struct word *table, unsigned *ret)
{
    for (const struct word *w = table; w->name != NULL; w++) {
        if (n->kind == YAML_SCALAR && slice_is(n->text, w->name)) {
            *ret = w->value;
            return OK;
        }
    }
    char list[128] = "";
    size_t at = 0;
    for (const struct word *w = table; w->name != NULL && at < sizeof list; w++) {
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", at > 0 ? ", " : "", w->name);
    }
    return COMPLAIN(r, n, "%s must be one of: %s", what, list);
}

enum err config_read_name(const struct reading *r, const struct yaml_node *n, const char *what,
                          char dst[CONFIG_NAME_BYTES])
{
    bool is_listener = strcmp(what, "name") == 0; /* named after its scheme: coaps+tcp */
    bool good = n->kind == YAML_SCALAR && n->text.n > 0 && n->text.n <= 32;
    for (size_t i = 0; good && i < n->text.n; i++) {
        uint8_t c = n->text.p[i];
        good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_' || c == '.' || (c == '+' && is_listener);
    }
    if (!good || !slice_to_text(n->text, dst, CONFIG_NAME_BYTES)) {
        return COMPLAIN(r, n, "%s must be 1 to 32 of [A-Za-z0-9._%s-]", what,
                        is_listener ? "+" : "");
    }
    return OK;
}

bool config_bind_ok(struct slice text)
{
    char host[CONFIG_BIND_BYTES];
    size_t colon = text.n;
    while (colon > 0 && text.p[colon - 1] != ':') {
        colon--;
    }
    struct slice port = slice_from(text, colon);
    if (colon == 0 || port.n == 0 || port.n > 5) {
        return false;
    }
    unsigned long number = 0;
    for (size_t i = 0; i < port.n; i++) {
        if (port.p[i] < '0' || port.p[i] > '9') {
            return false;
        }
        number = number * 10 + (unsigned long)(port.p[i] - '0');
    }
    struct slice address = slice_head(text, colon - 1);
    bool bracketed = address.n > 2 && address.p[0] == '[' && address.p[address.n - 1] == ']';
    if (bracketed) {
        address = slice_from(slice_head(address, address.n - 1), 1);
    }
    uint8_t raw[16];
    return number <= 65535 && slice_to_text(address, host, sizeof host) &&
           inet_pton(bracketed ? AF_INET6 : AF_INET, host, raw) == 1;
}

static enum err read_bind(const struct reading *r, const struct yaml_node *n,
                          char dst[CONFIG_BIND_BYTES])
{
    if (n->kind != YAML_SCALAR || !config_bind_ok(n->text) ||
        !slice_to_text(n->text, dst, CONFIG_BIND_BYTES)) {
        return COMPLAIN(r, n,
                        "bind must be an address and a port, like \"[::]:8883\" for all, or "
                        "\"127.0.0.1:8883\"");
    }
    struct net_peer at;
    if (net_peer_parse(n->text, &at) == OK && net_peer_is_multicast(&at)) {
        return COMPLAIN(r, n,
                        "%s is for a group or for everybody, and such datagrams are not answered: "
                        "bind an address of this machine, or \"[::]:5684\" for all",
                        dst);
    }
    return OK;
}

static enum err read_from(const struct reading *r, const struct yaml_node *list,
                          struct config_listener *l)
{
    TRY(yaml_expect(r->doc, list, YAML_LIST, "from", r->complaint));
    if (list->first == NULL) {
        return COMPLAIN(r, list,
                        "from names the networks that may connect, like [192.168.1.0/24]; without "
                        "from everybody may");
    }
    for (const struct yaml_node *n = list->first; n != NULL; n = n->next) {
        struct net_network *one = &l->from.at[l->from.n];
        bool is_exact = false;
        char text[NET_NETWORK_TEXT_BYTES];
        if (l->from.n == NET_NETWORKS_MAX) {
            return COMPLAIN(r, n, "more than %d networks in from", NET_NETWORKS_MAX);
        }
        if (n->kind != YAML_SCALAR || net_network_parse(n->text, &is_exact, one) != OK) {
            return COMPLAIN(r, n, "a network is written like 192.168.1.0/24 or fd00::/8");
        }
        if (!is_exact) {
            net_network_text(one, text);
            return COMPLAIN(r, n,
                            "the address has bits behind the length: a whole network is written "
                            "%s, one address without /",
                            text);
        }
        l->from.n++;
    }
    return OK;
}

static enum err read_auth(const struct reading *r, const struct yaml_node *list,
                          struct config_listener *l)
{
    TRY(yaml_expect(r->doc, list, YAML_LIST, "auth", r->complaint));
    l->auth = 0;
    for (const struct yaml_node *n = list->first; n != NULL; n = n->next) {
        unsigned bit = 0;
        TRY(read_word(r, n, "an entry of auth", auth_words, &bit));
        l->auth |= bit;
    }
    if (l->auth == 0) {
        return COMPLAIN(r, list,
                        "auth must name at least one of x509, password, token, psk, oscore");
    }
    return OK;
}

/* "/mqtt": printable, and no query, because that is not compared. */
static enum err read_path(const struct reading *r, const struct yaml_node *n,
                          char dst[CONFIG_PATH_BYTES])
{
    bool good = n->kind == YAML_SCALAR && n->text.n > 0 && n->text.p[0] == '/';
    for (size_t i = 0; good && i < n->text.n; i++) {
        uint8_t c = n->text.p[i];
        good = c > ' ' && c < 0x7f && c != '?' && c != '#';
    }
    if (!good || !slice_to_text(n->text, dst, CONFIG_PATH_BYTES)) {
        return COMPLAIN(r, n, "path must begin with / and have at most %d printable characters",
                        CONFIG_PATH_BYTES - 1);
    }
    return OK;
}

/* As browsers write an origin: scheme://host or scheme://host:port, lower case, no path. */
static bool origin_ok(struct slice text)
{
    static const char *const schemes[] = {"https://", "http://"};
    struct slice host = {0};
    for (size_t i = 0; i < COUNT_OF(schemes); i++) {
        if (slice_has_prefix(text, slice_text(schemes[i]))) {
            host = slice_from(text, strlen(schemes[i]));
        }
    }
    for (size_t i = 0; i < host.n; i++) {
        uint8_t c = host.p[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
                    c == ':' || c == '[' || c == ']';
        if (!good) {
            return false;
        }
    }
    return host.n > 0;
}

static enum err read_origins(const struct reading *r, const struct yaml_node *list,
                             struct config_listener *l)
{
    TRY(yaml_expect(r->doc, list, YAML_LIST, "origins", r->complaint));
    for (const struct yaml_node *n = list->first; n != NULL; n = n->next) {
        if (l->n_origins == CONFIG_ORIGINS_MAX) {
            return COMPLAIN(r, n, "more than %d origins", CONFIG_ORIGINS_MAX);
        }
        if (n->kind != YAML_SCALAR || !origin_ok(n->text) ||
            !slice_to_text(n->text, l->origins[l->n_origins], CONFIG_ORIGIN_BYTES)) {
            return COMPLAIN(r, n,
                            "an origin is written as browsers send it, like https://dash.example "
                            "or https://dash.example:8443; each page is named by itself");
        }
        l->n_origins++;
    }
    return OK;
}

/* What may be said of a listener only together, or not at all. */
static enum err check_listener(const struct reading *r, const struct yaml_node *n,
                               const struct config_listener *l)
{
    if (l->door == CONFIG_DOOR_COAP &&
        (l->auth & (CONFIG_AUTH_PASSWORD | CONFIG_AUTH_TOKEN)) != 0) {
        return COMPLAIN(r, n, "a coap listener takes auth x509 and psk, or oscore");
    }
    if (l->door == CONFIG_DOOR_METRICS) {
        TRY(config_check_metrics(r->doc, n, r->complaint, l));
    }
    if (l->door == CONFIG_DOOR_ENROL &&
        (l->plain || (l->auth & ~(unsigned)(CONFIG_AUTH_X509 | CONFIG_AUTH_TOKEN)) != 0)) {
        return COMPLAIN(r, n, "an enrol listener has auth [x509, token] and is never plain");
    }
    if ((l->auth & CONFIG_AUTH_OSCORE) != 0 &&
        (l->door != CONFIG_DOOR_COAP || l->auth != CONFIG_AUTH_OSCORE || l->plain)) {
        return COMPLAIN(r, n,
                        "auth oscore is for a coap listener of its own, without plain: OSCORE "
                        "protects by itself, DTLS with x509 and psk is for another port");
    }
    if (l->tcp && l->door != CONFIG_DOOR_COAP) {
        return COMPLAIN(r, yaml_find(n, "tcp"),
                        "tcp is for the coap door; mqtt always goes over it");
    }
    if (config_is_coap_tcp(l) && (l->auth != CONFIG_AUTH_X509 || l->plain)) {
        return COMPLAIN(r, n,
                        "a coap listener over TCP has auth [x509] and is never plain: its clients "
                        "show the certificate of their bundle to TLS");
    }
    if (l->door != CONFIG_DOOR_COAP && (l->auth & CONFIG_AUTH_PSK) != 0) {
        return COMPLAIN(r, n, "auth psk is for the coap door; mqtt takes x509, password, token");
    }
    if (yaml_find(n, "dtls_records") != NULL &&
        (!config_is_datagram(l) || (l->auth & CONFIG_AUTH_OSCORE) != 0)) {
        return COMPLAIN(r, yaml_find(n, "dtls_records"),
                        "dtls_records is for a coap listener of DTLS: over TCP and under OSCORE "
                        "there is none");
    }
    if (l->websocket && l->door != CONFIG_DOOR_MQTT && l->door != CONFIG_DOOR_COAP) {
        return COMPLAIN(r, n, "websocket is for the mqtt and coap doors");
    }
    if (l->websocket && l->tcp) {
        return COMPLAIN(r, n, "a coap listener has tcp: yes or websocket: yes, not both");
    }
    if (l->mqtt_3_1 && (l->door != CONFIG_DOOR_MQTT || l->websocket)) {
        return COMPLAIN(r, yaml_find(n, "mqtt_3_1"),
                        "mqtt_3_1 is for the mqtt door without websocket");
    }
    if (!l->websocket && (yaml_find(n, "path") != NULL || yaml_find(n, "origins") != NULL)) {
        return COMPLAIN(r, n, "path and origins are for a listener with websocket: yes");
    }
    return OK;
}

static enum err read_place(const struct reading *r, const struct yaml_node *n,
                           const struct config *c, struct config_listener *l)
{
    const struct yaml_node *name = yaml_find(n, "name");
    const struct yaml_node *door = yaml_find(n, "door");
    const struct yaml_node *bind = yaml_find(n, "bind");
    if (name == NULL || door == NULL || bind == NULL) {
        return COMPLAIN(r, n,
                        "a listener needs name, door and bind, like { name: mqtts, door: mqtt, "
                        "bind: \"[::]:8883\" }");
    }
    TRY(config_read_name(r, name, "name", l->name));
    if (config_listener_find(c, l->name) != NULL) {
        return COMPLAIN(r, name, "a listener named \"%s\" is there already", l->name);
    }
    unsigned word = 0;
    TRY(read_word(r, door, "door", door_words, &word));
    l->door = (enum config_door)word;
    return read_bind(r, bind, l->bind);
}

/* By what, and in which versions of what, one speaks to it. */
static enum err read_transport(const struct reading *r, const struct yaml_node *n,
                               struct config_listener *l)
{
    struct {
        const char *key;
        bool *flag;
    } const flags[] = {{"plain", &l->plain},
                       {"mqtt_3_1", &l->mqtt_3_1},
                       {"tcp", &l->tcp},
                       {"websocket", &l->websocket}};
    const struct yaml_node *v;
    unsigned word = 0;
    if ((v = yaml_find(n, "tls_min")) != NULL) {
        TRY(read_word(r, v, "tls_min", tls_words, &word));
        l->tls_min = (enum config_tls_min)word;
    }
    if ((v = yaml_find(n, "dtls_records")) != NULL) {
        TRY(read_word(r, v, "dtls_records", records_words, &word));
        l->openssl_records = word != 0;
    }
    for (size_t i = 0; i < COUNT_OF(flags); i++) {
        if ((v = yaml_find(n, flags[i].key)) != NULL) {
            TRY(read_word(r, v, flags[i].key, flag_words, &word));
            *flags[i].flag = word != 0;
        }
    }
    return OK;
}

/* Where the listener does not say it. */
static unsigned auth_unsaid(const struct config_listener *l)
{
    return config_is_coap_tcp(l) || l->door == CONFIG_DOOR_METRICS ? CONFIG_AUTH_X509
           : l->door == CONFIG_DOOR_COAP  ? CONFIG_AUTH_PSK | CONFIG_AUTH_X509
           : l->door == CONFIG_DOOR_ENROL ? CONFIG_AUTH_X509 | CONFIG_AUTH_TOKEN
                                          : CONFIG_AUTH_X509 | CONFIG_AUTH_PASSWORD;
}

static enum err read_listener(const struct reading *r, const struct yaml_node *n, struct config *c)
{
    static const char *const keys[] = {"name",         "door",  "bind",     "auth",  "segment",
                                       "tls_min",      "plain", "mqtt_3_1", "tcp",   "websocket",
                                       "from",         "path",  "origins",  "moved", "multicast",
                                       "dtls_records", NULL};
    TRY(yaml_expect(r->doc, n, YAML_MAP, "a listener", r->complaint));
    TRY(yaml_only(r->doc, n, keys, "a listener", r->complaint));
    struct config_listener l = {
        .segment = PRINCIPAL_SEGMENT_DEFAULT, .tls_min = CONFIG_TLS_1_3, .path = "/mqtt"};
    TRY(read_place(r, n, c, &l));
    const struct yaml_node *v;
    if ((v = yaml_find(n, "segment")) != NULL) {
        TRY(config_read_name(r, v, "segment", l.segment));
    }
    TRY(read_transport(r, n, &l));
    l.auth = auth_unsaid(&l);
    if ((v = yaml_find(n, "auth")) != NULL) {
        TRY(read_auth(r, v, &l));
    }
    if ((v = yaml_find(n, "from")) != NULL) {
        TRY(read_from(r, v, &l));
    }
    if (config_is_coap_tcp(&l)) {
        (void)snprintf(l.path, sizeof(l.path), "/.well-known/coap"); /* SPEC: RFC8323 8.3 */
    }
    if ((v = yaml_find(n, "path")) != NULL) {
        TRY(read_path(r, v, l.path));
    }
    if ((v = yaml_find(n, "origins")) != NULL) {
        TRY(read_origins(r, v, &l));
    }
    if ((v = yaml_find(n, "moved")) != NULL) {
        unsigned word = 0;
        TRY(read_word(r, v, "moved", moved_words, &word));
        l.moved = (enum config_moved)word;
    }
    if (l.moved != CONFIG_STAYS && (l.door != CONFIG_DOOR_MQTT || c->server_reference[0] == '\0')) {
        return COMPLAIN(r, n, "moved is for the mqtt door, and server_reference says where to");
    }
    TRY(check_listener(r, n, &l));
    if ((v = yaml_find(n, "multicast")) != NULL) {
        TRY(config_read_multicast(r->doc, v, r->complaint, &l));
    }
    c->listeners[c->n_listeners++] = l;
    return OK;
}

enum err config_read_listeners(const struct reading *r, const struct yaml_node *list,
                               struct config *c)
{
    TRY(yaml_expect(r->doc, list, YAML_LIST, "listeners", r->complaint));
    for (const struct yaml_node *n = list->first; n != NULL; n = n->next) {
        if (c->n_listeners == CONFIG_LISTENERS_MAX) {
            return COMPLAIN(r, n, "more than %d listeners", CONFIG_LISTENERS_MAX);
        }
        TRY(read_listener(r, n, c));
    }
    return OK;
}

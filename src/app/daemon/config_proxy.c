#include "app/daemon/config_proxy.h"

#include "app/daemon/config.h"
#include "base/scope.h"
#include "wire/coap/uri.h"

#define COMPLAIN(r, node, ...) yaml_complain((r)->doc, (node), (r)->complaint, __VA_ARGS__)

struct reading {
    const struct yaml_doc *doc;
    struct yaml_complaint *complaint;
};

bool config_has_proxy(const struct config *c)
{
    return c->proxy.n_targets > 0 || c->proxy.n_paths > 0;
}

static enum err read_number(const struct reading *r, const struct yaml_node *n,
                            const struct setting *row, uint32_t *ret)
{
    char why[SETTING_WHY_BYTES];
    uint64_t v = 0;
    TRY(yaml_expect(r->doc, n, YAML_SCALAR, row->name, r->complaint));
    if (setting_parse(row, n->text, 0, why, &v) != OK) {
        return COMPLAIN(r, n, "%s", why);
    }
    *ret = (uint32_t)v;
    return OK;
}

/* `to` and `port` of an entry. */
static enum err read_to(const struct reading *r, const struct yaml_node *n, bool is_one,
                        struct proxy_target *ret)
{
    static const struct setting port_row = {"port", SETTING_COUNT, 1, UINT16_MAX, "", 0, 4};
    const struct yaml_node *to = yaml_find(n, "to"), *port = yaml_find(n, "port");
    uint32_t number = COAP_PORT;
    bool is_exact = false;
    if (to == NULL) {
        return COMPLAIN(r, n, "it needs to: the address of a CoAP server%s",
                        is_one ? "" : ", or a network of them");
    }
    if (to->kind != YAML_SCALAR || net_network_parse(to->text, &is_exact, &ret->to) != OK ||
        !is_exact) {
        return COMPLAIN(r, to,
                        "to must be an address like 192.0.2.7%s; names are not looked up, and the "
                        "port has its own key",
                        is_one ? "" : ", or a network like 192.0.2.0/24");
    }
    if (port != NULL) {
        TRY(read_number(r, port, &port_row, &number));
    }
    ret->port = (uint16_t)number;
    struct net_peer first = proxy_target_peer(ret);
    if (is_one && ret->to.bits != 128) {
        return COMPLAIN(r, to, "to must be one address here, not a network");
    }
    if (ret->to.bits == 128 && !proxy_rules_is_one(&first)) {
        return COMPLAIN(r, to, "this address is no single server's");
    }
    return OK;
}

/* As a Uri-Host may be: no address, so that nothing is both. */
static bool is_host_name(struct slice text)
{
    struct net_network ignored;
    bool is_exact, good = text.n > 0 && text.n < PROXY_NAME_BYTES;
    for (size_t i = 0; good && i < text.n; i++) {
        uint8_t c = text.p[i];
        good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '.' || c == '_';
    }
    return good && net_network_parse(text, &is_exact, &ignored) != OK;
}

static enum err read_target(const struct reading *r, const struct yaml_node *n,
                            struct proxy_rules *p)
{
    static const char *const keys[] = {"name", "to", "port", NULL};
    struct proxy_target t = {.port = 0};
    TRY(yaml_expect(r->doc, n, YAML_MAP, "a target", r->complaint));
    TRY(yaml_only(r->doc, n, keys, "a target", r->complaint));
    if (p->n_targets == PROXY_TARGETS_MAX) {
        return COMPLAIN(r, n, "more than %d targets", PROXY_TARGETS_MAX);
    }
    const struct yaml_node *name = yaml_find(n, "name");
    TRY(read_to(r, n, name != NULL, &t));
    if (name != NULL) {
        if (name->kind != YAML_SCALAR || !is_host_name(name->text) ||
            !slice_to_text(name->text, t.name, sizeof t.name)) {
            return COMPLAIN(r, name, "name must be 1 to %d of [A-Za-z0-9._-], and no address",
                            PROXY_NAME_BYTES - 1);
        }
        if (proxy_rules_name(p, name->text) != NULL) {
            return COMPLAIN(r, name, "a target of this name is there already");
        }
    }
    p->targets[p->n_targets++] = t;
    return OK;
}

/* "/a/b": printable segments, none of them empty or of dots. */
static bool is_path(struct slice text)
{
    bool more = text.n > 1 && text.n < PROXY_PATH_BYTES && text.p[0] == '/';
    struct slice rest = slice_from(text, 1);
    for (size_t i = 0; i < text.n; i++) {
        more = more && text.p[i] > ' ' && text.p[i] < 0x7f && strchr("+#%?", text.p[i]) == NULL;
    }
    bool good = more;
    while (good && more) {
        struct slice segment = slice_cut(&rest, '/', &more);
        good = segment.n > 0 && !slice_is(segment, ".") && !slice_is(segment, "..");
    }
    return good;
}

static bool is_taken(struct slice path)
{
    struct slice rest = slice_from(path, 1);
    bool more;
    struct slice first = slice_cut(&rest, '/', &more);
    return slice_is(first, "mq") || slice_is(first, ".well-known");
}

static enum err read_path(const struct reading *r, const struct yaml_node *n, struct proxy_rules *p)
{
    static const char *const keys[] = {"path", "to", "port", NULL};
    struct proxy_target t = {.port = 0};
    TRY(yaml_expect(r->doc, n, YAML_MAP, "a path", r->complaint));
    TRY(yaml_only(r->doc, n, keys, "a path", r->complaint));
    if (p->n_paths == PROXY_PATHS_MAX) {
        return COMPLAIN(r, n, "more than %d paths", PROXY_PATHS_MAX);
    }
    struct proxy_path *one = &p->paths[p->n_paths];
    const struct yaml_node *path = yaml_find(n, "path");
    if (path == NULL || path->kind != YAML_SCALAR || !is_path(path->text) ||
        !slice_to_text(path->text, one->path, sizeof one->path)) {
        return COMPLAIN(r, path != NULL ? path : n,
                        "path must be like \"/line2\": 1 to %d characters, no wildcard, no escape, "
                        "no empty segment",
                        PROXY_PATH_BYTES - 1);
    }
    if (is_taken(path->text)) {
        return COMPLAIN(r, path, "/mq and /.well-known are this server's own");
    }
    for (size_t i = 0; i < p->n_paths; i++) {
        if (strcmp(p->paths[i].path, one->path) == 0) {
            return COMPLAIN(r, path, "this path is there already");
        }
    }
    TRY(read_to(r, n, true, &t));
    one->to = proxy_target_peer(&t);
    p->n_paths++;
    return OK;
}

static enum err read_list(const struct reading *r, const struct yaml_node *list, const char *what,
                          enum err (*one)(const struct reading *, const struct yaml_node *,
                                          struct proxy_rules *),
                          struct proxy_rules *p)
{
    if (list == NULL) {
        return OK;
    }
    TRY(yaml_expect(r->doc, list, YAML_LIST, what, r->complaint));
    for (const struct yaml_node *n = list->first; n != NULL; n = n->next) {
        TRY(one(r, n, p));
    }
    return OK;
}

enum err config_read_proxy(const struct yaml_doc *doc, const struct yaml_node *n,
                           struct yaml_complaint *ret_complaint, struct proxy_rules *ret)
{
    static const char *const keys[] = {"wait", "targets", "paths", NULL};
    static const struct setting wait_row = {
        "wait", SETTING_DURATION, PROXY_WAIT_MIN_S, PROXY_WAIT_MAX_S, "", 0, 4};
    struct reading r = {.doc = doc, .complaint = ret_complaint};
    struct proxy_rules p = {.n_targets = 0};
    uint32_t wait_s = PROXY_WAIT_DEFAULT_S;
    TRY(yaml_expect(doc, n, YAML_MAP, "proxy", ret_complaint));
    TRY(yaml_only(doc, n, keys, "proxy", ret_complaint));
    const struct yaml_node *wait = yaml_find(n, "wait");
    if (wait != NULL) {
        TRY(read_number(&r, wait, &wait_row, &wait_s));
    }
    TRY(read_list(&r, yaml_find(n, "targets"), "targets", read_target, &p));
    TRY(read_list(&r, yaml_find(n, "paths"), "paths", read_path, &p));
    if (p.n_targets == 0 && p.n_paths == 0) {
        return COMPLAIN(&r, n, "proxy names no targets and no paths: leave it out");
    }
    p.wait_ms = wait_s * 1000;
    *ret = p;
    return OK;
}

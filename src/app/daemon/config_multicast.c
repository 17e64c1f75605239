#include "app/daemon/config_multicast.h"

#include "base/scope.h"

#define COMPLAIN(r, node, ...) yaml_complain((r)->doc, (node), (r)->complaint, __VA_ARGS__)

struct reading {
    const struct yaml_doc *doc;
    struct yaml_complaint *complaint;
};

static enum err read_groups(const struct reading *r, const struct yaml_node *list, bool takes_v6,
                            struct net_multicast *ret)
{
    TRY(yaml_expect(r->doc, list, YAML_LIST, "groups", r->complaint));
    for (const struct yaml_node *n = list->first; n != NULL; n = n->next) {
        if (ret->n_groups == NET_MULTICAST_GROUPS_MAX) {
            return COMPLAIN(r, n, "more than %d groups", NET_MULTICAST_GROUPS_MAX);
        }
        struct net_peer *one = &ret->groups[ret->n_groups];
        enum err err =
            n->kind == YAML_SCALAR ? net_multicast_group_parse(n->text, one) : ERR_MALFORMED;
        if (err != OK) {
            return COMPLAIN(r, n,
                            "a group is a multicast address like 224.0.1.187 or \"ff02::fd\", "
                            "without a port");
        }
        if (!takes_v6 && !net_peer_is_v4(one)) {
            return COMPLAIN(r, n, "a listener bound to 0.0.0.0 hears no IPv6: bind \"[::]:5683\"");
        }
        ret->n_groups++;
    }
    return OK;
}

static enum err read_interfaces(const struct reading *r, const struct yaml_node *list,
                                struct net_multicast *ret)
{
    TRY(yaml_expect(r->doc, list, YAML_LIST, "interfaces", r->complaint));
    for (const struct yaml_node *n = list->first; n != NULL; n = n->next) {
        if (ret->n_interfaces == NET_MULTICAST_INTERFACES_MAX) {
            return COMPLAIN(r, n, "more than %d interfaces", NET_MULTICAST_INTERFACES_MAX);
        }
        if (n->kind != YAML_SCALAR || n->text.n == 0 ||
            !slice_to_text(n->text, ret->interfaces[ret->n_interfaces], IF_NAMESIZE)) {
            return COMPLAIN(r, n, "an interface is named as `ip link` shows it, like eth0");
        }
        ret->n_interfaces++;
    }
    return OK;
}

/* Everything else has rights, and who asks a group has no name. */
static enum err read_resources(const struct reading *r, const struct yaml_node *list)
{
    TRY(yaml_expect(r->doc, list, YAML_LIST, "resources", r->complaint));
    for (const struct yaml_node *n = list->first; n != NULL; n = n->next) {
        if (n->kind != YAML_SCALAR || !slice_is(n->text, "/.well-known/core")) {
            return COMPLAIN(r, n,
                            "only /.well-known/core is said to a group: who asks there has no name "
                            "and no rights; topics are for those who log in");
        }
    }
    return OK;
}

/* Is it bound to all addresses? To one of them nothing comes that is for a group. */
static bool is_for_all(const char *bind, bool *ret_v6)
{
    *ret_v6 = bind[0] == '[';
    return strncmp(bind, "[::]:", 5) == 0 || strncmp(bind, "0.0.0.0:", 8) == 0;
}

enum err config_read_multicast(const struct yaml_doc *doc, const struct yaml_node *n,
                               struct yaml_complaint *ret_complaint, struct config_listener *l)
{
    static const char *const keys[] = {"groups", "interfaces", "resources", NULL};
    const struct reading r = {doc, ret_complaint};
    bool takes_v6 = false;
    TRY(yaml_expect(doc, n, YAML_MAP, "multicast", ret_complaint));
    TRY(yaml_only(doc, n, keys, "multicast", ret_complaint));
    const struct yaml_node *groups = yaml_find(n, "groups"), *where = yaml_find(n, "interfaces");
    const struct yaml_node *what = yaml_find(n, "resources");
    if (groups == NULL || where == NULL || what == NULL || groups->first == NULL ||
        where->first == NULL || what->first == NULL) {
        return COMPLAIN(&r, n,
                        "multicast needs groups, interfaces and resources, like { groups: "
                        "[224.0.1.187], interfaces: [eth0], resources: [/.well-known/core] }");
    }
    if (l->door != CONFIG_DOOR_COAP || l->auth != CONFIG_AUTH_OSCORE) {
        return COMPLAIN(&r, n,
                        "multicast is for a coap listener with auth: [oscore]; there is none over "
                        "DTLS and TLS");
    }
    if (!is_for_all(l->bind, &takes_v6)) {
        return COMPLAIN(&r, n,
                        "a listener bound to one address hears no group: bind \"[::]:5683\", and "
                        "let interfaces say where");
    }
    TRY(read_groups(&r, groups, takes_v6, &l->multicast));
    TRY(read_interfaces(&r, where, &l->multicast));
    return read_resources(&r, what);
}

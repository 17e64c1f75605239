#include "app/daemon/config_enrol.h"

#include "base/scope.h"

#define COMPLAIN(r, node, ...) yaml_complain((r)->doc, (node), (r)->complaint, __VA_ARGS__)

struct reading {
    const struct yaml_doc *doc;
    struct yaml_complaint *complaint;
};

static bool is_file_name(const struct yaml_node *n)
{
    bool good = n->kind == YAML_SCALAR && n->text.n > 0 && n->text.p[0] != '.';
    return good && slice_find(n->text, '/') == n->text.n;
}

static enum err read_name(const struct reading *r, const struct yaml_node *n,
                          enum enrol_name_rule *ret)
{
    static const char *const words[] = {"cn", "san"};
    for (size_t i = 0; n->kind == YAML_SCALAR && i < COUNT_OF(words); i++) {
        if (slice_is(n->text, words[i])) {
            *ret = (enum enrol_name_rule)i;
            return OK;
        }
    }
    return COMPLAIN(r, n,
                    "name says what of the manufacturer's certificate is the device's name: cn or "
                    "san (a DNS name); serial numbers are not there yet");
}

static enum err read_maker(const struct reading *r, const struct yaml_node *n,
                           struct config_maker *ret)
{
    static const char *const keys[] = {"ca", "role", "name", NULL};
    TRY(yaml_expect(r->doc, n, YAML_MAP, "a manufacturer", r->complaint));
    TRY(yaml_only(r->doc, n, keys, "a manufacturer", r->complaint));
    const struct yaml_node *ca = yaml_find(n, "ca"), *role = yaml_find(n, "role");
    const struct yaml_node *name = yaml_find(n, "name");
    struct config_maker m = {.name = ENROL_NAME_CN};
    if (ca == NULL || role == NULL) {
        return COMPLAIN(r, n,
                        "a manufacturer needs ca and role, like { ca: acme.pem, role: sensor, "
                        "name: cn }");
    }
    if (!is_file_name(ca) || !slice_to_text(ca->text, m.ca, sizeof m.ca)) {
        return COMPLAIN(
            r, ca, "ca must be the name of a PEM file in the folder manufacturers beside this one");
    }
    if (role->kind != YAML_SCALAR || !principal_name_ok(role->text) ||
        !slice_to_text(role->text, m.role, sizeof m.role)) {
        return COMPLAIN(r, role, "role must be the name of a role of policy.yaml");
    }
    if (name != NULL) {
        TRY(read_name(r, name, &m.name));
    }
    *ret = m;
    return OK;
}

enum err config_read_enrol(const struct yaml_doc *doc, const struct yaml_node *n,
                           struct yaml_complaint *complaint, struct config_enrol *ret)
{
    static const char *const keys[] = {"manufacturers", NULL};
    struct reading r = {.doc = doc, .complaint = complaint};
    TRY(yaml_expect(doc, n, YAML_MAP, "enrol", complaint));
    TRY(yaml_only(doc, n, keys, "enrol", complaint));
    const struct yaml_node *list = yaml_find(n, "manufacturers");
    if (list == NULL) {
        return OK;
    }
    TRY(yaml_expect(doc, list, YAML_LIST, "manufacturers", complaint));
    for (const struct yaml_node *m = list->first; m != NULL; m = m->next) {
        if (ret->n_makers == CONFIG_MAKERS_MAX) {
            return COMPLAIN(&r, m, "more than %d manufacturers", CONFIG_MAKERS_MAX);
        }
        TRY(read_maker(&r, m, &ret->makers[ret->n_makers]));
        ret->n_makers++;
    }
    return OK;
}

enum err config_makers(const struct config_enrol *c, struct disk *disk, struct enrol_makers *ret,
                       struct why *why)
{
    for (size_t i = 0; i < c->n_makers; i++) {
        const struct config_maker *m = &c->makers[i];
        TRY(enrol_makers_add(ret, disk, m->ca, m->role, m->name, why));
    }
    return OK;
}

bool config_enrol_same(const struct config_enrol *a, const struct config_enrol *b)
{
    bool same = a->n_makers == b->n_makers;
    for (size_t i = 0; same && i < a->n_makers; i++) {
        const struct config_maker *x = &a->makers[i], *y = &b->makers[i];
        same = strcmp(x->ca, y->ca) == 0 && strcmp(x->role, y->role) == 0 && x->name == y->name;
    }
    return same;
}

/* Which devices a command means: --where KEY=VALUE, all of them. */
#include "service/admin/fleet_private.h"

const char *principal_status_name(enum principal_status s)
{
    switch (s) {
    case PRINCIPAL_ACTIVE:
        return "active";
    case PRINCIPAL_DISABLED:
        return "disabled";
    case PRINCIPAL_REVOKED:
        return "revoked";
    }
    return "unknown";
}

static enum err read_term(struct slice text, const struct directory_version *v, struct selector *s,
                          struct why *why)
{
    bool more;
    struct slice key = slice_cut(&text, '=', &more);
    uint64_t gateway = 0;
    if (!more || key.n == 0) {
        why_set(why, "--where takes KEY=VALUE; KEY is name, role, status, gateway or an attribute");
        return ERR_MALFORMED;
    }
    if (s->n == SELECTOR_TERMS_MAX) {
        why_set(why, "--where is given at most %d times", SELECTOR_TERMS_MAX);
        return ERR_LIMIT;
    }
    if (slice_is(key, "gateway") && !slice_is(text, "none")) {
        const struct directory_entry *e = directory_find(v, text);
        if (e == NULL) {
            struct slice shown = slice_head(text, PRINCIPAL_NAME_MAX);
            why_set(why, "there is no gateway %.*s; `gateway=none` means assigned to none",
                    SLICE_ARG(shown));
            return ERR_NOT_FOUND;
        }
        gateway = e->principal->id;
    }
    s->terms[s->n].key = key;
    s->terms[s->n].value = text;
    s->terms[s->n++].gateway = gateway;
    return OK;
}

static struct slice text_of(const json_t *string)
{
    return slice_of(json_string_value(string), json_string_length(string));
}

enum err selector_read(const json_t *where, const struct directory_version *v, struct selector *ret,
                       struct why *why)
{
    ret->n = 0;
    if (json_is_string(where)) {
        return json_string_length(where) > 0 ? read_term(text_of(where), v, ret, why) : OK;
    }
    for (size_t i = 0; i < json_array_size(where); i++) {
        TRY(read_term(text_of(json_array_get(where, i)), v, ret, why));
    }
    return OK;
}

bool selector_matches(const struct selector *s, const struct directory_entry *e)
{
    const struct principal *p = e->principal;
    for (size_t i = 0; i < s->n; i++) {
        struct slice key = s->terms[i].key;
        if (slice_is(key, "gateway")) {
            if (p->gateway != s->terms[i].gateway) {
                return false;
            }
            continue;
        }
        const char *value = slice_is(key, "status") ? principal_status_name(p->status)
                            : slice_is(key, "name") ? p->name
                                                    : principal_attr(p, key);
        if (value == NULL || !slice_is(s->terms[i].value, value)) {
            return false;
        }
    }
    return true;
}

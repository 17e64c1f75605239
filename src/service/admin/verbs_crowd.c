/* policy crowd: the policy in force and who is under it, in pieces, for whoever judges a policy
 * outside this process. No secret, no credential. */
#include "service/admin/admin_private.h"
#include "service/directory/settings.h"

enum { CROWD_SEEN = 2048 /* of a piece; whole pages of the directory */ };

static json_t *start_json(const struct role_limits *limits)
{
    json_t *all = json_object();
    for (size_t i = 0; i < n_role_settings; i++) {
        const struct setting *s = &role_setting_table[i];
        (void)json_object_set_new(all, s->name, json_integer((json_int_t)setting_get(s, limits)));
    }
    return all;
}

static json_t *attrs_json(const struct principal *p)
{
    json_t *all = json_object();
    for (size_t i = 0; i < p->n_attrs; i++) {
        (void)json_object_set_new(all, p->attrs[i].key, json_string(p->attrs[i].value));
    }
    return all;
}

static json_t *member_json(const struct principal *p)
{
    return json_pack("{s:I,s:s,s:s,s:i,s:I,s:o}", "id", (json_int_t)p->id, "name", p->name, "role",
                     p->role, "status", (int)p->status, "gateway", (json_int_t)p->gateway, "attrs",
                     attrs_json(p));
}

static json_t *policy_json(const struct admin *a)
{
    struct slice text = policy_source(a->policy);
    return json_pack("{s:s%,s:o}", "policy", text.n > 0 ? (const char *)text.p : "", text.n,
                     "start", start_json(&a->setup.role_start));
}

enum err verb_policy_crowd(void *ctx, const struct control_request *r, uint64_t token,
                           struct control_reply *reply)
{
    const struct admin *a = ctx;
    int64_t page = control_arg_number(r, "page", 0);
    size_t seen = 0;
    (void)token;
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    AUTO(admin_json_release) json_t *members = json_array();
    if (page == 0) {
        TRY(control_line(reply, policy_json(a)));
    }
    for (; page >= 0 && page < DIRECTORY_PAGES && seen < CROWD_SEEN; page++) {
        size_t at = 0;
        const struct directory_entry *e;
        while ((e = directory_page(v, (size_t)page, &at)) != NULL) {
            seen++;
            if (json_array_append_new(members, member_json(e->principal)) != 0) {
                return ERR_NOMEM;
            }
        }
    }
    TRY(control_line(reply, json_pack("{s:O,s:I}", "members", members, "page",
                                      page < DIRECTORY_PAGES ? (json_int_t)page : -1)));
    return control_finish(reply, 0, NULL);
}

/* What those who are in may do. */
#include "service/doctor/rules_private.h"

static enum err no_acl(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_listeners; i++) {
        const struct facts_listener *l = &f->listeners[i];
        if (l->acl.is_known && l->acl.n == 0) {
            TRY(findings_add(ret, self, l->at, listener_word(l),
                             "no rules bind who comes in at listener %s", listener_word(l)));
        }
    }
    return OK;
}

static enum err default_allow(const struct rule *self, const struct facts *f, struct findings *ret)
{
    const struct facts_value *v = &f->numbers[FACTS_DEFAULT_ALLOW];
    if (!v->is_known || v->n == 0) {
        return OK;
    }
    return findings_add(ret, self, v->at, "rules", "what no rule names is allowed%s",
                        v->at.line == 0 ? " (the default)" : "");
}

static enum err deny_ignored(const struct rule *self, const struct facts *f, struct findings *ret)
{
    const struct facts_value *v = &f->numbers[FACTS_DENY_IGNORED];
    if (!v->is_known || v->n == 0) {
        return OK;
    }
    return findings_add(ret, self, v->at, "rules", "a denied client stays and may go on trying%s",
                        v->at.line == 0 ? " (the default)" : "");
}

/* Does it reach every topic, or every one of some depth? "$share/group/" is not a part of it. */
static bool is_whole_space(const char *filter)
{
    struct slice rest = slice_text(filter);
    bool more = true;
    if (slice_has_prefix(rest, slice_text("$share/"))) {
        (void)slice_cut(&rest, '/', &more);
        (void)slice_cut(&rest, '/', &more);
    }
    if (rest.n == 0) {
        return false;
    }
    more = true;
    while (more) {
        struct slice level = slice_cut(&rest, '/', &more);
        if (slice_is(level, "#")) {
            return true;
        }
        if (!slice_is(level, "+")) {
            return false;
        }
    }
    return true;
}

static const char *grant_word(const struct facts_grant *g)
{
    return g->can_publish && g->can_subscribe ? "publish and subscribe to"
           : g->can_publish                   ? "publish to"
                                              : "subscribe to";
}

static enum err judge_wide(const struct rule *self, const struct facts *f, struct findings *ret,
                           bool service)
{
    for (size_t i = 0; i < f->n_grants; i++) {
        const struct facts_grant *g = &f->grants[i];
        if (g->is_service == service && is_whole_space(g->filter)) {
            TRY(findings_add(ret, self, g->at, g->who, "%s may %s %s", g->who, grant_word(g),
                             g->filter));
        }
    }
    return OK;
}

static enum err wide_grant(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return judge_wide(self, f, ret, false);
}

static enum err wide_service(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return judge_wide(self, f, ret, true);
}

static bool is_first_level(const char *filter, const char *level)
{
    struct slice rest = slice_text(filter);
    bool more;
    return slice_is(slice_cut(&rest, '/', &more), level);
}

static enum err sys_open(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_grants; i++) {
        const struct facts_grant *g = &f->grants[i];
        if (g->can_subscribe && !g->is_service && is_first_level(g->filter, "$SYS")) {
            TRY(findings_add(ret, self, g->at, g->who, "%s may subscribe to %s", g->who,
                             g->filter));
        }
    }
    for (size_t i = 0; f->product == FACTS_MOSQUITTO && i < f->n_listeners; i++) {
        const struct facts_listener *l = &f->listeners[i];
        if (l->acl.is_known && l->acl.n == 0) {
            TRY(findings_add(ret, self, l->at, listener_word(l),
                             "$SYS/# is open to who comes in at listener %s", listener_word(l)));
        }
    }
    return OK;
}

static enum err client_id_rule(const struct rule *self, const struct facts *f, struct findings *ret)
{
    bool is_bound =
        f->numbers[FACTS_CLIENT_ID_BOUND].is_known && f->numbers[FACTS_CLIENT_ID_BOUND].n != 0;
    for (size_t i = 0; !is_bound && i < f->n_grants; i++) {
        const struct facts_grant *g = &f->grants[i];
        if (g->is_client_id) {
            TRY(findings_add(ret, self, g->at, g->who, "%s may %s %s, and chooses the client id",
                             g->who, grant_word(g), g->filter));
        }
    }
    return OK;
}

static bool is_command(const char *filter)
{
    static const char *const words[] = {"commands", "command", "cmd", "cmnd",
                                        "firmware", "fw",      "ota", "$coap"};
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (is_first_level(filter, words[i])) {
            return true;
        }
    }
    return false;
}

static enum err own_commands(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_grants; i++) {
        const struct facts_grant *g = &f->grants[i];
        /* One name of another broker may be the operator's; a line for all of them is not. */
        bool is_device = f->product == FACTS_SALLYPORT || g->is_each || g->is_everybody;
        if (g->can_publish && !g->is_service && is_device && is_command(g->filter)) {
            TRY(findings_add(ret, self, g->at, g->who, "%s may publish to %s", g->who, g->filter));
        }
    }
    return OK;
}

static enum err everybody(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_grants; i++) {
        const struct facts_grant *g = &f->grants[i];
        if (g->is_everybody && g->can_publish && !g->is_client_id && !is_whole_space(g->filter) &&
            !is_command(g->filter)) {
            TRY(findings_add(ret, self, g->at, g->who, "%s may publish to %s", g->who, g->filter));
        }
    }
    return OK;
}

/* ---- what was meant and what is written ---- */

static bool has_place(enum facts_product p, const char *text)
{
    static const char *const words[] = {"%u", "%c", "${username}", "${clientid}", "${device}"};
    bool is_ours = p == FACTS_SALLYPORT, is_mosquitto = p == FACTS_MOSQUITTO;
    const bool is_known[] = {is_mosquitto, is_mosquitto, !is_ours && !is_mosquitto,
                             !is_ours && !is_mosquitto, is_ours};
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (is_known[i] && strstr(text, words[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* A placeholder that this product takes for letters: of another one, or (mosquitto) in a line that
 * is no pattern. EMQX still knows those of its former versions. */
static bool has_letters(const struct facts *f, const struct facts_grant *g)
{
    bool has_percent = strstr(g->filter, "%u") != NULL || strstr(g->filter, "%c") != NULL;
    bool has_brace = strstr(g->filter, "${") != NULL;
    return (f->product == FACTS_SALLYPORT && has_percent) ||
           (f->product == FACTS_MOSQUITTO && (has_brace || (has_percent && !g->is_each)));
}

/* "sensors+" and "a#": a wildcard is a level of its own. */
static bool has_half_wildcard(const char *filter)
{
    struct slice rest = slice_text(filter);
    bool more = true, found = false;
    while (more) {
        struct slice level = slice_cut(&rest, '/', &more);
        found = found || (level.n > 1 && (memchr(level.p, '+', level.n) != NULL ||
                                          memchr(level.p, '#', level.n) != NULL));
    }
    return found;
}

/* Does `wide` have "+" where `narrow`, the same before, has the name of who asks? */
static bool is_wider_at_the_name(enum facts_product p, const char *wide, const char *narrow)
{
    struct slice a = slice_text(wide), b = slice_text(narrow);
    bool more_a = true, more_b = true;
    while (more_a && more_b) {
        struct slice x = slice_cut(&a, '/', &more_a), y = slice_cut(&b, '/', &more_b);
        char level[FACTS_TEXT];
        if (slice_is(x, "+") && slice_to_text(y, level, sizeof level) && has_place(p, level)) {
            return true;
        }
        if (!slice_equal(x, y)) {
            return false;
        }
    }
    return false;
}

static const struct facts_grant *narrower(const struct facts *f, const struct facts_grant *g)
{
    for (size_t i = 0; i < f->n_grants && g->can_publish && !g->is_service; i++) {
        const struct facts_grant *o = &f->grants[i];
        if (o->can_publish && strcmp(o->who, g->who) == 0 &&
            is_wider_at_the_name(f->product, g->filter, o->filter)) {
            return o;
        }
    }
    return NULL;
}

static enum err mixed(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_grants; i++) {
        const struct facts_grant *g = &f->grants[i];
        const struct facts_grant *o = narrower(f, g);
        if (has_letters(f, g)) {
            TRY(findings_add(ret, self, g->at, g->who, "%s: the placeholder in %s is letters here",
                             g->who, g->filter));
        } else if (has_half_wildcard(g->filter)) {
            TRY(findings_add(ret, self, g->at, g->who, "%s: the wildcard in %s is part of a level",
                             g->who, g->filter));
        } else if (o != NULL) {
            TRY(findings_add(ret, self, g->at, g->who,
                             "%s may publish to %s, which is %s for all names", g->who, g->filter,
                             o->filter));
        }
    }
    return OK;
}

const struct rule access_rules[] = {
    {"no-acl",
     SEVERITY_CRITICAL,
     "no rules about topics",
     "Each device can read all others and command them.",
     {"b d", "5.6", "access", "I3 I9"},
     {NULL,
      "acl_file /etc/mosquitto/aclfile\n# in it: pattern write sensors/%u/#\n"
      "#        pattern read commands/%u/#",
      "authorization.sources = [ { type = file, path = \"etc/acl.conf\" } ]\n"
      "authorization.no_match = deny",
      "auth.acl = { include \"/etc/nanomq_acl.conf\" }\nauth.no_match = deny"},
     no_acl},
    {"default-allow",
     SEVERITY_CRITICAL,
     "what no rule names is allowed",
     "One forgotten line in the rules opens a topic to everybody, and nothing shows it.",
     {"b d", "5.6", "access", "I3 I9"},
     {NULL, NULL, "authorization.no_match = deny", "auth.no_match = deny"},
     default_allow},
    {"deny-ignored",
     SEVERITY_LOW,
     "denied clients stay",
     "Somebody who probes for open topics can go on for as long as it takes.",
     {"d k", "5.6", "access state", "I3"},
     {NULL, NULL, "authorization.deny_action = disconnect", "auth.deny_action = disconnect"},
     deny_ignored},
    {"wide-grant",
     SEVERITY_CRITICAL,
     "a device that reaches every topic",
     "One opened device then reads, or commands, all others.",
     {"d g", "5.6 5.8", "access", "I3 I6"},
     {"subscribe: [ \"commands/${device}/#\" ]    # in policy.yaml, then\n"
      "sallyport policy check policy.yaml && sallyport policy apply policy.yaml",
      "pattern write sensors/%u/#\npattern read commands/%u/#",
      "{allow, all, publish, [\"sensors/${username}/#\"]}.\n{deny, all}.",
      "{allow, all, publish, [\"sensors/${username}/#\"]}.\n{deny, all}."},
     wide_grant},
    {"wide-service",
     SEVERITY_LOW,
     "a service that reaches every topic",
     "Its credential is worth as much as all others together: it should be the exception.",
     {"d g", "5.6", "access", "I3 I6"},
     {"subscribe: [ \"sensors/#\", \"status/#\" ]    # name what it needs, in policy.yaml",
      "user logger\ntopic read sensors/#    # name what it needs", NULL, NULL},
     wide_service},
    {"sys-open",
     SEVERITY_MEDIUM,
     "numbers and names of the broker for everybody",
     "$SYS tells who attacks which version runs, how it is loaded and whether an attack works.",
     {"e g", "5.6 5.8", "access", "I6"},
     {"# take the $SYS grant out of the role, then\nsallyport policy apply policy.yaml",
      "acl_file /etc/mosquitto/aclfile\n# in it: user operator\n#        topic read $SYS/#",
      "{allow, {username, \"operator\"}, subscribe, [\"$SYS/#\"]}.\n"
      "{deny, all, subscribe, [\"$SYS/#\"]}.",
      "{deny, all, subscribe, [\"$SYS/#\"]}."},
     sys_open},
    {"client-id-rule",
     SEVERITY_HIGH,
     "a rule on what a client calls itself",
     "A client id is a claim: with it in a rule, whoever claims it has the grant.",
     {"d", "5.5 5.6", "id access", "I3"},
     {NULL, "use_username_as_clientid true\npattern readwrite sensors/%u/#    # %u in place of %c",
      "# ${username} or ${cert_common_name} in place of ${clientid}",
      "# ${username} in place of ${clientid}"},
     client_id_rule},
    {"own-commands",
     SEVERITY_HIGH,
     "a device that may give commands",
     "An opened device then moves what others drive, or serves them firmware.",
     {"d f", "5.6 5.7", "access", "I3 I4"},
     {"# commands are for a role with kind: service; take the grant out of the other, then\n"
      "sallyport policy apply policy.yaml",
      "# user operator\n# topic write commands/#    and for devices only: pattern read "
      "commands/%u/#",
      "{allow, {username, \"operator\"}, publish, [\"commands/#\"]}.",
      "{allow, {user, \"operator\"}, publish, [\"commands/#\"]}."},
     own_commands},
    {"grant-everybody",
     SEVERITY_MEDIUM,
     "a topic that everybody may write",
     "Any client can speak there in the name of all others.",
     {"d f", "5.6", "access", "I3"},
     {NULL, "pattern write status/%u", "{allow, all, publish, [\"status/${username}\"]}.",
      "{allow, all, publish, [\"status/${username}\"]}."},
     everybody},
    {"grant-mixed",
     SEVERITY_MEDIUM,
     "a wildcard or a placeholder that is not what it seems",
     "The rule allows nothing, or all names where one was meant: nobody sees which.",
     {"d", "5.6", "access conf", "I3 I9"},
     {"publish: [ \"sensors/${device}/#\" ]    # the one placeholder for a name, in policy.yaml, "
      "then\nsallyport policy check policy.yaml && sallyport policy apply policy.yaml",
      "pattern write sensors/%u/#    # %u counts in lines of pattern only",
      "{allow, all, publish, [\"sensors/${username}/#\"]}.",
      "{allow, all, publish, [\"sensors/${username}/#\"]}."},
     mixed},
    {.id = NULL}};

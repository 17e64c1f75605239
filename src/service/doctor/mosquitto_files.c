/* The files that mosquitto.conf names: who may what, and by which secret. */
#include "service/doctor/lines.h"
#include "service/doctor/mosquitto_conf.h"
#include "service/doctor/weak_words.h"

/* ---- acl_file ---- */

/* Whose lines these are. */
struct acl_state {
    char user[FACTS_TEXT];
    bool has_user, has_anonymous;
};

static enum err add_grant(struct facts *f, const struct acl_state *s, struct facts_place at,
                          bool is_pattern, struct slice access, struct slice filter)
{
    bool is_read = lines_same(access, "read"), is_write = lines_same(access, "write");
    bool is_both = access.n == 0 || lines_same(access, "readwrite");
    if (!is_read && !is_write && !is_both) {
        return facts_unread(f, at, access, "an access is read, write, readwrite or deny");
    }
    if (!is_pattern && !s->has_user && !s->has_anonymous) {
        return OK; /* for clients without a name, and there are none */
    }
    struct facts_grant *g;
    TRY(facts_add_grant(f, &g));
    if (g == NULL) {
        return OK;
    }
    g->at = at;
    g->can_publish = is_write || is_both;
    g->can_subscribe = is_read || is_both;
    facts_text(g->filter, filter);
    bool has_client_id = strstr(g->filter, "%c") != NULL,
         has_user = strstr(g->filter, "%u") != NULL;
    g->is_client_id = is_pattern && has_client_id && !has_user;
    g->is_each = is_pattern;
    g->is_service = !is_pattern && s->has_user && !g->can_publish;
    g->is_everybody = (is_pattern && !has_client_id && !has_user) || (!is_pattern && !s->has_user);
    facts_text(g->who, is_pattern     ? slice_text("everybody")
                       : !s->has_user ? slice_text("whoever has no name")
                                      : slice_text(s->user));
    return OK;
}

static enum err read_topic(struct facts *f, const struct acl_state *s, struct facts_place at,
                           bool is_pattern, struct slice rest)
{
    struct slice whole = rest, access = words_next(&rest);
    if (lines_same(access, "deny")) {
        return OK;
    }
    bool has_access = lines_same(access, "read") || lines_same(access, "write") ||
                      lines_same(access, "readwrite");
    struct slice filter = has_access ? rest : whole;
    return filter.n == 0
               ? facts_unread(f, at, whole, "names no topic")
               : add_grant(f, s, at, is_pattern, has_access ? access : (struct slice){0}, filter);
}

enum err mosquitto_acl_read(struct slice text, uint32_t file, bool anonymous, struct facts *f)
{
    struct lines lines = {.rest = text};
    struct acl_state state = {.has_anonymous = anonymous};
    struct slice line;
    while (lines_next(&lines, &line)) {
        struct facts_place at = {file, lines.number};
        struct slice rest = line, word = words_next(&rest);
        if (word.n == 0 || word.p[0] == '#') {
            continue;
        }
        if (line.n > MOSQUITTO_LINE_MAX) {
            TRY(facts_unread(f, at, line, "too long"));
        } else if (slice_is(word, "user") && rest.n > 0) {
            facts_text(state.user, rest);
            state.has_user = true;
        } else if (slice_is(word, "topic") || slice_is(word, "pattern")) {
            TRY(read_topic(f, &state, at, slice_is(word, "pattern"), rest));
        } else {
            TRY(facts_unread(f, at, line, "a rule begins with user, topic or pattern"));
        }
    }
    return OK;
}

/* ---- password_file, psk_file: NAME:SECRET ---- */

static enum facts_secret kind_of(struct slice secret)
{
    if (slice_has_prefix(secret, slice_text("$7$")) ||
        slice_has_prefix(secret, slice_text("$argon2id$"))) {
        return FACTS_SECRET_HASHED;
    }
    return slice_has_prefix(secret, slice_text("$6$")) ? FACTS_SECRET_FAST : FACTS_SECRET_CLEAR;
}

static enum err add_account(struct facts *f, struct facts_place at, bool is_key, struct slice name,
                            struct slice secret)
{
    struct facts_account *a;
    TRY(facts_add_account(f, &a));
    if (a == NULL) {
        return OK;
    }
    a->at = at;
    facts_text(a->name, name);
    a->kind = is_key ? FACTS_SECRET_PSK : kind_of(secret);
    a->bits = is_key ? (uint32_t)(4 * secret.n) : 0;
    a->is_default = a->kind == FACTS_SECRET_CLEAR && is_weak_word(name, secret);
    return secret.n > 0 ? facts_likeness(secret, &a->likeness) : OK;
}

static enum err read_pairs(struct slice text, uint32_t file, bool is_key, struct facts *f)
{
    struct lines lines = {.rest = text};
    struct slice line;
    while (lines_next(&lines, &line)) {
        struct facts_place at = {file, lines.number};
        struct slice secret = line;
        bool more = false;
        struct slice name = slice_cut(&secret, ':', &more);
        if (line.n == 0 || line.p[0] == '#') {
            continue;
        }
        if (line.n > MOSQUITTO_LINE_MAX || !more || name.n == 0) {
            /* Not shown: it may be a secret. */
            TRY(facts_unread(f, at, (struct slice){0}, "a line is NAME:SECRET"));
        } else {
            TRY(add_account(f, at, is_key, name, secret));
        }
    }
    return OK;
}

enum err mosquitto_passwords_read(struct slice text, uint32_t file, struct facts *f)
{
    return read_pairs(text, file, false, f);
}

enum err mosquitto_keys_read(struct slice text, uint32_t file, struct facts *f)
{
    return read_pairs(text, file, true, f);
}

/* Claim tokens of the authority in this process: made, asked for, listed, taken back. */
#include <jansson.h>

#include "base/mem.h"
#include "security/identity/identity.h"
#include "service/pki/authority_own_private.h"

enum { TOKEN_JSON_MAX = 8 * 1024, TOKEN_LISTED_MAX = 2 * 1024 };

static void json_release(json_t **j)
{
    json_decref(*j);
}

static enum err check_claim(const struct authority_claim *c, int64_t now_wall_ms, struct why *why)
{
    AUTO(json_release)
    json_t *attrs = c->attrs_json.n > 0 ? json_loadb((const char *)c->attrs_json.p, c->attrs_json.n,
                                                     JSON_REJECT_DUPLICATES, NULL)
                                        : json_object();
    bool good = (c->name.n > 0) != (c->pattern.n > 0) &&
                (c->name.n == 0 || identity_name_ok(c->name)) &&
                c->pattern.n <= REGISTER_PATTERN_MAX && c->role.n <= REGISTER_ROLE_MAX &&
                c->attrs_json.n <= REGISTER_ATTRS_MAX && json_is_object(attrs);
    if (!good) {
        why_set(why, "a claim token is for one name or for a pattern of names, with a role and "
                     "attributes as `device add` takes them");
        return ERR_MALFORMED;
    }
    if (c->uses == 0 || c->expires_wall_ms <= now_wall_ms) {
        why_set(why, "a claim token that is good for nothing, or over already, is of no use");
        return ERR_MALFORMED;
    }
    return OK;
}

enum err authority_own_token_make(struct authority *base, const struct authority_claim *c,
                                  int64_t now_wall_ms, char ret[AUTHORITY_TOKEN_BYTES],
                                  struct why *why)
{
    struct authority_own *a = authority_own_of(base);
    char text[AUTHORITY_TOKEN_BYTES];
    TRY(check_claim(c, now_wall_ms, why));
    authority_token_random(&a->setup.random, text);
    enum err err = register_token_add(a->setup.reg, slice_text(text), c, now_wall_ms);
    if (err == ERR_LIMIT) {
        why_set(why, "%d claim tokens are open already: let some of them end", REGISTER_TOKENS_MAX);
    }
    if (err == OK) {
        memcpy(ret, text, sizeof text);
    }
    mem_wipe(text, sizeof text);
    return err;
}

enum err authority_own_token_ask(struct authority *base, struct slice token, int64_t now_wall_ms,
                                 struct buf *ret_json)
{
    char no_attrs[] = "{}";
    const struct register_token none = {.attrs_json = no_attrs};
    char text[AUTHORITY_TOKEN_BYTES] = "";
    const struct register_token *t = NULL;
    bool is_text = authority_token_text(token, text) == OK;
    t = register_token_find(authority_own_of(base)->setup.reg, slice_text(text));
    bool is_good = is_text && t != NULL && t->uses > 0 && t->expires_wall_ms > now_wall_ms;
    t = is_good ? t : &none;
    AUTO(json_release)
    json_t *attrs =
        json_loads(t->attrs_json[0] != '\0' ? t->attrs_json : "{}", JSON_REJECT_DUPLICATES, NULL);
    AUTO(json_release)
    json_t *all = json_pack("{s:s,s:s,s:s,s:O,s:I,s:I}", "name", t->name, "pattern", t->pattern,
                            "role", t->role, "attrs", attrs, "expires",
                            (json_int_t)t->expires_wall_ms, "uses", (json_int_t)t->uses);
    char dump[TOKEN_JSON_MAX];
    size_t n = all != NULL ? json_dumpb(all, dump, sizeof dump, JSON_COMPACT) : 0;
    if (n == 0 || n > sizeof dump) {
        return ERR_NOMEM;
    }
    return is_good ? buf_append(ret_json, slice_of(dump, n), SIZE_MAX) : ERR_AUTH;
}

static bool is_in_force(const struct register_token *t, int64_t now_wall_ms)
{
    return t->uses > 0 && t->expires_wall_ms > now_wall_ms;
}

/* Out of the keyed hash: who reads it in a terminal has no token. */
static void id_of(const struct register_token *t, char ret[AUTHORITY_TOKEN_ID_BYTES])
{
    char hex[DIGEST_HEX_BYTES];
    digest_hex(&t->hash, hex);
    (void)slice_to_text(slice_head(slice_text(hex), AUTHORITY_TOKEN_ID_BYTES - 1), ret,
                        AUTHORITY_TOKEN_ID_BYTES);
}

static enum err list_one(const struct register_token *t, struct buf *ret)
{
    char id[AUTHORITY_TOKEN_ID_BYTES], dump[TOKEN_LISTED_MAX];
    id_of(t, id);
    AUTO(json_release)
    json_t *line = json_pack("{s:s,s:s,s:s,s:s,s:I,s:I}", "id", id, "name", t->name, "pattern",
                             t->pattern, "role", t->role, "uses", (json_int_t)t->uses, "expires",
                             (json_int_t)t->expires_wall_ms);
    size_t n = line != NULL ? json_dumpb(line, dump, sizeof dump - 1, JSON_COMPACT) : 0;
    if (n == 0 || n >= sizeof dump) {
        return ERR_NOMEM;
    }
    dump[n] = '\n';
    return buf_append(ret, slice_of(dump, n + 1), AUTHORITY_TOKENS_MAX_BYTES);
}

enum err authority_own_tokens(struct authority *base, int64_t now_wall_ms, struct buf *ret_lines)
{
    const struct register_token *t;
    size_t at = 0, before = ret_lines->n;
    enum err err = OK;
    while (err == OK && (t = register_token_next(authority_own_of(base)->setup.reg, &at)) != NULL) {
        err = is_in_force(t, now_wall_ms) ? list_one(t, ret_lines) : OK;
    }
    ret_lines->n = err == OK ? ret_lines->n : before;
    return err;
}

static struct register_token *find_meant(const struct pki_register *reg, struct slice which)
{
    char text[AUTHORITY_TOKEN_BYTES], id[AUTHORITY_TOKEN_ID_BYTES];
    struct register_token *t = NULL;
    size_t at = 0;
    if (authority_token_text(which, text) == OK) {
        t = register_token_find(reg, slice_text(text));
        mem_wipe(text, sizeof text);
        return t;
    }
    while ((t = register_token_next(reg, &at)) != NULL) {
        id_of(t, id);
        if (slice_is(which, id)) {
            return t;
        }
    }
    return NULL;
}

enum err authority_own_token_cancel(struct authority *base, struct slice which, int64_t now_wall_ms,
                                    char ret_id[AUTHORITY_TOKEN_ID_BYTES], struct why *why)
{
    struct pki_register *reg = authority_own_of(base)->setup.reg;
    struct register_token *t = find_meant(reg, which);
    char id[AUTHORITY_TOKEN_ID_BYTES];
    if (t == NULL || !is_in_force(t, now_wall_ms)) {
        why_set(why, "no claim token in force is meant by that: it was used up, cancelled, or its "
                     "time is over. `sallyport enrol tokens` lists them with their ids");
        return ERR_NOT_FOUND;
    }
    id_of(t, id);
    TRY(register_token_cancel(reg, t, now_wall_ms));
    memcpy(ret_id, id, sizeof id);
    return OK;
}

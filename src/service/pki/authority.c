#include "service/pki/authority.h"

#include "service/pki/authority_private.h"

struct authority *authority_free(struct authority *a)
{
    return a != NULL ? a->ops->free(a) : NULL;
}

void authority_certificate_done(struct authority_certificate *c)
{
    buf_done(&c->leaf_der);
    buf_done(&c->chain_pem);
    buf_done(&c->trusted_pem);
    buf_wipe(&c->key_pem);
    *c = (struct authority_certificate){0};
}

MUST_USE enum err authority_issue(struct authority *a, const struct authority_order *o,
                                  int64_t now_wall_ms, struct authority_certificate *ret,
                                  struct why *why)
{
    return a->ops->issue(a, o, now_wall_ms, ret, why);
}

MUST_USE enum err authority_issue_server(struct authority *a, struct slice csr_der,
                                         int64_t now_wall_ms, struct authority_certificate *ret,
                                         struct why *why)
{
    return a->ops->issue_server(a, csr_der, now_wall_ms, ret, why);
}

MUST_USE enum err authority_revoke(struct authority *a, struct slice name,
                                   const struct authority_serial *serial,
                                   enum authority_reason reason, int64_t now_wall_ms)
{
    return a->ops->revoke(a, name, serial, reason, now_wall_ms);
}

MUST_USE enum err authority_crl(struct authority *a, int64_t now_wall_ms, struct buf *ret_der,
                                int64_t *ret_next_update_wall_ms)
{
    return a->ops->crl(a, now_wall_ms, ret_der, ret_next_update_wall_ms);
}

MUST_USE enum err authority_ocsp(struct authority *a, struct slice request_der, int64_t now_wall_ms,
                                 struct buf *ret_der)
{
    return a->ops->ocsp(a, request_der, now_wall_ms, ret_der);
}

MUST_USE enum err authority_enrol(struct authority *a, struct slice name, const struct digest *spki,
                                  int64_t now_wall_ms, struct why *why)
{
    return a->ops->enrol(a, name, spki, now_wall_ms, why);
}

MUST_USE enum err authority_allow(struct authority *a, struct slice name, int64_t now_wall_ms,
                                  struct why *why)
{
    return a->ops->allow(a, name, now_wall_ms, why);
}

bool authority_is_operators(const struct authority *a)
{
    return a->ops->is_operators(a);
}

MUST_USE enum err authority_forget(struct authority *a, struct slice name, int64_t now_wall_ms)
{
    return a->ops->forget(a, name, now_wall_ms);
}

MUST_USE enum err authority_token_make(struct authority *a, const struct authority_claim *c,
                                       int64_t now_wall_ms, char ret[AUTHORITY_TOKEN_BYTES],
                                       struct why *why)
{
    return a->ops->token_make(a, c, now_wall_ms, ret, why);
}

MUST_USE enum err authority_tokens(struct authority *a, int64_t now_wall_ms, struct buf *ret_lines)
{
    return a->ops->tokens(a, now_wall_ms, ret_lines);
}

MUST_USE enum err authority_token_cancel(struct authority *a, struct slice which,
                                         int64_t now_wall_ms, char ret_id[AUTHORITY_TOKEN_ID_BYTES],
                                         struct why *why)
{
    return a->ops->token_cancel(a, which, now_wall_ms, ret_id, why);
}

MUST_USE enum err authority_roll(struct authority *a, enum authority_roll_step step,
                                 int64_t now_wall_ms, struct why *why)
{
    return a->ops->roll(a, step, now_wall_ms, why);
}

MUST_USE enum err authority_host(struct authority *a, struct slice host, struct why *why)
{
    return a->ops->host(a, host, why);
}

MUST_USE enum err authority_reload(struct authority *a, struct why *why)
{
    return a->ops->reload(a, why);
}

MUST_USE enum err authority_token_ask(struct authority *a, struct slice token, int64_t now_wall_ms,
                                      struct buf *ret_json)
{
    return a->ops->token_ask(a, token, now_wall_ms, ret_json);
}

/* ---- texts ---- */

enum { TOKEN_CHARS = 20, TOKEN_GROUP = 5 };

/* One that a person reads aloud: no I, L, O, U. */
static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static char read_char(uint8_t c)
{
    char up = (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    up = up == 'O' ? '0' : up == 'I' || up == 'L' ? '1' : up;
    return up != '\0' && strchr(alphabet, up) != NULL ? up : '\0';
}

MUST_USE enum err authority_token_text(struct slice typed, char ret[AUTHORITY_TOKEN_BYTES])
{
    char text[AUTHORITY_TOKEN_BYTES] = "";
    size_t n = 0, at = 0;
    for (size_t i = 0; i < typed.n; i++) {
        char c = read_char(typed.p[i]);
        if (typed.p[i] == '-' || typed.p[i] == ' ') {
            continue;
        }
        if (c == '\0' || n == TOKEN_CHARS) {
            return ERR_MALFORMED;
        }
        if (n > 0 && n % TOKEN_GROUP == 0) {
            text[at++] = '-';
        }
        text[at++] = c;
        n++;
    }
    if (n != TOKEN_CHARS) {
        return ERR_MALFORMED;
    }
    memcpy(ret, text, sizeof text);
    return OK;
}

void authority_token_random(const struct random_source *random, char ret[AUTHORITY_TOKEN_BYTES])
{
    uint8_t bytes[TOKEN_CHARS];
    char chars[TOKEN_CHARS];
    random->fill(random->ctx, bytes, sizeof bytes);
    for (size_t i = 0; i < TOKEN_CHARS; i++) {
        chars[i] = alphabet[bytes[i] % (sizeof alphabet - 1)];
    }
    enum err err = authority_token_text(slice_of(chars, sizeof chars), ret);
    assert(err == OK);
    (void)err;
}

bool authority_pattern_matches(struct slice pattern, struct slice name)
{
    size_t p = 0, n = 0;
    size_t star = SIZE_MAX, star_n = 0; /* the last '*', and where its run ends as tried */
    while (n < name.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            star_n = n;
        } else if (p < pattern.n && pattern.p[p] == name.p[n]) {
            p++;
            n++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            n = ++star_n;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*') {
        p++;
    }
    return p == pattern.n;
}

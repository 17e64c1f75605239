#include "security/token/jwt.h"

#include <assert.h>

#include "base/base64.h"
#include "security/token/token_private.h"

enum {
    SIGNATURE_BYTES = BASE64_BYTES_MAX(BASE64_TEXT_BYTES(SIGKEY_BYTES_MAX)),
    PAYLOAD_BYTES = BASE64_BYTES_MAX(JWT_BYTES_MAX),
    MS = 1000
};

/* Year 9999: all above is a mistake. */
static const double TIME_MAX_S = 253402300799.0;

struct parts {
    struct slice header, payload, signature; /* base64url */
    struct slice signed_text;
};

static enum err split(struct slice token, struct parts *ret)
{
    bool more = false;
    struct slice rest = token;
    struct parts p = {.header = slice_cut(&rest, '.', &more)};
    if (!more) {
        return ERR_MALFORMED;
    }
    p.payload = slice_cut(&rest, '.', &more);
    p.signature = rest;
    /* A fourth dot would be encryption, which we do not speak. */
    if (!more || slice_find(rest, '.') != rest.n || p.header.n == 0 || p.payload.n == 0) {
        return ERR_MALFORMED;
    }
    p.signed_text = slice_head(token, p.header.n + 1 + p.payload.n);
    *ret = p;
    return OK;
}

/* A part of the token as JSON. */
static enum err part_json(struct slice part, uint8_t *dst, size_t cap, json_t **ret)
{
    size_t n = 0;
    enum err err = base64_decode(BASE64_URL, part, dst, cap, &n);
    TRY(err == ERR_SPACE ? ERR_TOO_LARGE : err);
    return token_parse(slice_of(dst, n), ret);
}

/* ---- header ---- */

static bool find_alg(struct slice name, enum sigkey_alg *ret)
{
    for (enum sigkey_alg a = SIGKEY_RS256; a < SIGKEY_ALGS; a++) {
        if (slice_is(name, sigkey_alg_name(a))) {
            *ret = a;
            return true;
        }
    }
    return false;
}

static bool is_same_ignoring_case(struct slice a, const char *lower)
{
    struct slice b = slice_text(lower);
    bool same = a.n == b.n;
    for (size_t i = 0; same && i < a.n; i++) {
        uint8_t c = a.p[i] >= 'A' && a.p[i] <= 'Z' ? (uint8_t)(a.p[i] + 32) : a.p[i];
        same = c == b.p[i];
    }
    return same;
}

/* A token made for something else (an identity for a browser's logout, a proof of a key) is signed
 * by the same issuer; its type tells it apart. SPEC: RFC8725 3.11 */
static bool type_is_ours(const json_t *typ)
{
    static const char *const ours[] = {"jwt", "application/jwt", "at+jwt", "application/at+jwt"};
    bool found = typ == NULL;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        found = found || is_same_ignoring_case(token_text(typ), ours[i]);
    }
    return found;
}

/* The key that a token is checked with. When its own is not there, or is for something else, the
 * verdict is decided and another key of the algorithm does the work: what keys there are does not
 * show in the time. */
struct choice {
    const struct sigkey *key; /* NULL: none of this algorithm, for whomever */
    enum err verdict;
};

static enum err check_header(const json_t *header, const struct jwks *keys, struct why *why,
                             struct choice *ret)
{
    const json_t *kid = json_object_get(header, "kid");
    const json_t *alg_member = json_object_get(header, "alg");
    enum sigkey_alg alg;
    if (!json_is_string(alg_member) || (kid != NULL && !json_is_string(kid))) {
        why_set(why, "the token's header has no algorithm, or a key id that is no text");
        return ERR_MALFORMED;
    }
    if (json_object_get(header, "crit") != NULL) {
        why_set(why, "the token asks for extensions (crit); none is known here");
        return ERR_UNSUPPORTED; /* SPEC: RFC7515 4.1.11 */
    }
    if (!find_alg(token_text(alg_member), &alg)) {
        why_set(why, "the token's algorithm is none of RS256, ES256 and EdDSA: let the issuer "
                     "sign with one of these");
        return ERR_UNSUPPORTED; /* SPEC: RFC8725 3.1, 3.2 */
    }
    if (!type_is_ours(json_object_get(header, "typ"))) {
        why_set(why, "the token's type is neither JWT nor at+jwt: it was made for another use");
        return ERR_UNSUPPORTED;
    }
    const struct sigkey *key = jwks_find(keys, kid != NULL, token_text(kid));
    if (key == NULL) {
        why_set(why, kid == NULL ? "the token names no key, and the key set has several"
                                 : "the key set has no key of the id that the token names");
        *ret = (struct choice){jwks_any(keys, alg), ERR_NOT_FOUND};
        return OK;
    }
    if (sigkey_alg_of(key) != alg) {
        why_set(why, "the token says %s, but its key is for %s only", sigkey_alg_name(alg),
                sigkey_alg_name(sigkey_alg_of(key)));
        *ret = (struct choice){jwks_any(keys, alg), ERR_UNSUPPORTED}; /* SPEC: RFC8725 3.1 */
        return OK;
    }
    *ret = (struct choice){key, OK};
    return OK;
}

/* ---- claims ---- */

static enum err read_time(const json_t *claims, const char *name, bool *ret_has, int64_t *ret_ms)
{
    const json_t *v = json_object_get(claims, name);
    *ret_has = v != NULL;
    if (v == NULL) {
        return OK;
    }
    double s = json_number_value(v);
    if (!json_is_number(v) || !(s >= 0 && s <= TIME_MAX_S)) {
        return ERR_MALFORMED;
    }
    *ret_ms = (int64_t)(s * MS);
    return OK;
}

static enum err check_times(const json_t *claims, const struct jwt_rules *rules,
                            int64_t now_wall_ms, struct why *why, int64_t *ret_expires)
{
    int64_t skew_ms = (int64_t)rules->skew_s * MS;
    int64_t exp = 0;
    int64_t nbf = 0;
    int64_t iat = 0;
    bool has_exp = false;
    bool has_nbf = false;
    bool has_iat = false;
    if (read_time(claims, "exp", &has_exp, &exp) != OK ||
        read_time(claims, "nbf", &has_nbf, &nbf) != OK ||
        read_time(claims, "iat", &has_iat, &iat) != OK) {
        why_set(why, "exp, nbf or iat of the token is no time");
        return ERR_MALFORMED;
    }
    if (!has_exp) {
        why_set(why, "the token has no end (exp): let the issuer set one");
        return ERR_DENIED;
    }
    if (now_wall_ms >= exp + skew_ms) {
        why_set(why, "the token's time is over: let the client get a new one before exp");
        return ERR_EXPIRED; /* SPEC: RFC7519 4.1.4 */
    }
    /* SPEC: RFC7519 4.1.5, 4.1.6 */
    if ((has_nbf && nbf > now_wall_ms + skew_ms) || (has_iat && iat > now_wall_ms + skew_ms)) {
        why_set(why, "the token begins in the future (nbf, iat): are the clocks right?");
        return ERR_DENIED;
    }
    *ret_expires = exp + skew_ms;
    return OK;
}

/* SPEC: RFC7519 4.1.3: one text, or an array of texts with ours among them. */
static enum err check_audience(const json_t *aud, struct slice ours, struct why *why)
{
    bool found = json_is_string(aud) && slice_equal(token_text(aud), ours);
    if (aud != NULL && !json_is_string(aud) &&
        (!json_is_array(aud) || json_array_size(aud) > JWT_AUDIENCES_MAX)) {
        why_set(why, "aud of the token is neither a text nor at most %d texts", JWT_AUDIENCES_MAX);
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < json_array_size(aud); i++) {
        const json_t *one = json_array_get(aud, i);
        if (!json_is_string(one)) {
            why_set(why, "aud of the token holds something that is no text");
            return ERR_MALFORMED;
        }
        found = found || slice_equal(token_text(one), ours);
    }
    if (!found) {
        why_set(why, "the token is for another audience than %.*s: let the issuer name it in aud",
                SLICE_ARG(ours));
        return ERR_DENIED;
    }
    return OK;
}

static enum err check_claims(const json_t *claims, const struct jwt_rules *rules,
                             int64_t now_wall_ms, struct why *why, struct jwt_claims *ret)
{
    struct jwt_claims c = {.subject = ""};
    const json_t *iss = json_object_get(claims, "iss");
    const json_t *sub = json_object_get(claims, "sub");
    if ((iss != NULL && !json_is_string(iss)) || (sub != NULL && !json_is_string(sub))) {
        why_set(why, "iss or sub of the token is no text");
        return ERR_MALFORMED;
    }
    if (iss == NULL || !slice_equal(token_text(iss), rules->issuer)) {
        why_set(why, "the token's issuer (iss) is not %.*s", SLICE_ARG(rules->issuer));
        return ERR_DENIED;
    }
    TRY(check_audience(json_object_get(claims, "aud"), rules->audience, why));
    TRY(check_times(claims, rules, now_wall_ms, why, &c.expires_wall_ms));
    if (token_text(sub).n == 0 || !slice_to_text(token_text(sub), c.subject, sizeof c.subject)) {
        why_set(why, "the token's subject (sub) is missing, or longer than %d bytes",
                JWT_SUBJECT_MAX);
        return ERR_DENIED;
    }
    *ret = c;
    return OK;
}

/* ---- all of it ---- */

static enum err find_key(struct slice part, const struct jwks *keys, struct why *why,
                         struct choice *ret)
{
    AUTO(token_json_autofree) json_t *header = NULL;
    uint8_t bytes[JWT_HEADER_MAX];
    enum err err = part_json(part, bytes, sizeof bytes, &header);
    if (err != OK) {
        why_set(why, "the token's header cannot be read, or has more than %d bytes",
                JWT_HEADER_MAX);
        return err;
    }
    return check_header(header, keys, why, ret);
}

static enum err check_signature(const struct parts *p, const struct choice *choice, struct why *why)
{
    uint8_t bytes[SIGNATURE_BYTES];
    size_t n = 0;
    enum err err = base64_decode(BASE64_URL, p->signature, bytes, sizeof bytes, &n);
    if (err == OK && choice->key != NULL) {
        err = sigkey_verify(choice->key, p->signed_text, slice_of(bytes, n));
    } else if (err == ERR_SPACE) {
        err = ERR_AUTH;
    }
    TRY(choice->verdict); /* *why has its reason already */
    if (err == ERR_AUTH) {
        why_set(why, "the token's signature is not its key's");
    } else if (err == ERR_MALFORMED) {
        why_set(why, "the token's signature is no canonical base64url");
    }
    return err;
}

enum err jwt_issuer(struct slice token, char *dst, size_t cap)
{
    struct parts p;
    uint8_t bytes[PAYLOAD_BYTES];
    AUTO(token_json_autofree) json_t *claims = NULL;
    if (token.n > JWT_BYTES_MAX) {
        return ERR_TOO_LARGE;
    }
    TRY(split(token, &p));
    TRY(part_json(p.payload, bytes, sizeof bytes, &claims));
    const json_t *iss = json_object_get(claims, "iss");
    bool is_one = json_is_string(iss) && slice_to_text(token_text(iss), dst, cap);
    return is_one ? OK : ERR_DENIED;
}

enum err jwt_verify(struct slice token, const struct jwks *keys, const struct jwt_rules *rules,
                    int64_t now_wall_ms, struct why *why, struct jwt_claims *ret)
{
    assert(rules->issuer.n > 0 && rules->audience.n > 0 && rules->skew_s <= JWT_SKEW_MAX_S);
    struct parts p;
    struct choice choice = {.verdict = ERR_AUTH};
    uint8_t bytes[PAYLOAD_BYTES];
    AUTO(token_json_autofree) json_t *claims = NULL;
    if (token.n > JWT_BYTES_MAX) {
        why_set(why, "the token has more than %d bytes", JWT_BYTES_MAX);
        return ERR_TOO_LARGE;
    }
    if (split(token, &p) != OK) {
        why_set(why, "this is no signed token: it does not have three parts");
        return ERR_MALFORMED;
    }
    TRY(find_key(p.header, keys, why, &choice));
    TRY(check_signature(&p, &choice, why));
    enum err err = part_json(p.payload, bytes, sizeof bytes, &claims);
    if (err != OK) {
        why_set(why, "the token's claims cannot be read");
        return err;
    }
    return check_claims(claims, rules, now_wall_ms, why, ret);
}

#include "security/password/scram.h"

#include <assert.h>

#include "base/base64.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/utf8.h"
#include "security/crypto/kdf.h"

enum scram_state { SCRAM_BEGUN, SCRAM_CHALLENGED, SCRAM_OVER };

enum {
    GS2_MAX = SCRAM_MESSAGE_MAX,
    NONCE_ALL_MAX = SCRAM_NONCE_MAX + SCRAM_NONCE_CHARS + 8,
    AUTH_MESSAGE_MAX = 3 * SCRAM_MESSAGE_MAX + 2
};

struct scram {
    enum scram_state state;
    char name[SCRAM_NAME_MAX + 1];
    uint8_t gs2[GS2_MAX]; /* what comes before the bare message */
    size_t gs2_n;
    uint8_t nonce[NONCE_ALL_MAX]; /* the client's, later with ours behind it */
    size_t nonce_n;
    uint8_t said[AUTH_MESSAGE_MAX]; /* client-first-bare "," server-first "," ... */
    size_t said_n;
    size_t n;
    struct scram_keys keys[SCRAM_KEYS_MAX]; /* zero beyond n */
};

struct scram *scram_free(struct scram *s)
{
    if (s != NULL) {
        mem_wipe(s, sizeof *s);
        mem_free(s);
    }
    return NULL;
}

const char *scram_name(const struct scram *s)
{
    return s->name;
}

/* ---- what is kept ---- */

enum err scram_salt_of(struct slice key, struct slice name, struct scram_salt *ret)
{
    struct digest d;
    TRY(digest_hmac(key, name, &d));
    memcpy(ret->bytes, d.bytes, sizeof ret->bytes);
    ret->iterations = SCRAM_ITERATIONS;
    return OK;
}

static bool is_printable(struct slice text)
{
    bool ok = text.n > 0;
    for (size_t i = 0; i < text.n; i++) {
        ok = ok && text.p[i] > ' ' && text.p[i] < 0x7f;
    }
    return ok;
}

enum err scram_make(struct slice password, const struct scram_salt *salt, struct scram_keys *ret)
{
    struct digest salted;
    struct digest client_key;
    struct scram_keys keys;
    if (!is_printable(password)) {
        return ERR_MALFORMED;
    }
    TRY(kdf_pbkdf2(password, slice_of(salt->bytes, sizeof salt->bytes), salt->iterations,
                   salted.bytes, sizeof salted.bytes));
    enum err err = digest_hmac(digest_slice(&salted), slice_text("Client Key"), &client_key);
    err = err == OK ? digest_sha256(digest_slice(&client_key), &keys.stored_key) : err;
    err = err == OK ? digest_hmac(digest_slice(&salted), slice_text("Server Key"), &keys.server_key)
                    : err;
    mem_wipe(&salted, sizeof salted);
    mem_wipe(&client_key, sizeof client_key);
    TRY(err);
    *ret = keys;
    return OK;
}

void scram_nonce(const struct random_source *random, uint8_t ret[SCRAM_NONCE_CHARS])
{
    uint8_t bits[SCRAM_NONCE_CHARS / 4 * 3];
    random->fill(random->ctx, bits, sizeof bits);
    struct wr w = wr_into(ret, SCRAM_NONCE_CHARS);
    base64_encode(BASE64_PADDED, slice_of(bits, sizeof bits), &w);
}

/* ---- attributes ---- */

/* The value of the next attribute, which must be this one; takes it and the comma behind it.
 * *ret_more: there was a comma. */
static enum err attribute(struct slice *rest, char name, struct slice *ret, bool *ret_more)
{
    struct slice one = slice_cut(rest, ',', ret_more);
    if (one.n < 2 || one.p[0] != (uint8_t)name || one.p[1] != '=') {
        return ERR_MALFORMED;
    }
    *ret = slice_from(one, 2);
    return OK;
}

/* A name as the message writes it: =2C is a comma, =3D an equals sign, no other '='. One that does
 * not fit or is no text stays empty, for it is nobody's. SPEC: RFC5802 5.1 */
static enum err read_name(struct slice text, char dst[SCRAM_NAME_MAX + 1])
{
    char name[SCRAM_NAME_MAX + 1];
    struct wr w = wr_into(name, SCRAM_NAME_MAX);
    if (text.n == 0 || utf8_check(text, UTF8_STRICT, NULL) != OK) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != '=') {
            wr_u8(&w, text.p[i]);
            continue;
        }
        struct slice code = slice_head(slice_from(text, i), 3);
        if (!slice_is(code, "=2C") && !slice_is(code, "=3D")) {
            return ERR_MALFORMED;
        }
        wr_u8(&w, slice_is(code, "=2C") ? ',' : '=');
        i += 2;
    }
    bool fits = slice_to_text(wr_slice(&w), dst, SCRAM_NAME_MAX + 1);
    (void)fits;
    return OK;
}

/* Extensions that we need not understand: letter, '=', value. */
static enum err skip_extensions(struct slice rest)
{
    for (bool more = true; more;) {
        struct slice one = slice_cut(&rest, ',', &more);
        bool is_letter =
            one.n > 2 && ((one.p[0] | 32) >= 'a' && (one.p[0] | 32) <= 'z') && one.p[1] == '=';
        if (!is_letter || slice_find(one, 0) != one.n) {
            return ERR_MALFORMED;
        }
    }
    return OK;
}

/* ---- the client's first ---- */

/* "n,," or "y,,", with "a=name" in between. SPEC: RFC5802 7, gs2-header */
static enum err read_gs2(struct scram *s, struct slice message, struct slice *ret_bare,
                         struct slice *ret_for)
{
    bool more = false;
    struct slice rest = message;
    struct slice flag = slice_cut(&rest, ',', &more);
    if (slice_has_prefix(flag, slice_text("p="))) {
        return ERR_UNSUPPORTED;
    }
    if (!more || (!slice_is(flag, "n") && !slice_is(flag, "y"))) {
        return ERR_MALFORMED;
    }
    struct slice authzid = slice_cut(&rest, ',', &more);
    if (!more || (authzid.n > 0 && !slice_has_prefix(authzid, slice_text("a=")))) {
        return ERR_MALFORMED;
    }
    s->gs2_n = message.n - rest.n;
    slice_copy(s->gs2, slice_head(message, s->gs2_n));
    *ret_bare = rest;
    *ret_for = authzid;
    return OK;
}

static enum err read_first(struct scram *s, struct slice message)
{
    struct slice rest;
    struct slice authzid;
    struct slice name;
    struct slice nonce;
    char for_name[SCRAM_NAME_MAX + 1] = "";
    bool more = false;
    TRY(read_gs2(s, message, &rest, &authzid));
    s->said_n = rest.n;
    slice_copy(s->said, rest);
    if (slice_has_prefix(rest, slice_text("m="))) {
        return ERR_UNSUPPORTED; /* SPEC: RFC5802 5.1, reserved-mext */
    }
    TRY(attribute(&rest, 'n', &name, &more));
    TRY(read_name(name, s->name));
    if (!more) {
        return ERR_MALFORMED;
    }
    TRY(attribute(&rest, 'r', &nonce, &more));
    if (nonce.n > SCRAM_NONCE_MAX) {
        return ERR_TOO_LARGE;
    }
    if (nonce.n < SCRAM_NONCE_MIN || !is_printable(nonce)) {
        return ERR_MALFORMED;
    }
    TRY(more ? skip_extensions(rest) : OK);
    s->nonce_n = nonce.n;
    slice_copy(s->nonce, nonce);
    if (authzid.n > 0) {
        TRY(read_name(slice_from(authzid, 2), for_name));
        return slice_is(slice_text(for_name), s->name) ? OK : ERR_DENIED;
    }
    return OK;
}

enum err scram_new(struct slice client_first, struct scram **ret)
{
    if (client_first.n > SCRAM_MESSAGE_MAX) {
        return ERR_TOO_LARGE;
    }
    AUTO(scram_autofree) struct scram *s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        return ERR_NOMEM;
    }
    TRY(read_first(s, client_first));
    *ret = TAKE(s);
    return OK;
}

/* ---- the challenge ---- */

static void write_number(struct wr *w, uint32_t v)
{
    char text[16];
    int n = snprintf(text, sizeof text, "%u", (unsigned)v);
    wr_bytes(w, slice_of(text, (size_t)n));
}

enum err scram_challenge(struct scram *s, const struct scram_salt *salt,
                         const struct scram_keys *keys, size_t n, struct slice nonce, struct wr *w)
{
    assert(s->state == SCRAM_BEGUN && n <= SCRAM_KEYS_MAX && is_printable(nonce));
    assert(nonce.n <= NONCE_ALL_MAX - SCRAM_NONCE_MAX && slice_find(nonce, ',') == nonce.n);
    uint8_t message[SCRAM_ANSWER_MAX];
    struct wr m = wr_into(message, sizeof message);
    slice_copy(s->nonce + s->nonce_n, nonce);
    s->nonce_n += nonce.n;
    wr_bytes(&m, slice_text("r="));
    wr_bytes(&m, slice_of(s->nonce, s->nonce_n));
    wr_bytes(&m, slice_text(",s="));
    base64_encode(BASE64_PADDED, slice_of(salt->bytes, sizeof salt->bytes), &m);
    wr_bytes(&m, slice_text(",i="));
    write_number(&m, salt->iterations);
    assert(wr_ok(&m));
    wr_bytes(w, wr_slice(&m));
    TRY(w->err);
    struct wr said = wr_into(s->said, sizeof s->said);
    said.at = s->said_n;
    wr_u8(&said, ',');
    wr_bytes(&said, wr_slice(&m));
    wr_u8(&said, ',');
    TRY(wr_done(&said, &s->said_n));
    s->n = n;
    for (size_t i = 0; i < SCRAM_KEYS_MAX; i++) {
        s->keys[i] = i < n ? keys[i] : (struct scram_keys){0};
    }
    s->state = SCRAM_CHALLENGED;
    return OK;
}

/* ---- the proof ---- */

/* "c=", the header of the first message once more. SPEC: RFC5802 5.1, 6 */
static enum err check_binding(const struct scram *s, struct slice c)
{
    uint8_t bytes[BASE64_BYTES_MAX(SCRAM_MESSAGE_MAX)];
    size_t n = 0;
    TRY(base64_decode(BASE64_PADDED, c, bytes, sizeof bytes, &n));
    return slice_equal(slice_of(bytes, n), slice_of(s->gs2, s->gs2_n)) ? OK : ERR_AUTH;
}

static enum err read_final(struct scram *s, struct slice message, struct digest *ret_proof)
{
    struct slice rest = message;
    struct slice c;
    struct slice r;
    bool more = false;
    size_t n = 0;
    TRY(attribute(&rest, 'c', &c, &more));
    TRY(more ? OK : ERR_MALFORMED);
    TRY(attribute(&rest, 'r', &r, &more));
    TRY(more ? OK : ERR_MALFORMED);
    TRY(check_binding(s, c));
    if (!slice_equal(r, slice_of(s->nonce, s->nonce_n))) {
        return ERR_AUTH;
    }
    /* The proof is the last attribute; what lies between are extensions. */
    struct slice last = rest;
    while (slice_find(last, ',') != last.n) {
        struct slice one = slice_cut(&last, ',', &more);
        TRY(skip_extensions(one));
    }
    struct slice proof;
    struct slice without = slice_head(message, message.n - last.n);
    TRY(attribute(&last, 'p', &proof, &more));
    TRY(base64_decode(BASE64_PADDED, proof, ret_proof->bytes, sizeof ret_proof->bytes, &n));
    TRY(n == sizeof ret_proof->bytes ? OK : ERR_MALFORMED);
    struct wr said = wr_into(s->said, sizeof s->said);
    said.at = s->said_n;
    wr_bytes(&said, slice_head(without, without.n - 1)); /* without the comma before the proof */
    return wr_done(&said, &s->said_n);
}

/* ClientKey is the proof XOR ClientSignature, and StoredKey its hash. SPEC: RFC5802 3 */
static enum err proves(const struct scram *s, size_t at, const struct digest *proof, bool *ret)
{
    struct digest d;
    struct digest hash;
    TRY(digest_hmac(digest_slice(&s->keys[at].stored_key), slice_of(s->said, s->said_n), &d));
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        d.bytes[i] ^= proof->bytes[i];
    }
    TRY(digest_sha256(digest_slice(&d), &hash));
    *ret = secret_equal(digest_slice(&hash), digest_slice(&s->keys[at].stored_key));
    mem_wipe(&d, sizeof d);
    return OK;
}

enum err scram_finish(struct scram *s, struct slice client_final, size_t *ret_at, struct wr *w)
{
    assert(s->state == SCRAM_CHALLENGED);
    struct digest proof;
    struct digest signature;
    size_t found = SCRAM_KEYS_MAX;
    s->state = SCRAM_OVER;
    if (client_final.n > SCRAM_MESSAGE_MAX) {
        return ERR_TOO_LARGE;
    }
    TRY(read_final(s, client_final, &proof));
    /* All of them, whoever it is and whichever fits: neither shows in the time it takes. */
    for (size_t i = 0; i < SCRAM_KEYS_MAX; i++) {
        bool good = false;
        TRY(proves(s, i, &proof, &good));
        found = good && i < s->n ? i : found;
    }
    size_t at = found < SCRAM_KEYS_MAX ? found : 0;
    TRY(digest_hmac(digest_slice(&s->keys[at].server_key), slice_of(s->said, s->said_n),
                    &signature));
    if (found == SCRAM_KEYS_MAX) {
        return ERR_AUTH;
    }
    wr_bytes(w, slice_text("v="));
    base64_encode(BASE64_PADDED, digest_slice(&signature), w);
    TRY(w->err);
    if (ret_at != NULL) {
        *ret_at = found;
    }
    return OK;
}

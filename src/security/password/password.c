#include "security/password/password.h"

#include <sodium.h>

#include "base/mem.h"
#include "base/scope.h"
#include "base/utf8.h"
#include "security/password/quality_private.h"

_Static_assert(PASSWORD_PHC_BYTES == crypto_pwhash_argon2id_STRBYTES, "room for a PHC string");

enum { RANDOM_BYTES = 16, RANDOM_CHARS = 26, PREFIX_CHARS = sizeof PASSWORD_GENERATED_PREFIX - 1 };

static const struct profile {
    unsigned long long passes;
    size_t memory_bytes;
    const char *phc_prefix; /* what libsodium writes for these costs */
    const char *nobody;     /* hash of nobody's password */
} profiles[] = {
    [PASSWORD_CHOSEN] = {3, (size_t)64 * 1024 * 1024, "$argon2id$v=19$m=65536,t=3,p=1$",
                         "$argon2id$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
                         "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
    [PASSWORD_GENERATED] = {1, (size_t)256 * 1024, "$argon2id$v=19$m=256,t=1,p=1$",
                            "$argon2id$v=19$m=256,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
                            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
};

static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567";

enum err password_prepare(void)
{
    return sodium_init() < 0 ? ERR_CRYPTO : OK;
}

enum password_profile password_profile_of(struct slice presented)
{
    if (presented.n != PREFIX_CHARS + RANDOM_CHARS ||
        !slice_has_prefix(presented, slice_text(PASSWORD_GENERATED_PREFIX))) {
        return PASSWORD_CHOSEN;
    }
    struct slice random = slice_from(presented, PREFIX_CHARS);
    for (size_t i = 0; i < random.n; i++) {
        if (memchr(base32, random.p[i], sizeof base32 - 1) == NULL) {
            return PASSWORD_CHOSEN;
        }
    }
    return PASSWORD_GENERATED;
}

void password_generate(const struct random_source *random, char ret[PASSWORD_GENERATED_BYTES])
{
    uint8_t bits[RANDOM_BYTES];
    random->fill(random->ctx, bits, sizeof bits);
    memcpy(ret, PASSWORD_GENERATED_PREFIX, PREFIX_CHARS);
    for (size_t i = 0; i < RANDOM_CHARS; i++) {
        unsigned value = 0;
        for (size_t bit = 5 * i; bit < 5 * i + 5; bit++) {
            unsigned one =
                bit < 8 * RANDOM_BYTES ? (unsigned)bits[bit / 8] >> (7 - bit % 8) & 1U : 0;
            value = value << 1 | one;
        }
        ret[PREFIX_CHARS + i] = base32[value];
    }
    ret[PREFIX_CHARS + RANDOM_CHARS] = '\0';
    mem_wipe(bits, sizeof bits);
}

enum err password_check_new(struct slice password, struct slice name, struct why *why)
{
    if (password.n > PASSWORD_MAX) {
        why_set(why, "a password has at most %d bytes", PASSWORD_MAX);
        return ERR_TOO_LARGE;
    }
    if (utf8_check(password, UTF8_STRICT, NULL) != OK) {
        why_set(why, "a password is UTF-8 text without control characters");
        return ERR_UTF8;
    }
    if (password_profile_of(password) == PASSWORD_GENERATED) {
        return OK;
    }
    size_t n_characters = 0;
    for (size_t i = 0; i < password.n; i++) {
        n_characters += (password.p[i] & 0xc0) != 0x80 ? 1 : 0;
    }
    if (n_characters < PASSWORD_CHOSEN_MIN) {
        why_set(why,
                "the password has fewer than %d characters; leave it out and a strong one is "
                "generated",
                PASSWORD_CHOSEN_MIN);
        return ERR_DENIED;
    }
    if (slice_has_prefix(password, slice_text(PASSWORD_GENERATED_PREFIX))) {
        why_set(why, "passwords that begin with " PASSWORD_GENERATED_PREFIX " are generated ones");
        return ERR_DENIED;
    }
    if (quality_is_made_of(password, name)) {
        why_set(why,
                "the password is made of the name; leave it out and a strong one is generated");
        return ERR_DENIED;
    }
    if (quality_is_pattern(password) || quality_is_common(password)) {
        why_set(why,
                "the password is among the first that are tried; leave it out and a strong one "
                "is generated");
        return ERR_DENIED;
    }
    return OK;
}

enum err password_hash(struct slice password, char ret[PASSWORD_PHC_BYTES])
{
    if (password.n > PASSWORD_MAX) {
        return ERR_TOO_LARGE;
    }
    if (sodium_init() < 0) {
        return ERR_CRYPTO;
    }
    const struct profile *p = &profiles[password_profile_of(password)];
    char phc[PASSWORD_PHC_BYTES];
    if (crypto_pwhash_argon2id_str(phc, password.n > 0 ? (const char *)password.p : "", password.n,
                                   p->passes, p->memory_bytes) != 0) {
        return ERR_NOMEM;
    }
    memcpy(ret, phc, sizeof phc);
    return OK;
}

static bool matches(const char *phc, struct slice presented)
{
    return crypto_pwhash_argon2id_str_verify(phc, presented.n > 0 ? (const char *)presented.p : "",
                                             presented.n) == 0;
}

enum err password_verify(struct slice presented, const char *const *phc, size_t n, size_t *ret_at)
{
    if (presented.n > PASSWORD_MAX) {
        return ERR_TOO_LARGE;
    }
    if (sodium_init() < 0) {
        return ERR_CRYPTO;
    }
    enum password_profile profile = password_profile_of(presented);
    const struct profile *p = &profiles[profile];
    size_t found = n;
    /* As many for everybody as a rotation has, each with the same work and no early end: neither
     * who exists shows in the time, nor who is being rotated. */
    for (size_t i = 0; i < PASSWORD_HASHES_MAX; i++) {
        enum password_profile stored;
        const char *tried = i < n ? phc[i] : p->nobody;
        bool fits = password_phc_ok(slice_text(tried), &stored) && stored == profile;
        bool good = matches(fits ? tried : p->nobody, presented);
        found = good && fits && i < n ? i : found;
    }
    if (found == n) {
        return ERR_AUTH;
    }
    if (ret_at != NULL) {
        *ret_at = found;
    }
    return OK;
}

bool password_phc_ok(struct slice phc, enum password_profile *ret)
{
    char text[PASSWORD_PHC_BYTES];
    if (!slice_to_text(phc, text, sizeof text)) {
        return false;
    }
    for (enum password_profile i = PASSWORD_CHOSEN; i <= PASSWORD_GENERATED; i++) {
        /* same salt and hash lengths as ours, so the whole form is: prefix, base64, '$', base64 */
        if (strlen(profiles[i].nobody) != phc.n ||
            !slice_has_prefix(phc, slice_text(profiles[i].phc_prefix))) {
            continue;
        }
        struct slice rest = slice_from(phc, strlen(profiles[i].phc_prefix));
        for (size_t at = 0; at < rest.n; at++) {
            uint8_t c = rest.p[at];
            bool is_base64 = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                             (c >= '0' && c <= '9') || c == '+' || c == '/';
            if (at == 22 ? c != '$' : !is_base64) {
                return false;
            }
        }
        *ret = i;
        return true;
    }
    return false;
}

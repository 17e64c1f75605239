#include "service/directory/late.h"

#include "base/clock.h"

/* Sets the ids apart from the directory's, which never come so far, and from those of anonymous
 * clients, which have the bit above. */
#define LATE_BIT ((uint64_t)1 << 62)

/* Certificates count seconds. */
enum { SLACK_MS = 1000 };

static const struct credential *credential_of(const struct directory_entry *e,
                                              const struct digest *spki)
{
    const struct credential *found = NULL;
    for (size_t i = 0; i < e->n_credentials; i++) {
        const struct credential *c = e->credentials[i];
        if (c->kind == CREDENTIAL_X509 && slice_equal(digest_slice(&c->spki), digest_slice(spki))) {
            found = c;
        }
    }
    return found;
}

/* A renewal that has come to its device, as far as anybody can see. */
static bool has_newer_in_use(const struct directory_entry *e, const struct credential *old)
{
    bool is_behind = false;
    for (size_t i = 0; i < e->n_credentials; i++) {
        const struct credential *c = e->credentials[i];
        if (is_behind && c->kind == CREDENTIAL_X509 && atomic_load(&c->used_wall_ms) != 0) {
            return true;
        }
        is_behind = is_behind || c == old;
    }
    return false;
}

enum err late_look(const struct directory_version *v, const struct late_claim *claim,
                   uint32_t grace_s, int64_t now_wall_ms, const struct directory_entry **ret_entry,
                   const struct credential **ret_credential, struct why *why)
{
    char ends[CLOCK_ISO8601_BYTES], name[PRINCIPAL_NAME_MAX + 1] = "";
    const struct directory_entry *entry = directory_find_spki(v, claim->spki);
    const struct credential *credential = entry != NULL ? credential_of(entry, claim->spki) : NULL;
    bool fits = slice_to_text(claim->name, name, sizeof(name));
    clock_iso8601(claim->ends_wall_ms, ends);
    if (credential == NULL || !fits || strcmp(name, entry->principal->name) != 0) {
        why_set(
            why,
            "the certificate names %s, but that principal does not own this key. Use the bundle "
            "of this device, or `sallyport device rotate %s` for a new one",
            name, name);
        return ERR_AUTH;
    }
    if (entry->principal->status != PRINCIPAL_ACTIVE) {
        *ret_entry = entry;
        return ERR_DENIED;
    }
    if (credential_is_revoked(credential)) {
        why_set(why,
                "the certificate of %s is revoked. Give it a new one: `sallyport device rotate %s`",
                name, name);
        return ERR_EXPIRED;
    }
    if (now_wall_ms - claim->ends_wall_ms > (int64_t)grace_s * 1000) {
        why_set(why,
                "the certificate of %s ended %s, longer ago than renewal_grace lets it renew. Give "
                "it a new one: `sallyport device rotate %s`",
                name, ends, name);
        return ERR_EXPIRED;
    }
    if (credential->expires_wall_ms < claim->ends_wall_ms - SLACK_MS) {
        why_set(why,
                "the certificate of %s was replaced before it ended %s. Use the newest bundle, or "
                "`sallyport device rotate %s` for another one",
                name, ends, name);
        return ERR_EXPIRED;
    }
    if (has_newer_in_use(entry, credential)) {
        why_set(why,
                "the certificate of %s ended %s, and a newer one of it is in use already. Let it "
                "use that; if it has lost it, `sallyport device rotate %s`",
                name, ends, name);
        return ERR_EXISTS;
    }
    *ret_entry = entry;
    *ret_credential = credential;
    return OK;
}

enum err late_principal(const struct directory_entry *entry, const struct principal **ret)
{
    const struct principal *p = entry->principal;
    struct principal *late = NULL;
    TRY(principal_new(p->id | LATE_BIT, slice_text(p->name), slice_text(p->role), p->attrs,
                      p->n_attrs, &late));
    late->is_late = true;
    *ret = late;
    return OK;
}

const struct directory_entry *late_entry(const struct directory_version *v,
                                         const struct principal *late)
{
    const struct directory_entry *e = directory_find(v, slice_text(late->name));
    return e != NULL && (e->principal->id | LATE_BIT) == late->id ? e : NULL;
}

bool late_stands(const struct directory_version *v, const struct principal *late,
                 uint64_t credential)
{
    const struct directory_entry *e = late_entry(v, late);
    if (e == NULL || e->principal->status != PRINCIPAL_ACTIVE) {
        return false;
    }
    for (size_t i = 0; i < e->n_credentials; i++) {
        if (e->credentials[i]->id == credential) {
            return true;
        }
    }
    return false;
}

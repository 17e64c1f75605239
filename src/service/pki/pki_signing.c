/* The authority's files as who signs has them, and the way of a former version's to them. */
#include "base/mem.h"
#include "security/crypto/kdf.h"
#include "service/pki/pki_private.h"

void pki_signing_key_wipe(struct pki_signing_key *k)
{
    mem_wipe(k, sizeof *k);
}

enum err pki_signing_key(struct slice root, uint8_t ret[PKI_SIGNING_KEY_BYTES])
{
    return kdf_hkdf(root, (struct slice){0}, slice_text("sallyport signing files"), ret,
                    PKI_SIGNING_KEY_BYTES);
}

/* What is trusted, as the file of the intermediate has it behind its own certificate. */
struct trusted {
    struct buf own_root, former_root, others;
};

static void trusted_done(struct trusted *t)
{
    buf_done(&t->own_root);
    buf_done(&t->former_root);
    buf_done(&t->others);
}

static enum err sort_one(struct pki *p, const struct x509 *x, struct trusted *t)
{
    const struct digest *own = &x509_info(p->intermediate)->spki;
    if (pki_is_root(x)) {
        bool is_own = t->own_root.n == 0;
        p->roll.is_root = !is_own;
        p->roll.prepared_at_wall_ms = is_own ? pki_began(x) : p->roll.prepared_at_wall_ms;
        return x509_to_pem(x, is_own ? &t->own_root : &t->former_root);
    }
    if (memcmp(&x509_info(x)->spki, own, sizeof *own) == 0) { /* signed by the former root */
        buf_done(&p->shown_pem);
        return x509_to_pem(x, &p->shown_pem);
    }
    p->roll.stage = PKI_ROLL_SWITCHED;
    return x509_to_pem(x, &t->others);
}

static enum err open_intermediate(struct pki *p, struct disk *disk, struct slice seal,
                                  struct trusted *t, struct why *why)
{
    AUTO(pki_sealed_done) struct pki_sealed s = {0};
    enum err err = OK;
    TRY(pki_load(disk, PKI_FILE_INTERMEDIATE, seal, PKI_PURPOSE_INTERMEDIATE, &s, why));
    TRY(key_from_pem(s.key_pem, &p->intermediate_key));
    struct slice rest = s.certs_pem;
    TRY(x509_next_pem(&rest, &p->intermediate));
    TRY(x509_to_pem(p->intermediate, &p->shown_pem));
    TRY(buf_append(&t->others, buf_slice(&p->shown_pem), PKI_FILE_MAX));
    for (;;) {
        AUTO(x509_autofree) struct x509 *x = NULL;
        if ((err = x509_next_pem(&rest, &x)) != OK) {
            return err == ERR_NOT_FOUND ? OK : err;
        }
        TRY(sort_one(p, x, t));
    }
}

/* The root that is to come is trusted, and given to clients, from its preparation on. */
static enum err open_next_root(struct pki *p, struct disk *disk, struct slice seal, struct why *why)
{
    AUTO(pki_sealed_done) struct pki_sealed s = {0};
    AUTO(x509_autofree) struct x509 *x = NULL;
    enum err err = pki_load(disk, PKI_FILE_NEXT_ROOT, seal, PKI_PURPOSE_ROOT, &s, why);
    if (err == ERR_NOT_FOUND) {
        return OK;
    }
    TRY(err);
    struct slice pem = s.certs_pem;
    TRY(x509_next_pem(&pem, &x));
    if (p->roll.stage == PKI_ROLL_SWITCHED) {
        return OK; /* it is there already: the last step of the switch was interrupted */
    }
    p->roll = (struct pki_roll){
        .stage = PKI_ROLL_PREPARED, .is_root = true, .prepared_at_wall_ms = pki_began(x)};
    return buf_append(&p->roots_pem, s.certs_pem, PKI_FILE_MAX);
}

/* Without the file, or with a damaged one: the end of the second in which it must have been. */
int64_t pki_switched_at(struct disk *disk, int64_t began)
{
    AUTO(buf_done) struct buf text = {0};
    int64_t at = 0;
    if (disk_load(disk, PKI_FILE_SWITCHED, 32, &text) != OK) {
        return began + 1000;
    }
    for (size_t i = 0; i < text.n && text.p[i] >= '0' && text.p[i] <= '9' && at < began; i++) {
        at = at * 10 + (text.p[i] - '0');
    }
    return at >= began && at < began + 1000 ? at : began + 1000;
}

static enum err open_authority(struct pki *p, struct disk *disk, struct slice seal, struct why *why)
{
    AUTO(trusted_done) struct trusted t = {.others = {0}};
    TRY(open_intermediate(p, disk, seal, &t, why));
    TRY(buf_append(&p->roots_pem, buf_slice(&t.former_root), PKI_FILE_MAX));
    TRY(buf_append(&p->roots_pem, buf_slice(&t.own_root), PKI_FILE_MAX));
    TRY(open_next_root(p, disk, seal, why));
    p->roll.switched_at_wall_ms =
        p->roll.stage == PKI_ROLL_SWITCHED ? pki_switched_at(disk, pki_began(p->intermediate)) : 0;
    TRY(buf_append(&p->ca_pem, buf_slice(&p->roots_pem), PKI_FILE_MAX));
    return buf_append(&p->ca_pem, buf_slice(&t.others), 2 * PKI_FILE_MAX);
}

enum err pki_open_signing(struct disk *disk, struct slice signing_key, struct pki **ret,
                          struct why *why)
{
    AUTO(pki_autofree) struct pki *p = mem_zalloc(sizeof *p);
    if (p == NULL) {
        return ERR_NOMEM;
    }
    TRY(open_authority(p, disk, signing_key, why));
    *ret = TAKE(p);
    return OK;
}

struct slice pki_trusted_pem(const struct pki *p)
{
    return buf_slice(&p->ca_pem);
}

static enum err reseal_one(struct disk *disk, const char *path, const char *purpose,
                           struct slice master, struct slice root,
                           const struct random_source *random, struct why *why)
{
    AUTO(pki_sealed_done) struct pki_sealed now = {0};
    AUTO(pki_sealed_done) struct pki_sealed before = {0};
    if (pki_load(disk, path, root, purpose, &now, NULL) == OK) {
        return OK;
    }
    TRY(pki_load(disk, path, master, purpose, &before, why));
    return pki_save(disk, path, root, purpose, random, before.key_pem, before.certs_pem);
}

enum err pki_reseal(struct disk *disk, struct slice master, struct slice root,
                    const struct random_source *random, struct why *why)
{
    TRY(reseal_one(disk, PKI_FILE_ROOT, PKI_PURPOSE_ROOT, master, root, random, why));
    TRY(reseal_one(disk, PKI_FILE_INTERMEDIATE, PKI_PURPOSE_INTERMEDIATE, master, root, random,
                   why));
    return reseal_one(disk, PKI_FILE_SERVER, PKI_PURPOSE_SERVER, master, root, random, why);
}

/* ---- files of a version that sealed all of them alike ---- */

static enum err count_certificates(struct slice pem, size_t *ret)
{
    struct x509 *x = NULL;
    size_t n = 0;
    enum err err = OK;
    while ((err = x509_next_pem(&pem, &x)) == OK) {
        x = x509_free(x);
        n++;
    }
    *ret = n;
    return err == ERR_NOT_FOUND ? OK : err;
}

enum err pki_upgrade(struct disk *disk, struct slice root, const struct random_source *random,
                     struct why *why)
{
    enum { CERTIFICATES = 3 }; /* of the server's file: leaf, intermediate, root */
    static const char *const roots[] = {PKI_FILE_ROOT, PKI_FILE_NEXT_ROOT, PKI_FILE_FORMER_ROOT};
    AUTO(pki_sealed_done) struct pki_sealed s = {0};
    AUTO(pki_signing_key_wipe) struct pki_signing_key signing;
    AUTO(pki_autofree) struct pki *by = NULL;
    size_t n = 0;
    TRY(pki_load(disk, PKI_FILE_SERVER, root, PKI_PURPOSE_SERVER, &s, why));
    TRY(count_certificates(s.certs_pem, &n));
    if (n >= CERTIFICATES) {
        return OK;
    }
    TRY(pki_signing_key(root, signing.bytes));
    struct slice key = slice_of(signing.bytes, sizeof signing.bytes);
    for (size_t i = 0; i < COUNT_OF(roots); i++) {
        enum err err = reseal_one(disk, roots[i], PKI_PURPOSE_ROOT, root, key, random, why);
        TRY(err == ERR_NOT_FOUND ? OK : err);
    }
    TRY(reseal_one(disk, PKI_FILE_INTERMEDIATE, PKI_PURPOSE_INTERMEDIATE, root, key, random, why));
    TRY(pki_open_signing(disk, key, &by, why));
    /* Last: by this the upgrade is known to be done. */
    return pki_save_server(disk, root, random, s.key_pem, s.certs_pem, pki_trusted_pem(by));
}

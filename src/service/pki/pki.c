#include "service/pki/pki.h"

#include "base/mem.h"
#include "security/crypto/sealed.h"
#include "security/crypto/x509_request.h"
#include "service/pki/pki_private.h"
#include "service/pki/revocation.h"

struct pki *pki_free(struct pki *p)
{
    if (p != NULL) {
        buf_done(&p->ca_pem);
        buf_done(&p->roots_pem);
        buf_done(&p->shown_pem);
        buf_done(&p->server_pem);
        buf_wipe(&p->server_key_pem);
        p->intermediate = x509_free(p->intermediate);
        p->server = x509_free(p->server);
        p->intermediate_key = key_free(p->intermediate_key);
        mem_free(p);
    }
    return NULL;
}

struct slice pki_ca_pem(const struct pki *p)
{
    return buf_slice(&p->ca_pem);
}

struct slice pki_roots_pem(const struct pki *p)
{
    return buf_slice(&p->roots_pem);
}

struct slice pki_server_chain_pem(const struct pki *p)
{
    return buf_slice(&p->server_pem);
}

struct slice pki_server_key_pem(const struct pki *p)
{
    return buf_slice(&p->server_key_pem);
}

int64_t pki_server_not_after(const struct pki *p)
{
    return x509_info(p->server)->not_after_wall_ms;
}

int64_t pki_server_renew_at(const struct pki *p)
{
    const struct x509_info *i = x509_info(p->server);
    return i->not_after_wall_ms - (i->not_after_wall_ms - i->not_before_wall_ms) / 3;
}

int64_t pki_issuer_not_after(const struct pki *p)
{
    return x509_info(p->intermediate)->not_after_wall_ms;
}

bool pki_is_root(const struct x509 *x)
{
    return slice_equal(x509_info(x)->issuer, x509_info(x)->subject);
}

int64_t pki_began(const struct x509 *x)
{
    enum { HOUR_MS = 60 * 60 * 1000 };
    return x509_info(x)->not_before_wall_ms + HOUR_MS;
}

enum err pki_save(struct disk *disk, const char *path, struct slice root, const char *purpose,
                  const struct random_source *random, struct slice key_pem, struct slice certs_pem)
{
    AUTO(buf_wipe) struct buf plain = {0};
    AUTO(buf_done) struct buf file = {0};
    TRY(buf_append(&plain, key_pem, PKI_FILE_MAX));
    TRY(buf_append(&plain, certs_pem, PKI_FILE_MAX));
    TRY(sealed_make(root, purpose, random, buf_slice(&plain), 2 * PKI_FILE_MAX, &file));
    return disk_save(disk, path, buf_slice(&file));
}

enum err pki_save_authority(struct disk *disk, const char *path, struct slice root,
                            const char *purpose, const struct random_source *random,
                            const struct key *key, struct slice certs_pem)
{
    AUTO(buf_wipe) struct buf pem = {0};
    TRY(key_to_pem(key, &pem));
    return pki_save(disk, path, root, purpose, random, buf_slice(&pem), certs_pem);
}

enum err pki_make_chain(const struct x509 *leaf, struct slice intermediate_pem, struct buf *ret)
{
    TRY(x509_to_pem(leaf, ret));
    return buf_append(ret, intermediate_pem, PKI_FILE_MAX);
}

enum err pki_save_server(struct disk *disk, struct slice root, const struct random_source *random,
                         struct slice key_pem, struct slice chain_pem, struct slice trusted_pem)
{
    AUTO(buf_done) struct buf certs = {0};
    TRY(buf_append(&certs, chain_pem, PKI_FILE_MAX));
    TRY(buf_append(&certs, trusted_pem, PKI_FILE_MAX));
    TRY(pki_save(disk, PKI_FILE_SERVER, root, PKI_PURPOSE_SERVER, random, key_pem,
                 buf_slice(&certs)));
    return disk_save(disk, PKI_FILE_SERVER_COPY, chain_pem);
}

void pki_sealed_done(struct pki_sealed *s)
{
    buf_wipe(&s->plain);
}

enum err pki_load(struct disk *disk, const char *path, struct slice root, const char *purpose,
                  struct pki_sealed *ret, struct why *why)
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----";
    AUTO(buf_done) struct buf file = {0};
    enum err err = disk_load(disk, path, 2 * PKI_FILE_MAX, &file);
    if (err != OK) {
        why_set(why, "%s: %s; run `sallyport init`, or restore it from a backup", path,
                err_name(err));
        return err;
    }
    err = sealed_open(root, purpose, buf_slice(&file), &ret->plain);
    if (err != OK) {
        why_set(why,
                "%s does not open with this keyring: restore the two together, the file "
                "from a backup",
                path);
        return err == ERR_NOMEM ? err : ERR_CRYPTO;
    }
    struct slice all = buf_slice(&ret->plain);
    const uint8_t *certs = all.n > 0 ? memmem(all.p, all.n, begin, sizeof begin - 1) : NULL;
    if (certs == NULL) {
        why_set(why, "%s holds no certificate: restore it from a backup", path);
        return ERR_MALFORMED;
    }
    ret->key_pem = slice_head(all, (size_t)(certs - all.p));
    ret->certs_pem = slice_from(all, ret->key_pem.n);
    return OK;
}

enum err pki_save_ca(const struct pki *p, struct disk *disk)
{
    return disk_save(disk, PKI_FILE_CA_COPY, buf_slice(&p->roots_pem));
}

struct pki_roll pki_roll_of(const struct pki *p)
{
    return p->roll;
}

/* ---- ready to serve ---- */

static bool is_same_key(const struct x509 *a, const struct x509 *b)
{
    return slice_equal(digest_slice(&x509_info(a)->spki), digest_slice(&x509_info(b)->spki));
}

/* One of those behind the chain: a root, or another intermediate that may speak for devices. */
static enum err read_trusted(struct pki *p, const struct x509 *x, size_t *n_roots,
                             struct buf *others)
{
    if (pki_is_root(x)) {
        p->roll.prepared_at_wall_ms = pki_began(x); /* the last one is the newest */
        p->roll.is_root = ++*n_roots > 1;
        return x509_to_pem(x, &p->roots_pem);
    }
    if (!is_same_key(x, p->intermediate)) {
        p->roll.stage = PKI_ROLL_SWITCHED;
    }
    AUTO(buf_done) struct buf pem = {0};
    TRY(x509_to_pem(x, &pem));
    return slice_equal(buf_slice(&pem), buf_slice(&p->shown_pem))
               ? OK
               : buf_append(others, buf_slice(&pem), PKI_FILE_MAX);
}

/* Leaf, the intermediate as it is shown, and who else is trusted. ERR_NOT_FOUND: a former
 * version's, without the root. */
static enum err read_server(struct pki *p, const struct pki_sealed *s)
{
    AUTO(buf_done) struct buf others = {0};
    size_t n_roots = 0;
    struct slice rest = s->certs_pem;
    TRY(x509_next_pem(&rest, &p->server));
    TRY(x509_next_pem(&rest, &p->intermediate));
    TRY(x509_to_pem(p->intermediate, &p->shown_pem));
    for (;;) {
        AUTO(x509_autofree) struct x509 *x = NULL;
        enum err err = x509_next_pem(&rest, &x);
        if (err == ERR_NOT_FOUND) {
            break;
        }
        TRY(err);
        TRY(read_trusted(p, x, &n_roots, &others));
    }
    TRY(buf_append(&p->ca_pem, buf_slice(&p->roots_pem), PKI_FILE_MAX));
    TRY(buf_append(&p->ca_pem, buf_slice(&p->shown_pem), PKI_FILE_MAX));
    TRY(buf_append(&p->ca_pem, buf_slice(&others), 2 * PKI_FILE_MAX));
    TRY(buf_append(&p->server_key_pem, s->key_pem, PKI_FILE_MAX));
    TRY(pki_make_chain(p->server, buf_slice(&p->shown_pem), &p->server_pem));
    return n_roots > 0 ? OK : ERR_NOT_FOUND;
}

enum err pki_open(struct disk *disk, struct slice root, struct pki **ret, struct why *why)
{
    AUTO(pki_autofree) struct pki *p = mem_zalloc(sizeof *p);
    AUTO(pki_sealed_done) struct pki_sealed s = {0};
    if (p == NULL) {
        return ERR_NOMEM;
    }
    TRY(pki_load(disk, PKI_FILE_SERVER, root, PKI_PURPOSE_SERVER, &s, why));
    enum err err = read_server(p, &s);
    if (err != OK) {
        why_set(why, PKI_FILE_SERVER " does not hold the server's certificates: restore it from a "
                                     "backup");
        return err == ERR_NOT_FOUND ? ERR_MALFORMED : err;
    }
    if (p->roll.stage == PKI_ROLL_NONE && p->roll.is_root) {
        p->roll.stage = PKI_ROLL_PREPARED;
    }
    p->roll.prepared_at_wall_ms = p->roll.is_root ? p->roll.prepared_at_wall_ms : 0;
    p->roll.switched_at_wall_ms =
        p->roll.stage == PKI_ROLL_SWITCHED ? pki_switched_at(disk, pki_began(p->intermediate)) : 0;
    *ret = TAKE(p);
    return OK;
}

/* ---- another certificate of the server ---- */

static void certificate_release(struct authority_certificate *c)
{
    authority_certificate_done(c);
}

static enum err check_ours(const struct key *key, const struct authority_certificate *c)
{
    struct digest spki;
    TRY(key_spki_sha256(key, &spki));
    return slice_equal(digest_slice(&spki), digest_slice(&c->spki)) ? OK : ERR_CRYPTO;
}

static enum err make_request(const struct pki *p, const struct pki_hosts *more,
                             const struct key *key, struct buf *ret)
{
    const struct x509_info *old = x509_info(p->server);
    struct pki_sans s;
    s.n = 0;
    for (size_t i = 0; i < old->n_sans; i++) {
        TRY(pki_sans_add(&s, &old->sans[i]));
    }
    TRY(more != NULL ? pki_sans_add_hosts(&s, more) : OK);
    return x509_request_make(key, pki_server_common_name(old->common_name), s.san, s.n, ret);
}

enum err pki_renew_server(struct pki *p, struct authority *by, struct disk *disk, struct slice root,
                          const struct pki_hosts *more, const struct random_source *random,
                          int64_t now_wall_ms, struct why *why)
{
    AUTO(key_autofree) struct key *key = NULL;
    AUTO(pki_autofree) struct pki *renewed = NULL;
    AUTO(buf_done) struct buf csr = {0};
    AUTO(buf_wipe) struct buf key_pem = {0};
    AUTO(certificate_release) struct authority_certificate c = {0};
    TRY(key_generate(&key));
    TRY(key_to_pem(key, &key_pem));
    TRY(make_request(p, more, key, &csr));
    TRY(authority_issue_server(by, buf_slice(&csr), now_wall_ms, &c, why));
    TRY(check_ours(key, &c));
    TRY(pki_save_server(disk, root, random, buf_slice(&key_pem), buf_slice(&c.chain_pem),
                        buf_slice(&c.trusted_pem)));
    TRY(pki_open(disk, root, &renewed, why));
    struct pki before = *p;
    *p = *renewed;
    *renewed = before; /* released on the way out */
    return OK;
}

const struct x509 *pki_server(const struct pki *p)
{
    return p->server;
}

/* ---- signing ---- */

enum err pki_sign(const struct pki *p, const struct pki_template *t,
                  const struct random_source *random, int64_t now_wall_ms, struct x509 **ret,
                  struct buf *ret_chain_pem)
{
    AUTO(x509_autofree) struct x509 *cert = NULL;
    struct x509_order order = {.kind = t->kind,
                               .common_name = t->common_name,
                               .sans = t->sans,
                               .n_sans = t->n_sans,
                               .subject = t->subject,
                               .issuer = p->intermediate,
                               .issuer_key = p->intermediate_key,
                               .now_wall_ms = now_wall_ms,
                               .lifetime_ms = t->lifetime_ms,
                               .status_url = slice_text(p->url)};
    assert(t->kind == X509_KIND_CLIENT || t->kind == X509_KIND_SERVER);
    TRY(x509_issue(&order, random, &cert));
    TRY(pki_make_chain(cert, buf_slice(&p->shown_pem), ret_chain_pem));
    *ret = TAKE(cert);
    return OK;
}

void pki_set_url(struct pki *p, const char *url)
{
    (void)slice_to_text(slice_text(url), p->url, sizeof p->url);
}

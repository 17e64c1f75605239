#include "service/pki/pki.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "security/crypto/sealed.h"
#include "service/pki/pki_private.h"
#include "service/pki/revocation.h"

/* The sealed files are what the daemon trusts; ca.pem and server.pem are copies for people. */
#define FILE_ROOT            "pki/root.sealed"
#define FILE_INTERMEDIATE    "pki/intermediate.sealed"
#define FILE_SERVER          "pki/server.sealed"
#define FILE_CA_COPY         "pki/ca.pem"
#define FILE_SERVER_COPY     "pki/server.pem"
#define PURPOSE_ROOT         "pki root"
#define PURPOSE_INTERMEDIATE "pki intermediate"
#define PURPOSE_SERVER       "pki server"

static void disk_autofree(struct disk **d)
{
    *d = *d != NULL ? (*d)->ops->free(*d) : NULL;
}

struct pki *pki_free(struct pki *p)
{
    if (p != NULL) {
        buf_done(&p->ca_pem);
        buf_done(&p->intermediate_pem);
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

/* A key and its certificates in one file, so that no crash leaves a key beside the certificate of
 * another. */
static enum err save_sealed(struct disk *disk, const char *path, struct slice root,
                            const char *purpose, const struct random_source *random,
                            struct slice key_pem, struct slice certs_pem)
{
    AUTO(buf_wipe) struct buf plain = {0};
    AUTO(buf_done) struct buf file = {0};
    TRY(buf_append(&plain, key_pem, PKI_FILE_MAX));
    TRY(buf_append(&plain, certs_pem, PKI_FILE_MAX));
    TRY(sealed_make(root, purpose, random, buf_slice(&plain), 2 * PKI_FILE_MAX, &file));
    return disk_save(disk, path, buf_slice(&file));
}

static enum err save_authority(struct disk *disk, const char *path, struct slice root,
                               const char *purpose, const struct random_source *random,
                               const struct key *key, struct slice certs_pem)
{
    AUTO(buf_wipe) struct buf pem = {0};
    TRY(key_to_pem(key, &pem));
    return save_sealed(disk, path, root, purpose, random, buf_slice(&pem), certs_pem);
}

/* A leaf and the intermediate behind it: what a peer must be shown. */
static enum err make_chain(const struct x509 *leaf, struct slice intermediate_pem, struct buf *ret)
{
    TRY(x509_to_pem(leaf, ret));
    return buf_append(ret, intermediate_pem, PKI_FILE_MAX);
}

/* What one server certificate is made of. */
struct server_order {
    struct slice common_name;
    const struct x509_san *sans;
    size_t n_sans;
    const struct x509 *issuer;
    const struct key *issuer_key;
    struct slice issuer_pem, url;
};

struct server_files {
    struct x509 *cert;
    struct buf chain_pem, key_pem;
};

static void server_files_done(struct server_files *f)
{
    f->cert = x509_free(f->cert);
    buf_done(&f->chain_pem);
    buf_wipe(&f->key_pem);
}

static enum err make_server(const struct server_order *o, struct disk *disk, struct slice root,
                            const struct random_source *random, int64_t now_wall_ms,
                            struct server_files *ret)
{
    AUTO(key_autofree) struct key *key = NULL;
    TRY(key_generate(&key));
    struct x509_order order = {.kind = X509_KIND_SERVER,
                               .common_name = o->common_name,
                               .sans = o->sans,
                               .n_sans = o->n_sans,
                               .subject = key,
                               .issuer = o->issuer,
                               .issuer_key = o->issuer_key,
                               .now_wall_ms = now_wall_ms,
                               .status_url = o->url};
    TRY(x509_issue(&order, random, &ret->cert));
    TRY(key_to_pem(key, &ret->key_pem));
    TRY(make_chain(ret->cert, o->issuer_pem, &ret->chain_pem));
    TRY(save_sealed(disk, FILE_SERVER, root, PURPOSE_SERVER, random, buf_slice(&ret->key_pem),
                    buf_slice(&ret->chain_pem)));
    return disk_save(disk, FILE_SERVER_COPY, buf_slice(&ret->chain_pem));
}

/* DNS names over 64 bytes do not fit into a CN; nobody reads it there any more anyway. */
static struct slice server_common_name(struct slice host)
{
    return host.n > 0 && host.n <= 64 ? host : slice_text("Sallyport server");
}

static enum err make_first_server(struct disk *disk, struct slice root,
                                  const struct pki_hosts *hosts, const struct x509 *issuer,
                                  const struct key *issuer_key, struct slice issuer_pem,
                                  const struct random_source *random, int64_t now_wall_ms)
{
    struct x509_san sans[PKI_HOSTS_MAX];
    struct pki_address addresses[PKI_HOSTS_MAX];
    if (hosts->n == 0 || hosts->n > PKI_HOSTS_MAX) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < hosts->n; i++) {
        if (pki_host_address(hosts->host[i], &addresses[i])) {
            sans[i] = (struct x509_san){X509_SAN_IP, slice_of(addresses[i].bytes, addresses[i].n)};
        } else {
            sans[i] = (struct x509_san){X509_SAN_DNS, slice_text(hosts->host[i])};
        }
    }
    struct server_order order = {.common_name = server_common_name(slice_text(hosts->host[0])),
                                 .sans = sans,
                                 .n_sans = hosts->n,
                                 .issuer = issuer,
                                 .issuer_key = issuer_key,
                                 .issuer_pem = issuer_pem};
    AUTO(server_files_done) struct server_files files = {0};
    return make_server(&order, disk, root, random, now_wall_ms, &files);
}

static enum err make_authority(const struct x509_order *order, const struct random_source *random,
                               struct x509 **ret, struct buf *ret_pem)
{
    AUTO(x509_autofree) struct x509 *x = NULL;
    TRY(x509_issue(order, random, &x));
    TRY(x509_to_pem(x, ret_pem));
    *ret = TAKE(x);
    return OK;
}

static enum err init_files(struct disk *disk, struct slice seal, const struct pki_hosts *hosts,
                           const struct random_source *random, int64_t now_wall_ms)
{
    AUTO(key_autofree) struct key *root_key = NULL;
    AUTO(key_autofree) struct key *intermediate_key = NULL;
    AUTO(x509_autofree) struct x509 *root = NULL;
    AUTO(x509_autofree) struct x509 *intermediate = NULL;
    AUTO(buf_done) struct buf root_pem = {0};
    AUTO(buf_done) struct buf intermediate_pem = {0};
    AUTO(buf_done) struct buf both_pem = {0};

    /* two fortresses are two names in a list of authorities */
    char root_name[64];
    char intermediate_name[64];
    unsigned tag = (unsigned)(random_u64(random) & 0xffffffff);
    (void)snprintf(root_name, sizeof root_name, "Sallyport root CA %08x", tag);
    (void)snprintf(intermediate_name, sizeof intermediate_name, "Sallyport intermediate CA %08x",
                   tag);

    TRY(key_generate(&root_key));
    struct x509_order order = {.kind = X509_KIND_ROOT,
                               .common_name = slice_text(root_name),
                               .subject = root_key,
                               .issuer_key = root_key,
                               .now_wall_ms = now_wall_ms};
    TRY(make_authority(&order, random, &root, &root_pem));

    TRY(key_generate(&intermediate_key));
    order.kind = X509_KIND_INTERMEDIATE;
    order.common_name = slice_text(intermediate_name);
    order.subject = intermediate_key;
    order.issuer = root;
    TRY(make_authority(&order, random, &intermediate, &intermediate_pem));

    TRY(buf_append(&both_pem, buf_slice(&intermediate_pem), PKI_FILE_MAX));
    TRY(buf_append(&both_pem, buf_slice(&root_pem), PKI_FILE_MAX));
    TRY(save_authority(disk, FILE_ROOT, seal, PURPOSE_ROOT, random, root_key,
                       buf_slice(&root_pem)));
    TRY(save_authority(disk, FILE_INTERMEDIATE, seal, PURPOSE_INTERMEDIATE, random,
                       intermediate_key, buf_slice(&both_pem)));
    TRY(disk_save(disk, FILE_CA_COPY, buf_slice(&root_pem)));
    TRY(revocation_found(disk, root, root_key, now_wall_ms,
                         x509_info(intermediate)->not_after_wall_ms));
    return make_first_server(disk, seal, hosts, intermediate, intermediate_key,
                             buf_slice(&intermediate_pem), random, now_wall_ms);
}

enum err pki_init(int dir_fd, struct slice root, const struct pki_hosts *hosts,
                  const struct random_source *random, int64_t now_wall_ms)
{
    if (mkdirat(dir_fd, "pki", 0700) != 0) {
        return errno == EEXIST ? ERR_EXISTS : errno == ENOSPC ? ERR_SPACE : ERR_IO;
    }
    int fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) {
        return ERR_IO;
    }
    AUTO(disk_autofree) struct disk *disk = NULL;
    TRY(disk_system(fd, &disk));
    return init_files(disk, root, hosts, random, now_wall_ms);
}

/* Opens one sealed file and cuts it into key and certificates, which borrow from *ret. */
struct sealed_pair {
    struct buf plain;
    struct slice key_pem, certs_pem;
};

static void sealed_pair_done(struct sealed_pair *s)
{
    buf_wipe(&s->plain);
}

static enum err load_sealed(struct disk *disk, const char *path, struct slice root,
                            const char *purpose, struct sealed_pair *ret, struct why *why)
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

static enum err open_intermediate(struct pki *p, struct disk *disk, struct slice root,
                                  struct why *why)
{
    AUTO(sealed_pair_done) struct sealed_pair s = {0};
    TRY(load_sealed(disk, FILE_INTERMEDIATE, root, PURPOSE_INTERMEDIATE, &s, why));
    TRY(key_from_pem(s.key_pem, &p->intermediate_key));
    struct slice root_pem = s.certs_pem;
    TRY(x509_next_pem(&root_pem, &p->intermediate));
    TRY(x509_to_pem(p->intermediate, &p->intermediate_pem));
    TRY(buf_append(&p->ca_pem, root_pem, PKI_FILE_MAX));
    return buf_append(&p->ca_pem, buf_slice(&p->intermediate_pem), PKI_FILE_MAX);
}

static enum err open_server(struct pki *p, struct disk *disk, struct slice root, struct why *why)
{
    AUTO(sealed_pair_done) struct sealed_pair s = {0};
    TRY(load_sealed(disk, FILE_SERVER, root, PURPOSE_SERVER, &s, why));
    struct slice rest = s.certs_pem;
    TRY(x509_next_pem(&rest, &p->server));
    TRY(buf_append(&p->server_key_pem, s.key_pem, PKI_FILE_MAX));
    return buf_append(&p->server_pem, s.certs_pem, PKI_FILE_MAX);
}

enum err pki_open(struct disk *disk, struct slice root, struct pki **ret, struct why *why)
{
    AUTO(pki_autofree) struct pki *p = mem_zalloc(sizeof *p);
    if (p == NULL) {
        return ERR_NOMEM;
    }
    TRY(open_intermediate(p, disk, root, why));
    TRY(open_server(p, disk, root, why));
    *ret = TAKE(p);
    return OK;
}

static enum err reseal_one(struct disk *disk, const char *path, const char *purpose,
                           struct slice master, struct slice root,
                           const struct random_source *random, struct why *why)
{
    AUTO(sealed_pair_done) struct sealed_pair now = {0};
    AUTO(sealed_pair_done) struct sealed_pair before = {0};
    if (load_sealed(disk, path, root, purpose, &now, NULL) == OK) {
        return OK;
    }
    TRY(load_sealed(disk, path, master, purpose, &before, why));
    return save_sealed(disk, path, root, purpose, random, before.key_pem, before.certs_pem);
}

enum err pki_reseal(struct disk *disk, struct slice master, struct slice root,
                    const struct random_source *random, struct why *why)
{
    TRY(reseal_one(disk, FILE_ROOT, PURPOSE_ROOT, master, root, random, why));
    TRY(reseal_one(disk, FILE_INTERMEDIATE, PURPOSE_INTERMEDIATE, master, root, random, why));
    return reseal_one(disk, FILE_SERVER, PURPOSE_SERVER, master, root, random, why);
}

enum err pki_renew_server(struct pki *p, struct disk *disk, struct slice root,
                          const struct random_source *random, int64_t now_wall_ms)
{
    const struct x509_info *old = x509_info(p->server);
    struct server_order order = {.common_name = server_common_name(old->common_name),
                                 .sans = old->sans,
                                 .n_sans = old->n_sans,
                                 .issuer = p->intermediate,
                                 .issuer_key = p->intermediate_key,
                                 .issuer_pem = buf_slice(&p->intermediate_pem),
                                 .url = slice_text(p->url)};
    AUTO(server_files_done) struct server_files files = {0};
    TRY(make_server(&order, disk, root, random, now_wall_ms, &files));
    struct server_files before = {p->server, p->server_pem, p->server_key_pem};
    p->server = files.cert;
    p->server_pem = files.chain_pem;
    p->server_key_pem = files.key_pem;
    files = before; /* released on the way out */
    return OK;
}

void pki_set_url(struct pki *p, const char *url)
{
    (void)slice_to_text(slice_text(url), p->url, sizeof p->url);
}

const char *pki_url(const struct pki *p)
{
    return p->url;
}

const struct x509 *pki_server(const struct pki *p)
{
    return p->server;
}

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
    TRY(make_chain(cert, buf_slice(&p->intermediate_pem), ret_chain_pem));
    *ret = TAKE(cert);
    return OK;
}

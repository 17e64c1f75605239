#include "service/pki/pki.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "security/crypto/sealed.h"
#include "service/pki/pki_private.h"
#include "service/pki/revocation.h"

enum { HOUR_MS = 60 * 60 * 1000 };

#define FILE_SERVER      "pki/server.sealed"
#define FILE_SERVER_COPY "pki/server.pem"
#define PURPOSE_SERVER   "pki server"

static void disk_autofree(struct disk **d)
{
    *d = *d != NULL ? (*d)->ops->free(*d) : NULL;
}

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
    TRY(pki_save(disk, FILE_SERVER, root, PURPOSE_SERVER, random, buf_slice(&ret->key_pem),
                 buf_slice(&ret->chain_pem)));
    return disk_save(disk, FILE_SERVER_COPY, buf_slice(&ret->chain_pem));
}

/* DNS names over 64 bytes do not fit into a CN; nobody reads it there any more anyway. */
static struct slice server_common_name(struct slice host)
{
    return host.n > 0 && host.n <= 64 ? host : slice_text("Sallyport server");
}

/* Alternative names, each once. */
struct sans {
    size_t n;
    struct x509_san san[PKI_HOSTS_MAX];
    struct pki_address addresses[PKI_HOSTS_MAX];
};

static enum err add_san(struct sans *s, const struct x509_san *san)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->san[i].kind == san->kind && slice_equal(s->san[i].value, san->value)) {
            return OK;
        }
    }
    if (s->n == PKI_HOSTS_MAX) {
        return ERR_LIMIT;
    }
    s->san[s->n++] = *san;
    return OK;
}

/* `hosts` outlives s, which can take the names of one call. */
static enum err add_hosts(struct sans *s, const struct pki_hosts *hosts)
{
    for (size_t i = 0; i < hosts->n && i < PKI_HOSTS_MAX; i++) {
        struct pki_address *address = &s->addresses[i];
        struct x509_san san = {X509_SAN_DNS, slice_text(hosts->host[i])};
        if (pki_host_address(hosts->host[i], address)) {
            san = (struct x509_san){X509_SAN_IP, slice_of(address->bytes, address->n)};
        }
        TRY(add_san(s, &san));
    }
    return OK;
}

static enum err make_first_server(struct disk *disk, struct slice root,
                                  const struct pki_hosts *hosts, const struct x509 *issuer,
                                  const struct key *issuer_key, struct slice issuer_pem,
                                  const struct random_source *random, int64_t now_wall_ms)
{
    struct sans s;
    s.n = 0;
    if (hosts->n == 0) {
        return ERR_MALFORMED;
    }
    TRY(add_hosts(&s, hosts));
    struct server_order order = {.common_name = server_common_name(slice_text(hosts->host[0])),
                                 .sans = s.san,
                                 .n_sans = s.n,
                                 .issuer = issuer,
                                 .issuer_key = issuer_key,
                                 .issuer_pem = issuer_pem};
    AUTO(server_files_done) struct server_files files = {0};
    return make_server(&order, disk, root, random, now_wall_ms, &files);
}

void pki_authority_name(const char *kind, const struct random_source *random,
                        char ret[PKI_AUTHORITY_NAME_BYTES])
{
    (void)snprintf(ret, PKI_AUTHORITY_NAME_BYTES, "Sallyport %s CA %08x", kind,
                   (unsigned)(random_u64(random) & 0xffffffff));
}

enum err pki_make_root(const struct random_source *random, int64_t now_wall_ms,
                       struct key **ret_key, struct x509 **ret)
{
    AUTO(key_autofree) struct key *key = NULL;
    char name[PKI_AUTHORITY_NAME_BYTES];
    pki_authority_name("root", random, name);
    TRY(key_generate(&key));
    struct x509_order order = {.kind = X509_KIND_ROOT,
                               .common_name = slice_text(name),
                               .subject = key,
                               .issuer_key = key,
                               .now_wall_ms = now_wall_ms};
    TRY(x509_issue(&order, random, ret));
    *ret_key = TAKE(key);
    return OK;
}

enum err pki_make_intermediate(const struct key *key, const char *name, const struct x509 *root,
                               const struct key *root_key, const struct random_source *random,
                               int64_t now_wall_ms, struct x509 **ret)
{
    struct x509_order order = {.kind = X509_KIND_INTERMEDIATE,
                               .common_name = slice_text(name),
                               .subject = key,
                               .issuer = root,
                               .issuer_key = root_key,
                               .now_wall_ms = now_wall_ms};
    return x509_issue(&order, random, ret);
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
    char name[PKI_AUTHORITY_NAME_BYTES];

    pki_authority_name("intermediate", random, name);
    TRY(pki_make_root(random, now_wall_ms, &root_key, &root));
    TRY(x509_to_pem(root, &root_pem));
    TRY(key_generate(&intermediate_key));
    TRY(pki_make_intermediate(intermediate_key, name, root, root_key, random, now_wall_ms,
                              &intermediate));
    TRY(x509_to_pem(intermediate, &intermediate_pem));

    TRY(buf_append(&both_pem, buf_slice(&intermediate_pem), PKI_FILE_MAX));
    TRY(buf_append(&both_pem, buf_slice(&root_pem), PKI_FILE_MAX));
    TRY(pki_save_authority(disk, PKI_FILE_ROOT, seal, PKI_PURPOSE_ROOT, random, root_key,
                           buf_slice(&root_pem)));
    TRY(pki_save_authority(disk, PKI_FILE_INTERMEDIATE, seal, PKI_PURPOSE_INTERMEDIATE, random,
                           intermediate_key, buf_slice(&both_pem)));
    TRY(disk_save(disk, PKI_FILE_CA_COPY, buf_slice(&root_pem)));
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

bool pki_is_root(const struct x509 *x)
{
    return slice_equal(x509_info(x)->issuer, x509_info(x)->subject);
}

int64_t pki_began(const struct x509 *x)
{
    return x509_info(x)->not_before_wall_ms + HOUR_MS;
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

static enum err open_intermediate(struct pki *p, struct disk *disk, struct slice root,
                                  struct trusted *t, struct why *why)
{
    AUTO(pki_sealed_done) struct pki_sealed s = {0};
    enum err err = OK;
    TRY(pki_load(disk, PKI_FILE_INTERMEDIATE, root, PKI_PURPOSE_INTERMEDIATE, &s, why));
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
static enum err open_next_root(struct pki *p, struct disk *disk, struct slice root, struct why *why)
{
    AUTO(pki_sealed_done) struct pki_sealed s = {0};
    AUTO(x509_autofree) struct x509 *x = NULL;
    enum err err = pki_load(disk, PKI_FILE_NEXT_ROOT, root, PKI_PURPOSE_ROOT, &s, why);
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
static int64_t switched_at(const struct pki *p, struct disk *disk)
{
    AUTO(buf_done) struct buf text = {0};
    int64_t began = pki_began(p->intermediate), at = 0;
    if (disk_load(disk, PKI_FILE_SWITCHED, 32, &text) != OK) {
        return began + 1000;
    }
    for (size_t i = 0; i < text.n && text.p[i] >= '0' && text.p[i] <= '9' && at < began; i++) {
        at = at * 10 + (text.p[i] - '0');
    }
    return at >= began && at < began + 1000 ? at : began + 1000;
}

static enum err open_authority(struct pki *p, struct disk *disk, struct slice root, struct why *why)
{
    AUTO(trusted_done) struct trusted t = {.others = {0}};
    TRY(open_intermediate(p, disk, root, &t, why));
    TRY(buf_append(&p->roots_pem, buf_slice(&t.former_root), PKI_FILE_MAX));
    TRY(buf_append(&p->roots_pem, buf_slice(&t.own_root), PKI_FILE_MAX));
    TRY(open_next_root(p, disk, root, why));
    p->roll.switched_at_wall_ms = p->roll.stage == PKI_ROLL_SWITCHED ? switched_at(p, disk) : 0;
    TRY(buf_append(&p->ca_pem, buf_slice(&p->roots_pem), PKI_FILE_MAX));
    return buf_append(&p->ca_pem, buf_slice(&t.others), 2 * PKI_FILE_MAX);
}

enum err pki_save_ca(const struct pki *p, struct disk *disk)
{
    return disk_save(disk, PKI_FILE_CA_COPY, buf_slice(&p->roots_pem));
}

struct pki_roll pki_roll_of(const struct pki *p)
{
    return p->roll;
}

static enum err open_server(struct pki *p, struct disk *disk, struct slice root, struct why *why)
{
    AUTO(pki_sealed_done) struct pki_sealed s = {0};
    TRY(pki_load(disk, FILE_SERVER, root, PURPOSE_SERVER, &s, why));
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
    TRY(open_authority(p, disk, root, why));
    TRY(open_server(p, disk, root, why));
    *ret = TAKE(p);
    return OK;
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
    return reseal_one(disk, FILE_SERVER, PURPOSE_SERVER, master, root, random, why);
}

enum err pki_renew_server(struct pki *p, struct disk *disk, struct slice root,
                          const struct pki_hosts *more, const struct random_source *random,
                          int64_t now_wall_ms)
{
    const struct x509_info *old = x509_info(p->server);
    struct sans s;
    s.n = 0;
    for (size_t i = 0; i < old->n_sans; i++) {
        TRY(add_san(&s, &old->sans[i]));
    }
    TRY(more != NULL ? add_hosts(&s, more) : OK);
    struct server_order order = {.common_name = server_common_name(old->common_name),
                                 .sans = s.san,
                                 .n_sans = s.n,
                                 .issuer = p->intermediate,
                                 .issuer_key = p->intermediate_key,
                                 .issuer_pem = buf_slice(&p->shown_pem),
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
    TRY(make_chain(cert, buf_slice(&p->shown_pem), ret_chain_pem));
    *ret = TAKE(cert);
    return OK;
}

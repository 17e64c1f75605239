/* What `init` makes: root, intermediate, the server's first certificate. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "service/pki/pki_private.h"
#include "service/pki/revocation.h"

static void disk_autofree(struct disk **d)
{
    *d = *d != NULL ? (*d)->ops->free(*d) : NULL;
}

/* DNS names over 64 bytes do not fit into a CN; nobody reads it there any more anyway. */
struct slice pki_server_common_name(struct slice host)
{
    return host.n > 0 && host.n <= 64 ? host : slice_text("Sallyport server");
}

enum err pki_sans_add(struct pki_sans *s, const struct x509_san *san)
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

enum err pki_sans_add_hosts(struct pki_sans *s, const struct pki_hosts *hosts)
{
    for (size_t i = 0; i < hosts->n && i < PKI_HOSTS_MAX; i++) {
        struct pki_address *address = &s->addresses[i];
        struct x509_san san = {X509_SAN_DNS, slice_text(hosts->host[i])};
        if (pki_host_address(hosts->host[i], address)) {
            san = (struct x509_san){X509_SAN_IP, slice_of(address->bytes, address->n)};
        }
        TRY(pki_sans_add(s, &san));
    }
    return OK;
}

/* Who signs the first one. */
struct first_issuer {
    const struct x509 *cert;
    const struct key *key;
    struct slice pem, root_pem;
};

static enum err make_first_server(struct disk *disk, struct slice root,
                                  const struct pki_hosts *hosts, const struct first_issuer *by,
                                  const struct random_source *random, int64_t now_wall_ms)
{
    struct pki_sans s;
    AUTO(key_autofree) struct key *key = NULL;
    AUTO(x509_autofree) struct x509 *cert = NULL;
    AUTO(buf_wipe) struct buf key_pem = {0};
    AUTO(buf_done) struct buf chain_pem = {0};
    s.n = 0;
    if (hosts->n == 0) {
        return ERR_MALFORMED;
    }
    TRY(pki_sans_add_hosts(&s, hosts));
    TRY(key_generate(&key));
    const struct x509_order order = {.kind = X509_KIND_SERVER,
                                     .common_name =
                                         pki_server_common_name(slice_text(hosts->host[0])),
                                     .sans = s.san,
                                     .n_sans = s.n,
                                     .subject = key,
                                     .issuer = by->cert,
                                     .issuer_key = by->key,
                                     .now_wall_ms = now_wall_ms};
    TRY(x509_issue(&order, random, &cert));
    TRY(key_to_pem(key, &key_pem));
    TRY(pki_make_chain(cert, by->pem, &chain_pem));
    return pki_save_server(disk, root, random, buf_slice(&key_pem), buf_slice(&chain_pem),
                           by->root_pem);
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

static enum err init_files(struct disk *disk, struct slice root_of_keyring,
                           const struct pki_hosts *hosts, const struct random_source *random,
                           int64_t now_wall_ms)
{
    AUTO(key_autofree) struct key *root_key = NULL;
    AUTO(key_autofree) struct key *intermediate_key = NULL;
    AUTO(x509_autofree) struct x509 *root = NULL;
    AUTO(x509_autofree) struct x509 *intermediate = NULL;
    AUTO(buf_done) struct buf root_pem = {0};
    AUTO(buf_done) struct buf intermediate_pem = {0};
    AUTO(buf_done) struct buf both_pem = {0};
    char name[PKI_AUTHORITY_NAME_BYTES];

    AUTO(pki_signing_key_wipe) struct pki_signing_key signing;
    TRY(pki_signing_key(root_of_keyring, signing.bytes));
    struct slice seal = slice_of(signing.bytes, sizeof signing.bytes);
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
    const struct first_issuer by = {.cert = intermediate,
                                    .key = intermediate_key,
                                    .pem = buf_slice(&intermediate_pem),
                                    .root_pem = buf_slice(&root_pem)};
    return make_first_server(disk, root_of_keyring, hosts, &by, random, now_wall_ms);
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

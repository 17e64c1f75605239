#include "app/cli/enrol_join.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "app/cli/https_client.h"
#include "base/base64.h"
#include "base/mem.h"
#include "core/principal.h"
#include "security/crypto/x509_certs.h"
#include "security/crypto/x509_request.h"
#include "service/enrol/enrol_pages.h"
#include "service/enrol/est.h"
#include "service/pki/bundle.h"

enum { PORT_DEFAULT = 9443, AUTHORIZATION_BYTES = 512, WAIT_MOST_S = 600 };

struct join {
    struct cli *cli;
    struct client_target target;
    struct digest root;
    const char *name, *token; /* token NULL: an operator approves it */
    char out[PATH_MAX], part[PATH_MAX];
    struct key *key;
    struct buf key_pem, csr_text, certs_pem;
    bool is_waiting_said;
};

static void join_done(struct join *j)
{
    client_target_done(&j->target);
    j->key = key_free(j->key);
    buf_wipe(&j->key_pem);
    buf_done(&j->csr_text);
    buf_done(&j->certs_pem);
}

static void https_release(struct https_client **c)
{
    *c = https_free(*c);
}

static void json_release(json_t **v)
{
    json_decref(*v);
}

static void fd_release(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

/* ---- what was said ---- */

/* Digits with or without colons between, as `openssl x509 -fingerprint` writes them. */
static bool read_fingerprint(const char *text, struct digest *ret)
{
    char hex[DIGEST_HEX_BYTES];
    size_t n = 0;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == ':') {
            continue;
        }
        if (n + 1 >= sizeof hex) {
            return false;
        }
        hex[n++] = *p;
    }
    return digest_from_hex(slice_of(hex, n), ret) == OK;
}

static bool read_server(const char *text, struct client_target *t)
{
    struct slice rest = slice_text(text), host;
    bool more = false;
    unsigned long port = PORT_DEFAULT;
    if (rest.n > 0 && rest.p[0] == '[') { /* [2001:db8::1]:9443 */
        rest = slice_from(rest, 1);
        host = slice_cut(&rest, ']', &more);
        if (!more || (rest.n > 0 && rest.p[0] != ':')) {
            return false;
        }
        rest = slice_from(rest, 1);
    } else {
        host = slice_cut(&rest, ':', &more);
    }
    if (rest.n > 0) {
        char digits[8], *end = NULL;
        if (!slice_to_text(rest, digits, sizeof digits)) {
            return false;
        }
        port = strtoul(digits, &end, 10);
        if (*end != '\0' || port == 0 || port > UINT16_MAX) {
            return false;
        }
    }
    t->port = (uint16_t)port;
    return host.n > 0 && slice_to_text(host, t->host, sizeof t->host);
}

/* ---- the key ---- */

/* Kept in OUT.part until the bundle is whole, so that who is killed asks again with the same one.
 */
static int keep_key(struct join *j)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/key.pem", j->part);
    if (n < 0 || (size_t)n >= sizeof path) {
        return cli_fail(j->cli, "%s: this path is too long", j->part);
    }
    if (mkdir(j->part, 0700) != 0 && errno != EEXIST) {
        return cli_fail(j->cli, "%s cannot be made: %s", j->part, strerror(errno));
    }
    if (access(path, F_OK) == 0) {
        int code = client_file(j->cli, path, KEY_PEM_MAX, &j->key_pem);
        if (code == CLI_DONE && key_from_pem(buf_slice(&j->key_pem), &j->key) != OK) {
            return cli_fail(j->cli, "%s is no key: remove %s and begin again", path, j->part);
        }
        return code;
    }
    AUTO(fd_release)
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || key_generate(&j->key) != OK || key_to_pem(j->key, &j->key_pem) != OK ||
        write(fd, j->key_pem.p, j->key_pem.n) != (ssize_t)j->key_pem.n || fsync(fd) != 0) {
        return cli_fail(j->cli, "%s cannot be written", path);
    }
    return CLI_DONE;
}

static int make_request(struct join *j)
{
    AUTO(buf_done) struct buf der = {0};
    int code = keep_key(j);
    if (code != CLI_DONE) {
        return code;
    }
    if (x509_request_make(j->key, slice_text(j->name), NULL, 0, &der) != OK ||
        est_text(buf_slice(&der), &j->csr_text) != OK) {
        return cli_fail(j->cli, "the request cannot be made");
    }
    return CLI_DONE;
}

/* ---- talking ---- */

static void authorize(const struct join *j, char dst[AUTHORIZATION_BYTES])
{
    char plain[AUTHORIZATION_BYTES / 2];
    int n = snprintf(plain, sizeof plain, "%s:%.127s", j->name, j->token);
    struct wr w = wr_into(dst, AUTHORIZATION_BYTES - 1);
    wr_bytes(&w, slice_text("Basic "));
    base64_encode(BASE64_PADDED, slice_of(plain, n > 0 ? (size_t)n : 0), &w);
    dst[wr_slice(&w).n] = '\0';
    mem_wipe(plain, sizeof plain);
}

static int refused(struct join *j, const struct https_answer *a)
{
    char text[WHY_BYTES];
    size_t n = a->body.n < sizeof text - 1 ? a->body.n : sizeof text - 1;
    for (size_t i = 0; i < n; i++) { /* a stranger's words on a terminal */
        text[i] = a->body.p[i] >= 0x20 && a->body.p[i] < 0x7f ? (char)a->body.p[i] : ' ';
    }
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '.')) {
        n--;
    }
    text[n] = '\0';
    return cli_fail(j->cli, "the server refuses (%u): %s", a->status, text);
}

static int finish(struct join *j, struct https_client *c, const struct https_answer *a);

/* One try. CLI_DONE with *ret_again: so many seconds later. */
static int attempt(struct join *j, unsigned *ret_again_s)
{
    AUTO(https_release) struct https_client *c = NULL;
    char authorization[AUTHORIZATION_BYTES] = "";
    struct https_answer a;
    *ret_again_s = 0;
    int code = https_open(j->cli, &j->target, digest_slice(&j->root), &c);
    if (code != CLI_DONE) {
        return code;
    }
    if (j->token != NULL) {
        authorize(j, authorization);
    }
    struct https_request r = {.method = "POST",
                              .path = "/.well-known/est/simpleenroll",
                              .type = EST_CSR_TYPE,
                              .authorization = j->token != NULL ? authorization : NULL,
                              .body = buf_slice(&j->csr_text)};
    code = https_ask(c, &r, &a);
    mem_wipe(authorization, sizeof authorization);
    if (code != CLI_DONE) {
        return code;
    }
    if (a.status == 202 || a.status == 503) {
        *ret_again_s = a.retry_after_s > 0 ? a.retry_after_s : 10;
        *ret_again_s = *ret_again_s < WAIT_MOST_S ? *ret_again_s : WAIT_MOST_S;
        if (a.status == 202 && !j->is_waiting_said) {
            j->is_waiting_said = true;
            fprintf(j->cli->err,
                    "sallyport: %s waits for approval: `sallyport enrol approve` on the "
                    "server\n",
                    j->name);
        }
        return CLI_DONE;
    }
    return a.status == 200 ? finish(j, c, &a) : refused(j, &a);
}

/* ---- the bundle ---- */

/* What came must be for our key, and below the authority we know. */
static bool is_ours(struct join *j, struct slice ca_pem)
{
    AUTO(x509_autofree) struct x509 *leaf = NULL;
    AUTO(x509_autofree) struct x509 *root = NULL;
    AUTO(buf_done) struct buf der = {0};
    struct slice certs = buf_slice(&j->certs_pem), ca = ca_pem;
    struct digest key, shown;
    if (x509_next_pem(&certs, &leaf) != OK || key_spki_sha256(j->key, &key) != OK ||
        x509_next_pem(&ca, &root) != OK || x509_to_der(root, &der) != OK ||
        digest_sha256(buf_slice(&der), &shown) != OK) {
        return false;
    }
    return slice_equal(digest_slice(&key), digest_slice(&x509_info(leaf)->spki)) &&
           slice_equal(digest_slice(&shown), digest_slice(&j->root));
}

static enum err replace(struct buf *b, struct slice with)
{
    buf_wipe(b);
    return buf_append(b, with, BUNDLE_FILE_MAX);
}

static int save(struct join *j, struct bundle *b)
{
    struct why why = {{0}};
    char key_path[PATH_MAX + 16];
    if (!is_ours(j, buf_slice(&b->file[BUNDLE_CA]))) {
        return cli_fail(j->cli, "the certificate that came is not for this key and authority");
    }
    if (replace(&b->file[BUNDLE_CERT], buf_slice(&j->certs_pem)) != OK ||
        replace(&b->file[BUNDLE_KEY], buf_slice(&j->key_pem)) != OK) {
        return cli_fail(j->cli, "no memory");
    }
    (void)snprintf(key_path, sizeof key_path, "%s/key.pem", j->part);
    (void)unlink(key_path); /* it is in the bundle, which is saved whole or not at all */
    if (bundle_save(b, j->part, &why) != OK) {
        return cli_fail(j->cli, "%s", why.text);
    }
    if (rename(j->part, j->out) != 0) {
        return cli_fail(j->cli, "%s cannot be named %s: %s", j->part, j->out, strerror(errno));
    }
    fprintf(j->cli->out,
            "%s has a certificate: its bundle is in %s, how to use it in %s/howto.txt\n", j->name,
            j->out, j->out);
    return CLI_DONE;
}

static int finish(struct join *j, struct https_client *c, const struct https_answer *a)
{
    AUTO(buf_done) struct buf der = {0};
    AUTO(json_release) json_t *files = NULL;
    AUTO(bundle_done) struct bundle bundle = {0};
    struct https_answer rest;
    if (est_body(a->body, X509_CERTS_BYTES, &der) != OK ||
        x509_certs_read(buf_slice(&der), &j->certs_pem) != OK) {
        return cli_fail(j->cli, "the answer holds no certificates");
    }
    struct https_request r = {.method = "GET", .path = ENROL_PAGES_BUNDLE};
    int code = https_ask(c, &r, &rest);
    if (code != CLI_DONE || rest.status != 200) {
        return code != CLI_DONE ? code : refused(j, &rest);
    }
    files = json_loadb((const char *)rest.body.p, rest.body.n, JSON_REJECT_DUPLICATES, NULL);
    if (files == NULL || bundle_from_json(files, &bundle) != OK) {
        return cli_fail(j->cli, "the rest of the bundle does not read; are both the same version?");
    }
    return save(j, &bundle);
}

int enrol_join(struct cli *cli, const struct cli_command *self, const struct cli_args *args)
{
    AUTO(join_done)
    struct join j = {
        .cli = cli, .name = cli_value(args, "--name"), .token = cli_value(args, "--token")};
    const char *server = cli_value(args, "--server"), *root = cli_value(args, "--ca-sha256");
    const char *out = cli_value(args, "--out");
    unsigned again_s = 0;
    if (server == NULL || root == NULL || j.name == NULL ||
        !principal_name_ok(slice_text(j.name)) || !read_server(server, &j.target) ||
        !read_fingerprint(root, &j.root)) {
        return cli_usage(cli, self,
                         "enrol join needs --server HOST[:PORT], --ca-sha256 with the 64 digits "
                         "that `enrol token` printed, and --name");
    }
    out = out != NULL ? out : j.name;
    int n = snprintf(j.out, sizeof j.out, "%s", out);
    int m = snprintf(j.part, sizeof j.part, "%s.part", out);
    if (n < 0 || m < 0 || (size_t)m >= sizeof j.part) {
        return cli_fail(cli, "%s: this path is too long", out);
    }
    if (access(j.out, F_OK) == 0) {
        return cli_fail(cli, "%s is there already; choose another place with --out", j.out);
    }
    int code = make_request(&j);
    while (code == CLI_DONE) {
        code = attempt(&j, &again_s);
        if (code != CLI_DONE || again_s == 0) {
            return code;
        }
        struct timespec pause = {.tv_sec = (time_t)again_s};
        (void)nanosleep(&pause, NULL);
    }
    return code;
}

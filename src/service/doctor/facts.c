#include "service/doctor/facts.h"

#include "base/mem.h"
#include "base/rd.h"
#include "security/crypto/digest.h"
#include "security/crypto/x509.h"

enum { FIRST_ROOM = 16 };

static const char *const products[FACTS_PRODUCTS] = {"sallyport", "mosquitto", "emqx", "nanomq"};

const char *facts_product_name(enum facts_product p)
{
    return products[p];
}

bool facts_product_find(struct slice name, enum facts_product *ret)
{
    for (size_t i = 0; i < FACTS_PRODUCTS; i++) {
        if (slice_is(name, products[i])) {
            *ret = (enum facts_product)i;
            return true;
        }
    }
    return false;
}

enum err facts_new(enum facts_product product, int64_t now_wall_ms, struct facts **ret)
{
    struct facts *f = mem_zalloc(sizeof *f);
    if (f == NULL) {
        return ERR_NOMEM;
    }
    f->product = product;
    f->now_wall_ms = now_wall_ms;
    *ret = f;
    return OK;
}

struct facts *facts_free(struct facts *f)
{
    if (f != NULL) {
        mem_free(f->listeners);
        mem_free(f->grants);
        mem_free(f->accounts);
        mem_free(f->bridges);
        mem_free(f->certificates);
        mem_free(f->files);
        mem_free(f->permits);
        mem_free(f->alerts);
        mem_free(f->pairs);
        mem_free(f->unread);
    }
    return mem_free(f);
}

/* Room for element n of so many bytes; the first 16, then twice as many each time. */
static enum err make_room(void **list, size_t n, size_t size)
{
    bool is_full = n == 0 || (n >= FIRST_ROOM && (n & (n - 1)) == 0);
    if (is_full) {
        void *more = mem_grow(*list, (n == 0 ? FIRST_ROOM : 2 * n) * size);
        if (more == NULL) {
            return ERR_NOMEM;
        }
        *list = more;
    }
    return OK;
}

#define FACTS_ADDER(one, many, most)                                                               \
    enum err facts_add_##one(struct facts *f, struct facts_##one **ret)                            \
    {                                                                                              \
        *ret = NULL;                                                                               \
        if (f->n_##many == (size_t)(most)) {                                                       \
            f->n_dropped++;                                                                        \
            return OK;                                                                             \
        }                                                                                          \
        void *list = f->many;                                                                      \
        enum err e = make_room(&list, f->n_##many, sizeof f->many[0]);                             \
        f->many = list;                                                                            \
        if (e == OK) {                                                                             \
            *ret = &f->many[f->n_##many++];                                                        \
            **ret = (struct facts_##one){0};                                                       \
        }                                                                                          \
        return e;                                                                                  \
    }

FACTS_ADDER(listener, listeners, FACTS_LISTENERS_MAX)
FACTS_ADDER(grant, grants, FACTS_GRANTS_MAX)
FACTS_ADDER(account, accounts, FACTS_ACCOUNTS_MAX)
FACTS_ADDER(bridge, bridges, FACTS_BRIDGES_MAX)
FACTS_ADDER(certificate, certificates, FACTS_CERTIFICATES_MAX)
FACTS_ADDER(permit, permits, FACTS_PERMITS_MAX)
FACTS_ADDER(alert, alerts, FACTS_ALERTS_MAX)
FACTS_ADDER(pair, pairs, FACTS_PAIRS_MAX)

enum err facts_add_file(struct facts *f, struct slice path, uint32_t *ret_index)
{
    if (f->n_files == FACTS_FILES_MAX) {
        return ERR_LIMIT;
    }
    void *list = f->files;
    enum err e = make_room(&list, f->n_files, sizeof f->files[0]);
    f->files = list;
    if (e == OK) {
        *ret_index = (uint32_t)f->n_files;
        f->files[f->n_files] = (struct facts_file){0};
        facts_shown(f->files[f->n_files++].path, FACTS_PATH, path);
    }
    return e;
}

enum err facts_unread(struct facts *f, struct facts_place at, struct slice text, const char *reason)
{
    if (f->n_unread == FACTS_UNREAD_MAX) {
        f->n_dropped++;
        return OK;
    }
    void *list = f->unread;
    enum err e = make_room(&list, f->n_unread, sizeof f->unread[0]);
    f->unread = list;
    if (e == OK) {
        struct facts_unread *u = &f->unread[f->n_unread++];
        u->at = at;
        facts_text(u->text, text);
        facts_text(u->reason, slice_text(reason));
    }
    return e;
}

void facts_seen(struct facts_file *file, uint32_t mode, int64_t changed_wall_ms)
{
    file->is_found = true;
    file->mode = mode & 07777;
    file->changed_wall_ms = changed_wall_ms;
}

enum err facts_certificates(struct facts *f, struct slice pem, struct facts_place at,
                            const char *name, bool is_authority)
{
    bool is_first = true;
    for (;;) {
        AUTO(x509_autofree) struct x509 *x = NULL;
        struct facts_certificate *c;
        enum err e = x509_next_pem(&pem, &x);
        if (e != OK) {
            return e == ERR_NOMEM ? e
                   : e == ERR_NOT_FOUND && !is_first
                       ? OK
                       : facts_unread(f, at, slice_text(name), "does not read as certificates");
        }
        TRY(facts_add_certificate(f, &c));
        if (c == NULL) {
            return OK;
        }
        c->at = at;
        c->is_authority = is_authority || !is_first;
        c->bits = x509_strength_bits(x);
        c->id = x509_info(x)->id;
        c->ends_wall_ms = x509_info(x)->not_after_wall_ms;
        facts_text(c->name, slice_text(name));
        is_first = false;
    }
}

void facts_text(char dst[FACTS_TEXT], struct slice s)
{
    facts_shown(dst, FACTS_TEXT, s);
}

void facts_shown(char *dst, size_t cap, struct slice s)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;
    for (size_t i = 0; i < s.n && n + 8 < cap; i++) {
        uint8_t c = s.p[i];
        if (c >= 0x20 && c < 0x7f) {
            dst[n++] = (char)c;
        } else {
            dst[n++] = '\\';
            dst[n++] = 'x';
            dst[n++] = hex[c >> 4];
            dst[n++] = hex[c & 15];
        }
        if (n + 8 >= cap && i + 1 < s.n) {
            dst[n++] = '.';
            dst[n++] = '.';
            dst[n++] = '.';
        }
    }
    dst[n] = '\0';
}

struct facts_value facts_said(int64_t n, struct facts_place at)
{
    return (struct facts_value){.is_known = true, .n = n, .at = at};
}

struct facts_value facts_preset(int64_t n, uint32_t file)
{
    return (struct facts_value){.is_known = true, .n = n, .at = {.file = file}};
}

bool facts_is_loopback(struct slice bind)
{
    return slice_has_prefix(bind, slice_text("127.")) ||
           slice_has_prefix(bind, slice_text("[::1]")) || slice_is(bind, "::1") ||
           slice_is(bind, "localhost") || slice_has_prefix(bind, slice_text("localhost:"));
}

enum err facts_likeness(struct slice secret, uint64_t *ret)
{
    struct digest d;
    TRY(digest_sha256(secret, &d));
    struct rd r = rd_from(digest_slice(&d));
    uint64_t value = rd_u64(&r);
    *ret = value != 0 ? value : 1;
    return OK;
}

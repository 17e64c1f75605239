#include "app/cli/oscore_file.h"

#include <inttypes.h>
#include <jansson.h>

#include "app/cli/client_hex.h"
#include "base/mem.h"
#include "base/scope.h"
#include "security/crypto/digest.h"

static void json_release(json_t **j)
{
    json_decref(*j);
}

static json_t *load(struct slice text)
{
    return text.n > OSCORE_FILE_MAX
               ? NULL
               : json_loadb((const char *)text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
}

/* ---- oscore.json ---- */

void oscore_given_wipe(struct oscore_given *g)
{
    mem_wipe(g, sizeof(*g));
}

static bool is_said(const json_t *json, const char *name, const char *value)
{
    const char *text = json_string_value(json_object_get(json, name));
    return text != NULL && strcmp(text, value) == 0;
}

static enum err read_hex(const json_t *json, const char *name, void *dst, size_t cap, size_t *ret_n)
{
    const char *text = json_string_value(json_object_get(json, name));
    return text != NULL && client_hex(slice_text(text), dst, cap, ret_n) == OK ? OK : ERR_MALFORMED;
}

static enum err read_id(const json_t *json, const char *name, struct oscore_id *ret)
{
    size_t n = 0;
    TRY(read_hex(json, name, ret->bytes, sizeof(ret->bytes), &n));
    ret->n = (uint8_t)n;
    return OK;
}

enum err oscore_given_read(struct slice text, struct oscore_given *ret)
{
    AUTO(oscore_given_wipe) struct oscore_given g = {.secret_n = 0};
    AUTO(json_release) json_t *json = load(text);
    if (!json_is_object(json) || json_integer_value(json_object_get(json, "version")) != 1) {
        return ERR_MALFORMED;
    }
    if (!is_said(json, "algorithm", "AES-CCM-16-64-128") ||
        !is_said(json, "hkdf", "HKDF-SHA-256") || json_object_get(json, "id_context") != NULL) {
        return ERR_UNSUPPORTED;
    }
    TRY(read_hex(json, "master_secret", g.secret, sizeof(g.secret), &g.secret_n));
    TRY(read_hex(json, "master_salt", g.salt, sizeof(g.salt), &g.salt_n));
    TRY(read_id(json, "sender_id", &g.sender));
    TRY(read_id(json, "recipient_id", &g.recipient));
    if (g.secret_n < OSCORE_SECRET_MIN ||
        slice_equal(oscore_id_slice(&g.sender), oscore_id_slice(&g.recipient))) {
        return ERR_DENIED;
    }
    *ret = g;
    return OK;
}

struct oscore_material oscore_given_material(const struct oscore_given *g)
{
    return (struct oscore_material){.secret = slice_of(g->secret, g->secret_n),
                                    .salt = slice_of(g->salt, g->salt_n),
                                    .sender_id = oscore_id_slice(&g->sender),
                                    .recipient_id = oscore_id_slice(&g->recipient)};
}

enum err oscore_given_mark(const struct oscore_given *g, char dst[OSCORE_MARK_CHARS + 1])
{
    struct digest d;
    char hex[DIGEST_HEX_BYTES];
    uint8_t all[OSCORE_SALT_MAX + 2 * (OSCORE_ID_MAX + 1)];
    struct wr w = wr_into(all, sizeof(all));
    wr_u8(&w, g->sender.n);
    wr_bytes(&w, oscore_id_slice(&g->sender));
    wr_u8(&w, g->recipient.n);
    wr_bytes(&w, oscore_id_slice(&g->recipient));
    wr_bytes(&w, slice_of(g->salt, g->salt_n));
    TRY(digest_hmac(slice_of(g->secret, g->secret_n), wr_slice(&w), &d));
    digest_hex(&d, hex);
    memcpy(dst, hex, OSCORE_MARK_CHARS);
    dst[OSCORE_MARK_CHARS] = '\0';
    mem_wipe(&d, sizeof(d));
    return OK;
}

/* ---- the record ---- */

static enum err read_mark(const json_t *json, const char *name, char dst[OSCORE_MARK_CHARS + 1])
{
    uint8_t bytes[OSCORE_MARK_CHARS / 2];
    size_t n = 0;
    TRY(read_hex(json, name, bytes, sizeof(bytes), &n));
    if (n != sizeof(bytes)) {
        return ERR_MALFORMED;
    }
    client_hex_write(slice_of(bytes, n), dst);
    return OK;
}

enum err oscore_record_read(struct slice text, struct oscore_record *ret)
{
    struct oscore_record r = {.next = 0};
    AUTO(json_release) json_t *json = load(text);
    const json_t *next = json_object_get(json, "next");
    json_int_t number = json_integer_value(next);
    if (json_integer_value(json_object_get(json, "version")) != 1 || !json_is_integer(next) ||
        number < 0 || (uint64_t)number > COAP_OSCORE_PIV_MAX) {
        return ERR_MALFORMED;
    }
    r.next = (uint64_t)number;
    TRY(read_mark(json, "context", r.mark));
    TRY(read_mark(json, "place", r.place));
    TRY(read_hex(json, "id_context", r.id_context, sizeof(r.id_context), &r.id_context_n));
    if (r.id_context_n == 0) {
        return ERR_MALFORMED;
    }
    *ret = r;
    return OK;
}

enum err oscore_record_write(const struct oscore_record *r, struct buf *ret)
{
    char text[512], id_context[2 * OSCORE_ID_CONTEXT_MAX + 1];
    client_hex_write(slice_of(r->id_context, r->id_context_n), id_context);
    int n = snprintf(text, sizeof(text),
                     "{\"version\": 1, \"context\": \"%s\", \"place\": \"%s\", \"id_context\": "
                     "\"%s\", \"next\": %" PRIu64 "}\n",
                     r->mark, r->place, id_context, r->next);
    return buf_append(ret, slice_of(text, (size_t)n), OSCORE_FILE_MAX);
}

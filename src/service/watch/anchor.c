#include "service/watch/anchor.h"

#include <jansson.h>

#include "base/clock.h"
#include "base/hex.h"

enum { ANCHOR_VERSION = 1, ANCHOR_MEMBERS = 8, SIGNED_MAX = 128 };

static struct slice signed_text(const struct anchor *a, uint8_t dst[SIGNED_MAX])
{
    struct wr w = wr_into(dst, SIGNED_MAX);
    wr_bytes(&w, slice_text(ANCHOR_DOMAIN));
    wr_bytes(&w, slice_of(a->trail, sizeof a->trail));
    wr_u64(&w, a->count);
    wr_bytes(&w, digest_slice(&a->head));
    wr_u64(&w, (uint64_t)a->wall_ms);
    return wr_slice(&w);
}

enum err anchor_sign(const struct ed25519 *key, struct anchor *a)
{
    uint8_t text[SIGNED_MAX];
    slice_copy(a->key, ed25519_public(key));
    return ed25519_sign(key, signed_text(a, text), a->signature);
}

enum err anchor_verify(const struct anchor *a)
{
    uint8_t text[SIGNED_MAX];
    return ed25519_verify(a->key, signed_text(a, text), a->signature);
}

enum err anchor_encode(const struct anchor *a, struct buf *ret)
{
    char trail[2 * CHAIN_ID_BYTES + 1];
    char head[DIGEST_HEX_BYTES];
    char key[2 * ED25519_PUBLIC_BYTES + 1];
    char signature[2 * ED25519_SIGNATURE_BYTES + 1];
    char time[CLOCK_ISO8601_BYTES];
    char line[ANCHOR_BYTES_MAX];
    hex_write(slice_of(a->trail, sizeof a->trail), trail);
    hex_write(slice_of(a->key, sizeof a->key), key);
    hex_write(slice_of(a->signature, sizeof a->signature), signature);
    digest_hex(&a->head, head);
    clock_iso8601(a->wall_ms, time);
    int n = snprintf(line, sizeof line,
                     "{\"sallyport_audit_anchor\":%d,\"trail\":\"%s\",\"count\":%llu,"
                     "\"head\":\"%s\",\"time\":\"%s\",\"time_ms\":%lld,\"key\":\"%s\","
                     "\"signature\":\"%s\"}\n",
                     (int)ANCHOR_VERSION, trail, (unsigned long long)a->count, head, time,
                     (long long)a->wall_ms, key, signature);
    return n > 0 && (size_t)n < sizeof line ? buf_append(ret, slice_of(line, (size_t)n), SIZE_MAX)
                                            : ERR_TOO_LARGE;
}

static void json_release(json_t **j)
{
    json_decref(*j);
}

static enum err member(const json_t *o, const char *name, void *dst, size_t n)
{
    const json_t *text = json_object_get(o, name);
    size_t got;
    if (!json_is_string(text) || json_string_length(text) != 2 * n) {
        return ERR_MALFORMED;
    }
    return hex_read(slice_of(json_string_value(text), 2 * n), dst, n, &got);
}

enum err anchor_decode(struct slice text, struct anchor *ret)
{
    struct anchor a = {0};
    if (text.n > ANCHOR_BYTES_MAX) {
        return ERR_TOO_LARGE;
    }
    if (text.n == 0) {
        return ERR_MALFORMED;
    }
    AUTO(json_release)
    json_t *o = json_loadb((const char *)text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
    const json_t *version = json_object_get(o, "sallyport_audit_anchor");
    const json_t *count = json_object_get(o, "count");
    const json_t *time = json_object_get(o, "time");
    const json_t *time_ms = json_object_get(o, "time_ms");
    char words[CLOCK_ISO8601_BYTES];
    if (!json_is_integer(version)) {
        return ERR_MALFORMED;
    }
    if (json_integer_value(version) != ANCHOR_VERSION) {
        return ERR_UNSUPPORTED;
    }
    if (json_object_size(o) != ANCHOR_MEMBERS || !json_is_string(time) || !json_is_integer(count) ||
        json_integer_value(count) <= 0 || !json_is_integer(time_ms)) {
        return ERR_MALFORMED;
    }
    a.count = (uint64_t)json_integer_value(count);
    a.wall_ms = json_integer_value(time_ms);
    clock_iso8601(a.wall_ms, words);
    if (strcmp(json_string_value(time), words) != 0) {
        return ERR_MALFORMED; /* words for people, which are not signed */
    }
    TRY(member(o, "trail", a.trail, sizeof a.trail));
    TRY(member(o, "head", a.head.bytes, sizeof a.head.bytes));
    TRY(member(o, "key", a.key, sizeof a.key));
    TRY(member(o, "signature", a.signature, sizeof a.signature));
    *ret = a;
    return OK;
}

enum err anchor_load(struct disk *d, struct buf *ret)
{
    enum err err = disk_load(d, ANCHOR_FILE, ANCHOR_BYTES_MAX, ret);
    return err == ERR_NOT_FOUND ? disk_load(d, ANCHOR_FILE_FORMER, ANCHOR_BYTES_MAX, ret) : err;
}

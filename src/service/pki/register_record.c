#include "base/clock.h"
#include "service/pki/register_private.h"

static void put_digest(struct wr *w, const struct digest *d)
{
    wr_bytes(w, digest_slice(d));
}

static struct digest get_digest(struct rd *r)
{
    struct digest d = {{0}};
    slice_copy(d.bytes, rd_bytes(r, sizeof d.bytes));
    return d;
}

static void put_serial(struct wr *w, const struct authority_serial *s)
{
    wr_u8(w, s->n);
    wr_bytes(w, slice_of(s->bytes, s->n));
}

static struct authority_serial get_serial(struct rd *r)
{
    struct authority_serial s = {.n = rd_u8(r)};
    if (s.n == 0 || s.n > sizeof s.bytes) {
        rd_fail(r, ERR_MALFORMED);
        return (struct authority_serial){0};
    }
    slice_copy(s.bytes, rd_bytes(r, s.n));
    return s;
}

static bool get_flag(struct rd *r)
{
    uint8_t b = rd_u8(r);
    if (b > 1) {
        rd_fail(r, ERR_MALFORMED);
    }
    return b == 1;
}

static struct slice get_text(struct rd *r, size_t max)
{
    struct slice s = rd_block16(r);
    if (s.n > max || slice_find(s, 0) != s.n) {
        rd_fail(r, ERR_MALFORMED);
        return (struct slice){0};
    }
    return s;
}

static void put_hosts(struct wr *w, const struct register_entry *e)
{
    wr_u8(w, (uint8_t)e->n_hosts);
    for (size_t i = 0; i < e->n_hosts; i++) {
        wr_u8(w, (uint8_t)e->hosts[i].kind);
        wr_block16(w, e->hosts[i].value);
    }
}

static void get_hosts(struct rd *r, struct register_entry *e)
{
    size_t n = rd_u8(r);
    if (n > REGISTER_HOSTS_MAX) {
        rd_fail(r, ERR_LIMIT);
        return;
    }
    for (size_t i = 0; i < n && rd_ok(r); i++) {
        uint8_t kind = rd_u8(r);
        struct slice value = rd_block16(r);
        if (kind > X509_SAN_OTHER || value.n > REGISTER_HOST_BYTES_MAX) {
            rd_fail(r, ERR_MALFORMED);
            return;
        }
        e->hosts[i] = (struct x509_san){(enum x509_san_kind)kind, value};
    }
    e->n_hosts = n;
}

void register_entry_encode(const struct register_entry *e, struct wr *w)
{
    wr_u8(w, (uint8_t)e->kind);
    switch (e->kind) {
    case REGISTER_BORN:
        wr_u64(w, (uint64_t)e->at_wall_ms);
        put_digest(w, &e->spki);
        return;
    case REGISTER_HOSTS:
        put_hosts(w, e);
        return;
    case REGISTER_NAME:
        wr_block16(w, e->name);
        wr_u8(w, e->state);
        wr_u8(w, e->reason);
        wr_u8(w, e->is_migrated ? 1 : 0);
        wr_u8(w, e->is_open ? 1 : 0);
        wr_u64(w, (uint64_t)e->at_wall_ms);
        wr_u8(w, e->has_spki ? 1 : 0);
        if (e->has_spki) {
            put_digest(w, &e->spki);
        }
        return;
    case REGISTER_ISSUED:
        wr_block16(w, e->name);
        put_serial(w, &e->serial);
        put_digest(w, &e->spki);
        wr_u64(w, (uint64_t)e->not_before_wall_ms);
        wr_u64(w, (uint64_t)e->not_after_wall_ms);
        wr_u64(w, (uint64_t)e->at_wall_ms);
        wr_u8(w, e->reason);
        return;
    case REGISTER_SERIAL_REVOKED:
        put_serial(w, &e->serial);
        wr_u64(w, (uint64_t)e->at_wall_ms);
        wr_u8(w, e->reason);
        return;
    case REGISTER_TOKEN:
        put_digest(w, &e->spki);
        wr_block16(w, e->name);
        wr_block16(w, e->pattern);
        wr_block16(w, e->role);
        wr_block16(w, e->attrs_json);
        wr_u64(w, (uint64_t)e->at_wall_ms);
        wr_u64(w, e->number);
        return;
    case REGISTER_CRL:
        wr_u64(w, e->number);
        return;
    }
}

static void get_name(struct rd *r, struct register_entry *e)
{
    e->name = get_text(r, REGISTER_NAME_MAX);
    e->state = rd_u8(r);
    e->reason = rd_u8(r);
    e->is_migrated = get_flag(r);
    e->is_open = get_flag(r);
    e->at_wall_ms = (int64_t)rd_u64(r);
    e->has_spki = get_flag(r);
    if (e->has_spki) {
        e->spki = get_digest(r);
    }
    if (e->name.n == 0 || e->state > REGISTER_REVOKED) {
        rd_fail(r, ERR_MALFORMED);
    }
}

static void get_issued(struct rd *r, struct register_entry *e)
{
    e->name = get_text(r, REGISTER_NAME_MAX);
    e->serial = get_serial(r);
    e->spki = get_digest(r);
    e->not_before_wall_ms = (int64_t)rd_u64(r);
    e->not_after_wall_ms = (int64_t)rd_u64(r);
    e->at_wall_ms = (int64_t)rd_u64(r);
    e->reason = rd_u8(r);
}

static void get_token(struct rd *r, struct register_entry *e)
{
    e->spki = get_digest(r);
    e->name = get_text(r, REGISTER_NAME_MAX);
    e->pattern = get_text(r, REGISTER_PATTERN_MAX);
    e->role = get_text(r, REGISTER_ROLE_MAX);
    e->attrs_json = get_text(r, REGISTER_ATTRS_MAX);
    e->at_wall_ms = (int64_t)rd_u64(r);
    e->number = rd_u64(r);
    if (e->number > UINT32_MAX) {
        rd_fail(r, ERR_MALFORMED);
    }
}

MUST_USE enum err register_entry_decode(struct rd *r, struct register_entry *ret)
{
    struct register_entry e = {.kind = (enum register_kind)rd_u8(r)};
    switch ((int)e.kind) {
    case REGISTER_BORN:
        e.at_wall_ms = (int64_t)rd_u64(r);
        e.spki = get_digest(r);
        break;
    case REGISTER_HOSTS:
        get_hosts(r, &e);
        break;
    case REGISTER_NAME:
        get_name(r, &e);
        break;
    case REGISTER_ISSUED:
        get_issued(r, &e);
        break;
    case REGISTER_SERIAL_REVOKED:
        e.serial = get_serial(r);
        e.at_wall_ms = (int64_t)rd_u64(r);
        e.reason = rd_u8(r);
        break;
    case REGISTER_TOKEN:
        get_token(r, &e);
        break;
    case REGISTER_CRL:
        e.number = rd_u64(r);
        break;
    default:
        rd_fail(r, ERR_MALFORMED);
        break;
    }
    TRY(r->err);
    *ret = e;
    return OK;
}

#include "wire/coap/oscore.h"

enum {
    PIV_LENGTH_MASK = 0x07,
    FLAG_KID = 0x08,
    FLAG_KID_CONTEXT = 0x10,
    RESERVED_MASK = 0xE0,
};

static size_t piv_length(uint64_t piv)
{
    size_t n = 1;
    while (n < sizeof(piv) && piv >> (8 * n) != 0) {
        n++;
    }
    return n;
}

static enum err read_parts(struct rd *r, uint8_t flags, struct coap_oscore *ret)
{
    size_t piv_n = flags & PIV_LENGTH_MASK;
    /* SPEC: RFC8613 6.1: lengths 6 and 7 are reserved, and so are the three upper bits */
    if ((flags & RESERVED_MASK) != 0 || piv_n > COAP_OSCORE_PIV_BYTES || flags == 0) {
        return ERR_MALFORMED;
    }
    if (piv_n > 0) {
        ret->has_piv = true;
        ret->piv = rd_be(r, piv_n);
        if (rd_ok(r) && piv_length(ret->piv) != piv_n) {
            return ERR_MALFORMED; /* SPEC: RFC8613 5: one number, one form */
        }
    }
    if ((flags & FLAG_KID_CONTEXT) != 0) {
        ret->has_kid_context = true;
        ret->kid_context = rd_bytes(r, rd_u8(r));
    }
    if ((flags & FLAG_KID) != 0) {
        ret->has_kid = true;
        ret->kid = rd_rest(r);
    }
    enum err err = rd_finish(r);
    return err == ERR_TRAILING ? ERR_MALFORMED : err;
}

enum err coap_oscore_decode(struct slice value, struct coap_oscore *ret)
{
    struct rd r = rd_from(value);
    struct coap_oscore o = {0};
    if (value.n > COAP_OSCORE_OPTION_MAX) {
        return ERR_TOO_LARGE;
    }
    if (value.n > 0) {
        TRY(read_parts(&r, rd_u8(&r), &o));
    }
    *ret = o;
    return OK;
}

void coap_oscore_piv_write(uint64_t piv, struct wr *w)
{
    if (piv > COAP_OSCORE_PIV_MAX) {
        wr_fail(w, ERR_TOO_LARGE);
    }
    wr_be(w, piv, piv_length(piv));
}

void coap_oscore_encode(const struct coap_oscore *o, struct wr *w)
{
    size_t at = w->at;
    size_t flags = (o->has_piv ? piv_length(o->piv) : 0) | (o->has_kid ? FLAG_KID : 0) |
                   (o->has_kid_context ? FLAG_KID_CONTEXT : 0);
    if (flags == 0) {
        return; /* SPEC: RFC8613 2: then the value is empty */
    }
    if (o->kid_context.n > UINT8_MAX) {
        wr_fail(w, ERR_TOO_LARGE);
        return;
    }
    wr_u8(w, (uint8_t)flags);
    if (o->has_piv) {
        coap_oscore_piv_write(o->piv, w);
    }
    if (o->has_kid_context) {
        wr_u8(w, (uint8_t)o->kid_context.n);
        wr_bytes(w, o->kid_context);
    }
    if (o->has_kid) {
        wr_bytes(w, o->kid);
    }
    if (w->at - at > COAP_OSCORE_OPTION_MAX) {
        wr_fail(w, ERR_TOO_LARGE);
    }
}

#include "service/broker/renewal.h"

#include "base/base64.h"
#include "base/mem.h"
#include "base/scope.h"

enum { DER_SEQUENCE = 0x30 };

MUST_USE enum err renewal_new(struct renewal **ret)
{
    *ret = mem_zalloc(sizeof(**ret));
    return *ret != NULL ? OK : ERR_NOMEM;
}

struct renewal *renewal_free(struct renewal *r)
{
    if (r != NULL) {
        buf_done(&r->csr);
        buf_done(&r->current);
        buf_done(&r->chain);
        mem_free(r);
    }
    return NULL;
}

/* A line of `text` without its end; both forms of the end are taken. */
static struct slice next_line(struct slice *text, bool *ret_more)
{
    struct slice line = slice_cut(text, '\n', ret_more);
    return line.n > 0 && line.p[line.n - 1] == '\r' ? slice_head(line, line.n - 1) : line;
}

/* The lines between the first BEGIN and its END, as one. */
static enum err join_pem(struct slice text, struct buf *ret)
{
    bool more = true, is_inside = false;
    while (more) {
        struct slice line = next_line(&text, &more);
        if (slice_is(line, "-----BEGIN CERTIFICATE REQUEST-----") ||
            slice_is(line, "-----BEGIN NEW CERTIFICATE REQUEST-----")) {
            is_inside = true;
        } else if (is_inside && slice_has_prefix(line, slice_text("-----END "))) {
            return OK;
        } else if (is_inside) {
            TRY(buf_append(ret, line, RENEWAL_CSR_MAX * 2));
        }
    }
    return ERR_MALFORMED;
}

MUST_USE enum err renewal_csr(struct slice text, struct buf *ret)
{
    AUTO(buf_done) struct buf joined = {0};
    if (text.n > RENEWAL_CSR_MAX) {
        return ERR_TOO_LARGE;
    }
    if (text.n > 0 && text.p[0] == DER_SEQUENCE) {
        return buf_append(ret, text, RENEWAL_CSR_MAX);
    }
    TRY(join_pem(text, &joined));
    uint8_t *dst = NULL;
    size_t n = 0;
    TRY(buf_room(ret, BASE64_BYTES_MAX(joined.n), ret->n + RENEWAL_CSR_MAX, &dst));
    TRY(base64_decode(BASE64_PADDED, buf_slice(&joined), dst, BASE64_BYTES_MAX(joined.n), &n));
    if (n == 0 || dst[0] != DER_SEQUENCE) {
        return ERR_MALFORMED;
    }
    ret->n += n;
    return OK;
}

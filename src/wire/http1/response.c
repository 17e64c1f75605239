#include "wire/http1/response.h"

#include "wire/http1/head_private.h"

enum { STATUS_DIGITS = 3, STATUS_LEAST = 100, STATUS_MOST = 599 };

static enum err read_status_line(struct slice line, unsigned *ret, bool *ret_old)
{
    bool more;
    struct slice version = slice_cut(&line, ' ', &more);
    struct slice digits = slice_cut(&line, ' ', &more);
    unsigned status = 0;
    if (!http1_is_version(version) || digits.n != STATUS_DIGITS) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < digits.n; i++) {
        if (digits.p[i] < '0' || digits.p[i] > '9') {
            return ERR_MALFORMED;
        }
        status = status * 10 + (digits.p[i] - (unsigned)'0');
    }
    if (status < STATUS_LEAST || status > STATUS_MOST) {
        return ERR_MALFORMED;
    }
    *ret = status;
    *ret_old = slice_is(version, "HTTP/1.0");
    return *ret_old || slice_is(version, "HTTP/1.1") ? OK : ERR_UNSUPPORTED;
}

enum err http1_response_decode(struct slice head, struct http1_response *ret)
{
    bool is_old;
    TRY(http1_response_decode_old(head, ret, &is_old));
    return is_old ? ERR_UNSUPPORTED : OK;
}

enum err http1_response_decode_old(struct slice head, struct http1_response *ret, bool *ret_old)
{
    if (head.n == 0 || head.n > HTTP1_HEAD_MAX) {
        return head.n == 0 ? ERR_MALFORMED : ERR_TOO_LARGE;
    }
    struct rd r = rd_from(head);
    struct slice line = http1_line_take(&r);
    ret->fields.n_fields = 0;
    if (!rd_ok(&r)) {
        return ERR_MALFORMED;
    }
    if (line.n > HTTP1_LINE_MAX) {
        return ERR_TOO_LARGE;
    }
    TRY(read_status_line(line, &ret->status, ret_old));
    return http1_fields_decode(&r, &ret->fields);
}

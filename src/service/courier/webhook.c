/* Requests and answers of a webhook. SPEC: RFC9110 10.2.3, 15; RFC9112 6. */
#include "service/courier/webhook.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/scope.h"
#include "security/crypto/digest.h"
#include "wire/http1/response.h"

enum { HTTPS_PORT = 443, STATUS_DIGITS_MAX = 10, INTERIM_MAX = 8 };

/* ---- the address ---- */

static bool is_of(struct slice text, const char *more)
{
    bool good = true;
    for (size_t i = 0; good && i < text.n; i++) {
        uint8_t c = text.p[i];
        good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               (c > ' ' && c < 0x7f && strchr(more, c) != NULL);
    }
    return good;
}

static bool read_port(struct slice digits, uint16_t *ret)
{
    uint32_t v = 0;
    bool good = digits.n > 0 && digits.n <= 5;
    for (size_t i = 0; good && i < digits.n; i++) {
        good = digits.p[i] >= '0' && digits.p[i] <= '9';
        v = v * 10 + (uint32_t)(digits.p[i] - (unsigned)'0');
    }
    if (!good || v == 0 || v > UINT16_MAX) {
        return false;
    }
    *ret = (uint16_t)v;
    return true;
}

static bool read_authority(struct slice authority, struct webhook_url *u)
{
    struct slice rest = authority;
    bool has_port = false, is_six = rest.n > 0 && rest.p[0] == '[';
    if (is_six) {
        rest = slice_from(rest, 1);
        u->host = slice_cut(&rest, ']', &has_port);
        if (!has_port || (rest.n > 0 && rest.p[0] != ':')) {
            return false;
        }
        has_port = rest.n > 0;
        rest = has_port ? slice_from(rest, 1) : rest;
    } else {
        u->host = slice_cut(&rest, ':', &has_port);
    }
    u->authority = authority;
    u->port = HTTPS_PORT;
    return u->host.n > 0 && is_of(u->host, is_six ? ":." : "-_.") &&
           (!has_port || read_port(rest, &u->port));
}

enum err webhook_url_read(struct slice text, struct webhook_url *ret, const char **ret_why)
{
    static const char scheme[] = "https://";
    struct webhook_url u = {.path = slice_text("/")};
    if (slice_has_prefix(text, slice_text("http://"))) {
        *ret_why = "url must begin with https://: over http:// anybody between could read the "
                   "records, and answer in the receiver's place. Give the receiver a certificate, "
                   "name who signed it by ca, and write https://";
        return ERR_MALFORMED;
    }
    *ret_why = "url must be like \"https://192.0.2.7:8443/alerts\": no user, no fragment, "
               "printable ASCII, 255 characters at most";
    if (!slice_has_prefix(text, slice_text(scheme)) || text.n >= WEBHOOK_URL_BYTES) {
        return ERR_MALFORMED;
    }
    struct slice rest = slice_from(text, sizeof scheme - 1);
    size_t slash = slice_find(rest, '/');
    if (slash < rest.n) {
        u.path = slice_from(rest, slash);
    }
    if (!read_authority(slice_head(rest, slash), &u) || !is_of(u.path, "/-._~!$&'()*+,;=:@%?")) {
        return ERR_MALFORMED;
    }
    *ret = u;
    return OK;
}

enum err webhook_secret_read(struct slice file, struct slice *ret)
{
    while (file.n > 0 && (file.p[file.n - 1] == '\n' || file.p[file.n - 1] == '\r')) {
        file = slice_head(file, file.n - 1);
    }
    bool is_line = slice_find(file, '\n') == file.n && slice_find(file, 0) == file.n;
    if (!is_line || file.n < WEBHOOK_SECRET_MIN || file.n > WEBHOOK_SECRET_MAX) {
        return ERR_MALFORMED;
    }
    *ret = file;
    return OK;
}

/* ---- the request ---- */

__attribute__((format(printf, 2, 3))) static enum err put(struct buf *b, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof text) {
        return ERR_TOO_LARGE;
    }
    return buf_append(b, slice_of(text, (size_t)n), WEBHOOK_REQUEST_MAX);
}

/* "TIME." and the body: what is signed. *ret_at: where the body begins. */
static enum err put_signed(const struct webhook_request *r, struct buf *ret, size_t *ret_at)
{
    struct slice rest = r->lines;
    bool more = rest.n > 0;
    const char *between = "";
    TRY(put(ret, "%" PRId64 ".", r->wall_ms / 1000));
    *ret_at = ret->n;
    TRY(put(ret,
            "{\"sink\":\"%s\",\"host\":\"%s\",\"first\":%" PRIu64 ",\"last\":%" PRIu64
            ",\"records\":[",
            r->sink, r->host, r->first, r->last));
    while (more) {
        struct slice line = slice_cut(&rest, '\n', &more);
        if (line.n > 0) {
            TRY(buf_append(ret, slice_text(between), WEBHOOK_REQUEST_MAX));
            TRY(buf_append(ret, line, WEBHOOK_REQUEST_MAX));
            between = ",";
        }
    }
    return buf_append(ret, slice_text("]}"), WEBHOOK_REQUEST_MAX);
}

enum err webhook_request_write(const struct webhook_request *r, struct buf *ret)
{
    AUTO(buf_done) struct buf text = {0};
    struct webhook_url url;
    struct digest mac;
    char hex[DIGEST_HEX_BYTES];
    const char *ignored;
    size_t at = 0;
    TRY(webhook_url_read(slice_text(r->url), &url, &ignored));
    TRY(put_signed(r, &text, &at));
    TRY(digest_hmac(r->secret, buf_slice(&text), &mac));
    digest_hex(&mac, hex);
    struct slice body = slice_from(buf_slice(&text), at);
    TRY(put(ret,
            "POST %.*s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: sallyport\r\n"
            "Content-Type: application/json\r\nContent-Length: %zu\r\n",
            SLICE_ARG(url.path), SLICE_ARG(url.authority), body.n));
    TRY(put(ret, "Sallyport-Timestamp: %" PRId64 "\r\nSallyport-Signature: sha256=%s\r\n\r\n",
            r->wall_ms / 1000, hex));
    return buf_append(ret, body, WEBHOOK_REQUEST_MAX);
}

/* ---- the answer ---- */

/* Seconds; a date, or more than would be waited anyway, is the most that is waited, or nothing. */
static uint32_t retry_after(const struct http1_response *r)
{
    struct slice text;
    uint32_t v = 0;
    if (!http1_request_find(&r->fields, "Retry-After", &text) || text.n > STATUS_DIGITS_MAX) {
        return 0;
    }
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return 0;
        }
        v = v < WEBHOOK_RETRY_MAX_S ? v * 10 + (uint32_t)(text.p[i] - (unsigned)'0') : v;
    }
    return v < WEBHOOK_RETRY_MAX_S ? v : WEBHOOK_RETRY_MAX_S;
}

/* false: it has no length that is simply told. */
static bool body_length(const struct http1_response *r, size_t *ret)
{
    struct slice text;
    size_t n = 0;
    if (r->status == 204) {
        *ret = 0;
        return true;
    }
    if (http1_request_count(&r->fields, "Transfer-Encoding") > 0 ||
        http1_request_count(&r->fields, "Content-Length") != 1 ||
        !http1_request_find(&r->fields, "Content-Length", &text) || text.n == 0 || text.n > 6) {
        return false;
    }
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return false;
        }
        n = n * 10 + (size_t)(text.p[i] - (unsigned)'0');
    }
    *ret = n;
    return n <= WEBHOOK_ANSWER_MAX;
}

static enum webhook_verdict verdict_of(unsigned status)
{
    if (status >= 200 && status < 300) {
        return WEBHOOK_TAKEN;
    }
    return status == 408 || status == 429 || status >= 500 ? WEBHOOK_LATER : WEBHOOK_REFUSED;
}

enum err webhook_answer_read(struct slice in, struct webhook_answer *ret)
{
    struct http1_response r = {.status = 0};
    size_t at = 0, n_body = 0;
    bool is_old = false;
    for (unsigned i = 0; r.status < 200; i++) {
        size_t head = 0;
        struct slice rest = slice_from(in, at);
        if (i > INTERIM_MAX) {
            return ERR_LIMIT;
        }
        enum err err = http1_head_find(rest, 0, &head);
        if (err == ERR_AGAIN && rest.n > HTTP1_HEAD_MAX) {
            return ERR_TOO_LARGE;
        }
        TRY(err);
        TRY(http1_response_decode_old(slice_head(rest, head), &r, &is_old));
        if (r.status == 101) {
            return ERR_UNSUPPORTED; /* nobody asked for another protocol */
        }
        at += head;
    }
    bool is_simple = body_length(&r, &n_body);
    bool ends =
        !is_simple || is_old || http1_request_lists(&r.fields, "Connection", "close", false);
    if (!ends && in.n - at < n_body) {
        return ERR_AGAIN;
    }
    *ret = (struct webhook_answer){.status = r.status,
                                   .verdict = verdict_of(r.status),
                                   .retry_after_s = retry_after(&r),
                                   .may_stay = !ends && in.n - at == n_body,
                                   .n = ends ? in.n : at + n_body};
    return OK;
}

const char *webhook_answer_text(const struct webhook_answer *a)
{
    switch (a->status) {
    case 401:
    case 403:
        return "it does not know us: is the secret of secret_file the one it has?";
    case 404:
        return "there is nothing at the path of url";
    case 408:
    case 429:
        return "it asks for more time";
    case 413:
        return "it takes no request of this size: let it take 256 KiB";
    default:
        break;
    }
    return a->status < 400   ? "a redirect, which is not followed: write where it is into url"
           : a->status < 500 ? "it refuses what it got; its own log says why"
                             : "it has trouble of its own";
}

#include "app/cli/client_url.h"

#include "base/scope.h"

enum { PORT_DIGITS = 5 };

static const struct {
    const char *text;
    enum client_scheme scheme;
} schemes[] = {{"mqtts://", CLIENT_URL_MQTTS},
               {"wss://", CLIENT_URL_WSS},
               {"mqtt://", CLIENT_URL_MQTT},
               {"ws://", CLIENT_URL_WS}};

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* With %XX taken back. A NUL would end the text early. */
static enum err take_part(struct slice s, char dst[CLIENT_URL_PART_MAX + 1])
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++, n++) {
        uint8_t c = s.p[i];
        if (n == CLIENT_URL_PART_MAX) {
            return ERR_TOO_LARGE;
        }
        if (c == '%') {
            int high = i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1;
            int low = i + 2 < s.n ? hex_digit(s.p[i + 2]) : -1;
            if (high < 0 || low < 0 || high + low == 0) {
                return ERR_MALFORMED;
            }
            c = (uint8_t)(high * 16 + low);
            i += 2;
        }
        dst[n] = (char)c;
    }
    dst[n] = '\0';
    return OK;
}

static enum err take_port(struct slice s, uint16_t *ret)
{
    unsigned long v = 0;
    if (s.n == 0 || s.n > PORT_DIGITS) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return ERR_MALFORMED;
        }
        v = v * 10 + (unsigned)(s.p[i] - '0');
    }
    if (v == 0 || v > UINT16_MAX) {
        return ERR_MALFORMED;
    }
    *ret = (uint16_t)v;
    return OK;
}

/* HOST, HOST:PORT, [ADDRESS], [ADDRESS]:PORT */
static enum err take_host(struct slice s, struct client_url *u)
{
    bool is_bracketed = s.n > 0 && s.p[0] == '[';
    bool more = false;
    struct slice rest = slice_from(s, is_bracketed ? 1 : 0);
    struct slice host = slice_cut(&rest, is_bracketed ? ']' : ':', &more);
    if (is_bracketed) {
        if (!more || (rest.n > 0 && rest.p[0] != ':')) {
            return ERR_MALFORMED;
        }
        more = rest.n > 0;
        rest = slice_from(rest, 1);
    }
    if (host.n == 0) {
        return ERR_MALFORMED;
    }
    TRY(take_part(host, u->host));
    return more ? take_port(rest, &u->port) : OK;
}

static enum err take_user(struct slice s, struct client_url *u)
{
    bool more;
    struct slice user = slice_cut(&s, ':', &more);
    if (user.n == 0) {
        return ERR_MALFORMED;
    }
    TRY(take_part(user, u->username));
    return more ? take_part(s, u->password) : OK;
}

/* What stands before the last @ is the user: a password may hold one. */
static size_t find_user(struct slice authority)
{
    size_t at = authority.n;
    while (at > 0 && authority.p[at - 1] != '@') {
        at--;
    }
    return at;
}

enum err client_url_parse(struct slice url, struct client_url *ret)
{
    struct client_url u = {0};
    size_t at = 0;
    if (url.n > CLIENT_URL_MAX) {
        return ERR_TOO_LARGE;
    }
    for (size_t i = 0; i < url.n; i++) {
        if (url.p[i] < 0x20 || url.p[i] == 0x7F) {
            return ERR_MALFORMED;
        }
    }
    while (at < COUNT_OF(schemes) && !slice_has_prefix(url, slice_text(schemes[at].text))) {
        at++;
    }
    if (at == COUNT_OF(schemes)) {
        return ERR_UNSUPPORTED;
    }
    u.scheme = schemes[at].scheme;
    bool has_path;
    u.path = slice_from(url, strlen(schemes[at].text));
    struct slice authority = slice_cut(&u.path, '/', &has_path);
    if (!has_path) {
        u.path = (struct slice){0};
    }
    size_t user_n = find_user(authority);
    if (user_n > 0) {
        TRY(take_user(slice_head(authority, user_n - 1), &u));
    }
    TRY(take_host(slice_from(authority, user_n), &u));
    *ret = u;
    return OK;
}

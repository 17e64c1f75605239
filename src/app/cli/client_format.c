#include "app/cli/client_format.h"

#include <unistd.h>

#include "app/cli/client_json.h"
#include "base/scope.h"
#include "base/utf8.h"

enum { TIME_BYTES = 128, NUMBER_BYTES = 24 };

static const char letters[] = "tpxXqrlmCRDEFSAPIUjJ%";
static const char with_width[] = "ACEFIlmpRStxX";
static const char with_most[] = "CIRt";

static const struct {
    char letter, byte;
} escapes[] = {{'n', '\n'}, {'t', '\t'}, {'r', '\r'},   {'0', '\0'},
               {'a', '\a'}, {'v', '\v'}, {'e', '\x1b'}, {'\\', '\\'}};

/* ---- what stands between % and its letter ---- */

struct field {
    char letter;
    bool left, zero, has_most;
    size_t width, most;
};

/* The digits at *at; false when there are too many. */
static bool take_number(const char **at, size_t *ret)
{
    size_t v = 0;
    while (**at >= '0' && **at <= '9') {
        v = v * 10 + (size_t)(**at - '0');
        if (v > CLIENT_FORMAT_WIDTH_MAX) {
            return false;
        }
        (*at)++;
    }
    *ret = v;
    return true;
}

/* at: behind the %. Gives what follows the letter, or NULL. */
static const char *take_field(const char *at, struct field *ret)
{
    struct field f = {0};
    const char *from = at;
    for (; *at == '-' || *at == '0'; at++) {
        f.left = f.left || *at == '-';
        f.zero = f.zero || *at == '0';
    }
    if (!take_number(&at, &f.width)) {
        return NULL;
    }
    bool is_plain = at == from;
    if (*at == '.') {
        at++;
        f.has_most = true;
        if (!take_number(&at, &f.most)) {
            return NULL;
        }
    }
    f.letter = *at;
    if (f.letter == '\0' || strchr(letters, f.letter) == NULL ||
        (!is_plain && strchr(with_width, f.letter) == NULL) ||
        (f.has_most && strchr(with_most, f.letter) == NULL)) {
        return NULL;
    }
    *ret = f;
    return at + 1;
}

static bool is_escape(char letter)
{
    for (size_t i = 0; i < COUNT_OF(escapes); i++) {
        if (escapes[i].letter == letter) {
            return true;
        }
    }
    return false;
}

static bool is_time(char letter)
{
    return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || letter == '@';
}

const char *client_format_check(const char *format)
{
    for (const char *at = format; *at != '\0';) {
        struct field f;
        const char *next = at + 1;
        if (*at == '%') {
            next = take_field(at + 1, &f);
        } else if (*at == '\\') {
            next = is_escape(at[1]) ? at + 2 : NULL;
        } else if (*at == '@') {
            next = is_time(at[1]) ? at + 2 : NULL;
        }
        if (next == NULL) {
            return at;
        }
        at = next;
    }
    return NULL;
}

int client_print_read(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                      bool with_topic, struct client_print *ret)
{
    const char *format = cli_value(a, "--format");
    struct client_print print = {.is_terminal = isatty(fileno(cli->out)) == 1,
                                 .pretty = cli_has(a, "--pretty"),
                                 .own_json = format == NULL && cli->json};
    print.format = format != NULL ? format : cli_has(a, "--verbose") || with_topic ? "%t %p" : "%p";
    const char *wrong = client_format_check(print.format);
    if (wrong != NULL) {
        return cli_usage(cli, self,
                         "-F: \"%.8s\" begins with nothing that there is: %%%% and %%t %%p %%x %%X "
                         "%%l %%q %%r %%m %%C %%R %%D %%E %%F %%S %%A %%P %%I %%U %%j %%J; @@ and "
                         "@X of strftime; \\n \\t \\r \\v \\a \\e \\0 \\\\",
                         wrong);
    }
    *ret = print;
    return CLI_DONE;
}

/* ---- bytes ---- */

/* A stranger's bytes must not move the cursor, set the title, turn the order of what is shown or
 * hide a line; nor begin one, but for those of a payload. */
static void print_shown(FILE *to, struct slice s, bool has_lines, bool is_terminal)
{
    if (!is_terminal && s.n > 0) {
        (void)!fwrite(s.p, 1, s.n, to);
        return;
    }
    while (s.n > 0) {
        size_t good = s.n;
        (void)!utf8_check(s, UTF8_STRICT, &good);
        (void)!fwrite(s.p, 1, good, to);
        s = slice_from(s, good);
        if (s.n > 0) {
            if (s.p[0] == '\t' || (has_lines && s.p[0] == '\n')) {
                fputc(s.p[0], to);
            } else {
                fprintf(to, "\\x%02x", s.p[0]);
            }
            s = slice_from(s, 1);
        }
    }
}

void client_payload_print(FILE *to, struct slice s, bool is_terminal)
{
    print_shown(to, s, true, is_terminal);
}

static void print_users(FILE *to, const struct mqtt_publish *m, bool is_terminal)
{
    struct mqtt_props_iter it = mqtt_props_each(m->props.block);
    struct mqtt_prop p;
    const char *between = "";
    while (mqtt_props_next(&it, &p)) {
        if (p.id == MQTT_PROP_USER) {
            fputs(between, to);
            print_shown(to, p.key, false, is_terminal);
            fputc(':', to);
            print_shown(to, p.text, false, is_terminal);
            between = " ";
        }
    }
}

static void print_padding(FILE *to, const struct field *f, size_t n, bool may_zero)
{
    for (; n < f->width; n++) {
        fputc(f->zero && may_zero && !f->left ? '0' : ' ', to);
    }
}

static void print_text(FILE *to, const struct field *f, struct slice s, bool is_terminal)
{
    s = f->has_most ? slice_head(s, f->most) : s;
    if (!f->left) {
        print_padding(to, f, s.n, false);
    }
    print_shown(to, s, f->letter == 'p', is_terminal);
    if (f->left) {
        print_padding(to, f, s.n, false);
    }
}

/* Digits: zeros may stand before them, and where there are none. */
static void print_digits(FILE *to, const struct field *f, const char *digits)
{
    size_t n = strlen(digits);
    if (!f->left) {
        print_padding(to, f, n, true);
    }
    fputs(digits, to);
    if (f->left) {
        print_padding(to, f, n, true);
    }
}

static void print_number(FILE *to, const struct field *f, bool is_there, size_t v)
{
    char digits[NUMBER_BYTES] = "";
    if (is_there) {
        (void)snprintf(digits, sizeof(digits), "%zu", v);
    }
    print_digits(to, f, digits);
}

static void print_hex(FILE *to, const struct field *f, struct slice s)
{
    if (!f->left) {
        print_padding(to, f, 2 * s.n, true);
    }
    for (size_t i = 0; i < s.n; i++) {
        fprintf(to, f->letter == 'x' ? "%02x" : "%02X", s.p[i]);
    }
    if (f->left) {
        print_padding(to, f, 2 * s.n, true);
    }
}

static void print_ids(FILE *to, const struct field *f, const struct mqtt_publish *m)
{
    struct mqtt_props_iter it = mqtt_props_each(m->props.block);
    struct mqtt_prop p;
    size_t n = 0;
    while (mqtt_props_next(&it, &p)) {
        if (p.id == MQTT_PROP_SUBSCRIPTION_ID) {
            fputs(n > 0 ? " " : "", to);
            print_number(to, f, true, p.number);
            n++;
        }
    }
    if (n == 0) {
        print_number(to, f, false, 0);
    }
}

/* ---- time ---- */

/* A format of strftime for local time; empty when it has none. */
static void time_text(const char *format, int64_t wall_ms, char dst[TIME_BYTES])
{
    /* The compiler wants to see the format, but it is the user's: one letter, checked before. */
    size_t (*const write)(char *, size_t, const char *, const struct tm *) = strftime;
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm;
    if (localtime_r(&s, &tm) == NULL || write(dst, TIME_BYTES, format, &tm) == 0) {
        dst[0] = '\0';
    }
}

static long nanoseconds(int64_t wall_ms)
{
    return (long)(wall_ms % 1000) * 1000000;
}

static void print_at(FILE *to, char letter, int64_t wall_ms)
{
    char text[TIME_BYTES] = "@";
    if (letter == 'N') {
        (void)snprintf(text, sizeof(text), "%09ld", nanoseconds(wall_ms));
    } else if (letter != '@') {
        const char format[] = {'%', letter, '\0'};
        time_text(format, wall_ms, text);
    }
    fputs(text, to);
}

/* ---- fields ---- */

static void print_property(FILE *to, const struct field *f, const struct mqtt_props *p,
                           enum mqtt_prop_id id)
{
    print_number(to, f, mqtt_props_has(p, id), mqtt_props_number(p, id, 0));
}

static void print_about(FILE *to, const struct field *f, const struct client_print *how,
                        const struct mqtt_publish *m)
{
    const struct mqtt_props *p = &m->props;
    switch (f->letter) {
    case 'A':
        print_property(to, f, p, MQTT_PROP_TOPIC_ALIAS);
        break;
    case 'E':
        print_property(to, f, p, MQTT_PROP_MESSAGE_EXPIRY);
        break;
    case 'F':
        print_property(to, f, p, MQTT_PROP_PAYLOAD_FORMAT);
        break;
    case 'C':
        print_text(to, f, mqtt_props_text(p, MQTT_PROP_CONTENT_TYPE), how->is_terminal);
        break;
    case 'R':
        print_text(to, f, mqtt_props_text(p, MQTT_PROP_RESPONSE_TOPIC), how->is_terminal);
        break;
    case 'D':
        print_text(to, f, mqtt_props_text(p, MQTT_PROP_CORRELATION_DATA), how->is_terminal);
        break;
    case 'S':
        print_ids(to, f, m);
        break;
    case 'P':
        print_users(to, m, how->is_terminal);
        break;
    default:
        fputc(f->letter, to); /* %% */
    }
}

static void print_json(FILE *to, const struct field *f, const struct client_print *how,
                       const struct mqtt_publish *m, int64_t wall_ms)
{
    struct client_json json = {.payload_is_json = f->letter == 'J',
                               .pretty = how->pretty,
                               .is_terminal = how->is_terminal};
    client_json_print(to, &json, m, wall_ms);
}

static void print_field(FILE *to, const struct field *f, const struct client_print *how,
                        const struct mqtt_publish *m, int64_t wall_ms)
{
    char text[TIME_BYTES];
    switch (f->letter) {
    case 't':
        print_text(to, f, m->topic, how->is_terminal);
        break;
    case 'p':
        print_text(to, f, m->payload, how->is_terminal);
        break;
    case 'x':
    case 'X':
        print_hex(to, f, m->payload);
        break;
    case 'q':
        fprintf(to, "%d", m->qos);
        break;
    case 'r':
        fputc(m->retain ? '1' : '0', to);
        break;
    case 'l':
        print_number(to, f, true, m->payload.n);
        break;
    case 'm':
        print_number(to, f, true, m->qos > 0 ? m->packet_id : 0);
        break;
    case 'I':
        time_text("%Y-%m-%dT%H:%M:%S%z", wall_ms, text);
        print_text(to, f, slice_text(text), false);
        break;
    case 'U':
        fprintf(to, "%lld.%09ld", (long long)(wall_ms / 1000), nanoseconds(wall_ms));
        break;
    case 'j':
    case 'J':
        print_json(to, f, how, m, wall_ms);
        break;
    default:
        print_about(to, f, how, m);
    }
}

/* ---- the whole ---- */

static bool wants_json_payload(const char *format)
{
    for (const char *at = format; *at != '\0';) {
        struct field f = {0};
        if (*at == '%') {
            at = take_field(at + 1, &f);
            if (f.letter == 'J') {
                return true;
            }
        } else {
            at += *at == '\\' || *at == '@' ? 2 : 1;
        }
    }
    return false;
}

static char escaped(char letter)
{
    size_t i = 0;
    while (escapes[i].letter != letter) {
        i++;
    }
    return escapes[i].byte;
}

enum err client_format_print(FILE *to, const struct client_print *how, const struct mqtt_publish *m,
                             int64_t wall_ms)
{
    if (how->own_json) {
        client_json_print_own(to, m, wall_ms, how->is_terminal);
        return OK;
    }
    if (wants_json_payload(how->format) && !client_json_is_json(m->payload)) {
        return ERR_MALFORMED;
    }
    for (const char *at = how->format; *at != '\0';) {
        struct field f;
        if (*at == '%') {
            at = take_field(at + 1, &f);
            print_field(to, &f, how, m, wall_ms);
        } else if (*at == '\\') {
            fputc(escaped(at[1]), to);
            at += 2;
        } else if (*at == '@') {
            print_at(to, at[1], wall_ms);
            at += 2;
        } else {
            fputc(*at, to);
            at++;
        }
    }
    return OK;
}

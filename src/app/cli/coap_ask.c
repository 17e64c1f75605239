#include "app/cli/coap_ask.h"

#include <unistd.h>

#include "app/cli/client_hex.h"
#include "app/cli/coap_flags.h"
#include "base/scope.h"
#include "service/pki/bundle.h"
#include "wire/coap/block.h"
#include "wire/coap/tcp.h"

enum {
    WAIT_S = 10,
    OPTIONS_MAX = 128, /* of one request: a path has many */
    NUMBER_BYTES = 4,
    TRACE_FROM = 6 /* of -v, as coap-client's "info" */
};

static const struct method {
    const char *name;
    uint8_t code;
    bool observes, can_observe, has_payload;
} methods[] = {
    {"get", COAP_GET, false, true, false},       {"put", COAP_PUT, false, false, true},
    {"post", COAP_POST, false, false, true},     {"delete", COAP_DELETE, false, false, false},
    {"fetch", COAP_FETCH, false, true, true},    {"patch", COAP_PATCH, false, false, true},
    {"ipatch", COAP_IPATCH, false, false, true}, {"observe", COAP_GET, true, true, false},
};

void coap_ask_done(struct coap_ask *a)
{
    client_target_done(&a->target);
    buf_wipe(&a->payload);
}

/* ---- the method ---- */

static const struct method *find_method(const char *name)
{
    for (size_t i = 0; name != NULL && i < COUNT_OF(methods); i++) {
        if (strcmp(name, methods[i].name) == 0) {
            return &methods[i];
        }
    }
    return NULL;
}

/* `get URI`, or as coap-client has it: `[-m get] URI`. */
static const struct method *read_method(const struct cli_args *args, const char **ret_uri)
{
    const char *given = cli_value(args, "-m");
    bool has_word = args->n_words == 2 && given == NULL;
    if (!has_word && args->n_words != 1) {
        return NULL;
    }
    *ret_uri = args->words[args->n_words - 1];
    if (!has_word && given == NULL && find_method(*ret_uri) != NULL) {
        return NULL; /* a method, and the URI is missing */
    }
    return find_method(has_word ? args->words[0] : given != NULL ? given : "get");
}

/* ---- options ---- */

/* They are written in ascending order, those of one number as they were added. */
struct options {
    struct coap_option all[OPTIONS_MAX];
    size_t n;
};

static bool add(struct options *o, uint16_t number, struct slice value)
{
    size_t at = o->n;
    if (o->n == OPTIONS_MAX) {
        return false;
    }
    while (at > 0 && o->all[at - 1].number > number) {
        o->all[at] = o->all[at - 1];
        at--;
    }
    o->all[at] = (struct coap_option){.number = number, .value = value};
    o->n++;
    return true;
}

static struct slice number_value(uint32_t number, uint8_t bytes[NUMBER_BYTES])
{
    struct wr w = wr_into(bytes, NUMBER_BYTES);
    wr_u32(&w, number);
    struct slice s = slice_of(bytes, NUMBER_BYTES);
    while (s.n > 0 && s.p[0] == 0) {
        s = slice_from(s, 1); /* SPEC: RFC7252 3.2 */
    }
    return s;
}

/* A content format by number or media type. */
static bool read_format(const char *text, uint8_t bytes[NUMBER_BYTES], struct slice *ret)
{
    char *stop;
    long number = strtol(text, &stop, 10);
    uint16_t format = (uint16_t)number;
    bool is_number = stop != text && *stop == '\0' && number >= 0 && number <= UINT16_MAX;
    if (!is_number && coap_format_find(slice_text(text), &format) != OK) {
        return false;
    }
    *ret = number_value(format, bytes);
    return true;
}

/* Those that this command writes itself: what -O said of them would not be what is meant. */
static const char *own_option(long number)
{
    switch (number) {
    case COAP_OPTION_OBSERVE:
        return "`observe`, or -s, asks for observation";
    case COAP_OPTION_OSCORE:
        return "coap:// with an oscore.json is OSCORE";
    case COAP_OPTION_BLOCK1:
    case COAP_OPTION_BLOCK2:
    case COAP_OPTION_Q_BLOCK1:
    case COAP_OPTION_Q_BLOCK2:
        return "blocks are cut and joined by this command; -b says how large";
    case COAP_OPTION_ECHO:
    case COAP_OPTION_REQUEST_TAG:
        return "this command sends Echo and Request-Tag by itself, where they belong";
    default:
        return NULL;
    }
}

/* -O NUMBER,TEXT, the bytes of 0x... into room. */
static int read_option(struct cli *cli, const struct cli_command *self, const char *text,
                       struct wr *room, struct options *ret)
{
    char *stop;
    long number = strtol(text, &stop, 10);
    if (stop == text || *stop != ',' || number < 0 || number > UINT16_MAX) {
        return cli_usage(cli, self,
                         "-O takes NUMBER,TEXT: the number of an option, its value, or 0x and "
                         "the\n  value in hexadecimal, e.g. -O 15,a=1 or -O 258,0x1a");
    }
    const char *why = own_option(number);
    if (why != NULL) {
        return cli_usage(cli, self, "-O %ld: %s", number, why);
    }
    struct slice value = slice_text(stop + 1);
    if (slice_has_prefix(value, slice_text("0x"))) {
        size_t n = 0;
        uint8_t *at = wr_reserve(room, 0);
        if (client_hex(slice_from(value, 2), at, wr_left(room), &n) != OK) {
            return cli_usage(cli, self, "-O %ld: behind 0x stand two hexadecimal digits a byte",
                             number);
        }
        value = slice_of(wr_reserve(room, n), n);
    }
    return add(ret, (uint16_t)number, value) ? CLI_DONE : cli_usage(cli, self, "too many options");
}

/* Where the request goes; false: too many parts, or too long. */
static bool add_uri(const struct cli_args *args, const struct coap_ask *a, uint8_t *room,
                    size_t cap, struct options *ret)
{
    struct coap_uri uri = a->uri;
    struct coap_option_writer w = coap_option_writer_into(room, cap);
    struct slice block;
    struct coap_option o;
    uri.is_ip_literal = uri.is_ip_literal || cli_has(args, "-U"); /* then there is no Uri-Host */
    coap_uri_options(&uri, &w);
    if (coap_option_writer_done(&w, &block) != OK) {
        return false;
    }
    struct coap_options it = coap_options_from(block);
    while (coap_options_next(&it, &o)) {
        if (!add(ret, o.number, o.value)) {
            return false;
        }
    }
    return true;
}

static int write_options(struct cli *cli, const struct cli_command *self,
                         const struct cli_args *args, const struct method *method,
                         struct coap_ask *a)
{
    uint8_t uri[COAP_ASK_OPTIONS_BYTES], bytes[COAP_ASK_OPTIONS_BYTES];
    uint8_t accepted[NUMBER_BYTES], sent[NUMBER_BYTES], hops[NUMBER_BYTES];
    struct options o = {.n = 0};
    struct wr room = wr_into(bytes, sizeof(bytes));
    struct slice value = {0};
    const char *format = cli_value(args, "--content-format"), *accept = cli_value(args, "-A");
    const char *const *more = NULL;
    long hop_limit;
    if (!client_number(cli, self, args, "-H", 1, UINT8_MAX, 0, &hop_limit)) {
        return CLI_USAGE;
    }
    bool fits = add_uri(args, a, uri, sizeof(uri), &o);
    if (accept != NULL && !read_format(accept, accepted, &value)) {
        return cli_usage(cli, self, "-A takes a content format: a number or a media type");
    }
    fits = fits && (accept == NULL || add(&o, COAP_OPTION_ACCEPT, value));
    if (format != NULL && (!method->has_payload || !read_format(format, sent, &value))) {
        return cli_usage(cli, self,
                         "-t takes the content format of what put, post, fetch, patch or ipatch "
                         "sends: a number or a media type");
    }
    fits = fits && (format == NULL || add(&o, COAP_OPTION_CONTENT_FORMAT, value));
    fits = fits && (!a->observes || add(&o, COAP_OPTION_OBSERVE, (struct slice){0}));
    fits = fits && (hop_limit == 0 ||
                    add(&o, COAP_OPTION_HOP_LIMIT, number_value((uint32_t)hop_limit, hops)));
    size_t n_more = cli_values(args, "-O", &more);
    for (size_t i = 0; fits && i < n_more; i++) {
        int code = read_option(cli, self, more[i], &room, &o);
        if (code != CLI_DONE) {
            return code;
        }
    }
    struct coap_option_writer w = coap_option_writer_into(a->options, sizeof(a->options));
    for (size_t i = 0; i < o.n; i++) {
        coap_option_add(&w, o.all[i].number, o.all[i].value);
    }
    return fits && coap_option_writer_done(&w, &a->request.options) == OK
               ? CLI_DONE
               : cli_usage(cli, self, "path and options are too long for one message");
}

enum err coap_ask_cancel(const struct coap_ask *a, uint8_t dst[COAP_ASK_OPTIONS_BYTES],
                         struct slice *ret)
{
    static const uint8_t deregister = 1; /* SPEC: RFC7641 3.6 */
    struct coap_option_writer w = coap_option_writer_into(dst, COAP_ASK_OPTIONS_BYTES);
    coap_option_add_merged(&w, a->request.options, COAP_OPTION_OBSERVE, slice_of(&deregister, 1));
    return coap_option_writer_done(&w, ret);
}

/* ---- whom ---- */

static int read_uri(struct cli *cli, const struct cli_command *self, const struct cli_args *args,
                    const char *text, struct coap_ask *a)
{
    enum err err = coap_uri_parse_any(slice_text(text), &a->uri);
    if (err != OK || !slice_to_text(a->uri.host, a->target.host, sizeof(a->target.host))) {
        return cli_usage(
            cli, self,
            "%s is not a URI coaps://HOST[:PORT]/PATH, coaps+tcp://..., coaps+ws://..., or "
            "coap://HOST[:PORT]/PATH with OSCORE",
            text);
    }
    if (cli_has(args, "-r") && a->uri.carrier == COAP_URI_UDP) {
        a->uri.carrier = COAP_URI_TCP; /* the ports are the same */
    }
    if (a->uri.carrier == COAP_URI_UDP) {
        a->carrier = a->uri.secure ? COAP_BY_DTLS : COAP_BY_OSCORE;
        return CLI_DONE;
    }
    if (!a->uri.secure) {
        return cli_usage(cli, self,
                         "over TCP without TLS anybody on the way would read and change what is "
                         "asked: use coaps+tcp://,\n  or coaps+ws://, with --bundle DIR");
    }
    a->carrier = a->uri.carrier == COAP_URI_TCP ? COAP_BY_TLS : COAP_BY_WEBSOCKET;
    (void)snprintf(a->target.path, sizeof(a->target.path), "/.well-known/coap");
    return CLI_DONE; /* SPEC: RFC8323 8.3 */
}

static bool is_stream(const struct coap_ask *a)
{
    return a->carrier == COAP_BY_TLS || a->carrier == COAP_BY_WEBSOCKET;
}

/* What means nothing there is not passed over in silence. */
static int check_stream(struct cli *cli, const struct cli_command *self,
                        const struct cli_args *args, struct coap_ask *a)
{
    long most;
    if (!client_number(cli, self, args, "-X", COAP_TCP_BASE_BYTES, INT32_MAX, 0, &most)) {
        return CLI_USAGE;
    }
    a->message_bytes = (uint32_t)most;
    if (!is_stream(a)) {
        return most == 0 ? CLI_DONE
                         : cli_usage(cli, self,
                                     "-X is the largest message over TCP: use it with "
                                     "coaps+tcp:// or coaps+ws://");
    }
    if (cli_has(args, "--psk") || cli_has(args, "--psk-identity")) {
        return cli_usage(
            cli, self,
            "over TCP (-r) a certificate says who asks, no pre-shared key: --bundle DIR "
            "with a cert.pem, or\n  --cert and --key");
    }
    return !cli_has(args, "--non")
               ? CLI_DONE
               : cli_usage(cli, self, "-N is for datagrams: over TCP nothing is acknowledged");
}

/* An unprotected request is never sent: anybody on the way would read and change it. */
static int no_context(struct cli *cli, const struct cli_command *self, const char *bundle)
{
    return cli_usage(
        cli, self,
        "coap:// travels in the clear, so this command protects what it sends over it by OSCORE, "
        "and\n  sends nothing else. %s%s: take a bundle with an oscore.json (`sallyport device "
        "add NAME\n  --role R --credential oscore`, or `device rotate NAME --credential oscore`), "
        "or ask by coaps://",
        bundle != NULL ? "There is no oscore.json in " : "There is no context",
        bundle != NULL ? bundle : "");
}

static int read_context(struct cli *cli, const struct cli_command *self,
                        const struct cli_args *args, struct coap_ask *a)
{
    const char *file = cli_value(args, "-E"), *bundle = cli_value(args, "--bundle");
    if (a->carrier != COAP_BY_OSCORE) {
        return file == NULL ? CLI_DONE
                            : cli_usage(cli, self,
                                        "-E is for coap://, which OSCORE protects; coaps:// is "
                                        "DTLS or TLS, with --bundle DIR");
    }
    if (file == NULL && bundle == NULL) {
        return no_context(cli, self, NULL);
    }
    static const char *const of_dtls[] = {"--psk", "--psk-identity", "--cert",
                                          "--key", "--cafile",       "-R"};
    for (size_t i = 0; i < COUNT_OF(of_dtls); i++) {
        if (cli_has(args, of_dtls[i])) {
            return cli_usage(cli, self,
                             "%s is for coaps://, which is DTLS; coap:// is OSCORE, "
                             "whose keys are in an\n  oscore.json (--bundle DIR, or -E FILE)",
                             of_dtls[i]);
        }
    }
    if (file == NULL) {
        (void)snprintf(a->oscore_path, sizeof(a->oscore_path), "%s/%s", bundle,
                       bundle_file_name(BUNDLE_OSCORE));
        return access(a->oscore_path, F_OK) == 0 ? CLI_DONE : no_context(cli, self, bundle);
    }
    if (strchr(file, ',') != NULL) {
        return cli_usage(cli, self,
                         "-E takes an oscore.json; the numbers that were used are always kept "
                         "beside it,\n  in FILE.state");
    }
    (void)snprintf(a->oscore_path, sizeof(a->oscore_path), "%s", file);
    return CLI_DONE;
}

static int read_target(struct cli *cli, const struct cli_command *self, const struct cli_args *args,
                       struct coap_ask *a)
{
    int code = read_context(cli, self, args, a);
    if (code != CLI_DONE) {
        return code;
    }
    /* What the URI says of host and port stands above the bundle's. */
    struct client_target *where = &a->target;
    char host[CLIENT_HOST_BYTES];
    (void)snprintf(host, sizeof(host), "%s", where->host);
    enum client_door door = a->carrier == COAP_BY_OSCORE ? CLIENT_COAP
                            : is_stream(a)               ? CLIENT_COAPS_TCP
                                                         : CLIENT_COAPS;
    code = client_target_read(cli, self, args, door, where);
    (void)snprintf(where->host, sizeof(where->host), "%s", host);
    where->port = a->uri.port;
    where->from = cli_value(args, "-a");
    return code;
}

/* ---- the rest ---- */

static int read_payload(struct cli *cli, const struct cli_command *self,
                        const struct cli_args *args, const struct method *method,
                        struct coap_ask *a)
{
    const char *text = cli_value(args, "--payload");
    const char *file = cli_value(args, "--file");
    bool is_given = text != NULL || file != NULL;
    if ((text != NULL && file != NULL) || (is_given && !method->has_payload)) {
        return cli_usage(cli, self,
                         "put, post, fetch, patch and ipatch take one payload: -e TEXT or -f FILE");
    }
    int code = file != NULL ? client_file(cli, file, COAP_ASK_BYTES_MAX, &a->payload) : CLI_DONE;
    if (code == CLI_DONE && text != NULL &&
        buf_append(&a->payload, slice_text(text), COAP_ASK_BYTES_MAX) != OK) {
        code = cli_fail(cli, "more than %d bytes are not sent", (int)COAP_ASK_BYTES_MAX);
    }
    return code;
}

/* -b: a power of two from 16 to 1024. */
static bool read_block_size(const struct cli_args *args, uint8_t *ret)
{
    const char *text = cli_value(args, "-b");
    char size[8];
    *ret = UINT8_MAX;
    for (uint8_t szx = 0; text != NULL && szx <= COAP_BLOCK_SZX_MAX; szx++) {
        (void)snprintf(size, sizeof(size), "%zu", coap_block_bytes(szx));
        if (strcmp(text, size) == 0) {
            *ret = szx;
        }
    }
    return text == NULL || *ret != UINT8_MAX;
}

static int read_times(struct cli *cli, const struct cli_command *self, const struct cli_args *args,
                      const struct method *method, struct coap_ask *a)
{
    long observe_s, wait_s, ping_s, verbosity;
    if (!client_number(cli, self, args, "-s", 1, INT32_MAX, 0, &observe_s) ||
        !client_number(cli, self, args, "-B", 1, INT32_MAX, WAIT_S, &wait_s) ||
        !client_number(cli, self, args, "-K", 1, INT32_MAX, 0, &ping_s) ||
        !client_number(cli, self, args, "-v", 0, 9, 0, &verbosity)) {
        return CLI_USAGE;
    }
    if (observe_s > 0 && !method->can_observe) {
        return cli_usage(cli, self,
                         "-s observes for so many seconds, and %s cannot: -B is how long to wait "
                         "for an answer",
                         method->name);
    }
    a->observes = method->observes || observe_s > 0;
    a->observe_ms = (uint64_t)observe_s * 1000;
    a->wait_ms = (uint64_t)wait_s * 1000;
    a->ping_ms = (uint64_t)ping_s * 1000;
    a->is_traced = verbosity >= TRACE_FROM;
    return CLI_DONE;
}

int coap_ask_read(struct cli *cli, const struct cli_command *self, const struct cli_args *args,
                  struct coap_ask *ret)
{
    const char *uri = NULL;
    const struct method *method = read_method(args, &uri);
    int code = coap_flags_refuse(cli, self, args);
    if (code != CLI_DONE) {
        return code;
    }
    if (method == NULL) {
        return cli_usage(cli, self,
                         "coap does: get, put, post, delete, observe, fetch, patch, ipatch (the "
                         "word, or -m), each with one URI");
    }
    if (!read_block_size(args, &ret->szx)) {
        return cli_usage(cli, self,
                         "-b takes the size of a block: 16, 32, 64, 128, 256, 512, 1024");
    }
    code = read_times(cli, self, args, method, ret);
    code = code == CLI_DONE ? read_uri(cli, self, args, uri, ret) : code;
    code = code == CLI_DONE ? check_stream(cli, self, args, ret) : code;
    code = code == CLI_DONE ? read_target(cli, self, args, ret) : code;
    code = code == CLI_DONE ? read_payload(cli, self, args, method, ret) : code;
    code = code == CLI_DONE ? write_options(cli, self, args, method, ret) : code;
    ret->output = cli_value(args, "-o");
    ret->request.confirmable = !cli_has(args, "--non");
    ret->request.code = method->code;
    ret->request.payload = buf_slice(&ret->payload);
    return code;
}

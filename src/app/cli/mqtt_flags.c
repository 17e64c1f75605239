#include "app/cli/mqtt_flags.h"

#include "app/cli/client_target.h"
#include "base/scope.h"

enum { HELP_COLUMN = 34, HELP_BYTES = 128 };

#define PUB MQTT_TOOL_PUB
#define SUB MQTT_TOOL_SUB
#define RPC MQTT_TOOL_RPC
#define ALL (PUB | SUB | RPC)

static const struct flag {
    struct cli_option option;
    unsigned tools;
    const char *value; /* what stands behind it; NULL: nothing */
    const char *text;
} flags[] = {
    {{"--topic", "-t", CLI_MANY}, ALL, "TOPIC", "sub: a filter, may come several times"},
    {{"--message", "-m", CLI_VALUE}, PUB | RPC, "TEXT", "the payload"},
    {{"--file", "-f", CLI_VALUE}, PUB | RPC, "FILE", "the payload is what the file holds"},
    {{"--stdin-file", "-s", CLI_FLAG}, PUB | RPC, NULL, "... all of standard input"},
    {{"--null-message", "-n", CLI_FLAG}, PUB | RPC, NULL, "... empty"},
    {{"--stdin-line", "-l", CLI_FLAG}, PUB, NULL, "each line of standard input is a message"},
    {{"--response-topic", "-e", CLI_VALUE}, RPC, "TOPIC", "where the answer is to come"},
    {{"--qos", "-q", CLI_VALUE}, ALL, "0|1|2", "pub, sub: 0; rpc: 1"},
    {{"--retain", "-r", CLI_FLAG}, PUB, NULL, "the server keeps it for those who come later"},
    {{"--repeat", NULL, CLI_VALUE}, PUB, "N", "send it N times (-m, -f, -s, -n)"},
    {{"--repeat-delay", NULL, CLI_VALUE}, PUB, "SECONDS", "wait between them, e.g. 0.5"},
    {{"--progress", NULL, CLI_FLAG},
     PUB,
     NULL,
     "counts on stderr each second; without, only on a terminal"},
    {{"--verbose", "-v", CLI_FLAG}, SUB | RPC, NULL, "topic and payload"},
    {{"--format", "-F", CLI_VALUE}, SUB | RPC, "FORMAT", "what is printed, see below"},
    {{"--pretty", NULL, CLI_FLAG}, SUB | RPC, NULL, "%j and %J over several lines"},
    {{"--no-eol", "-N", CLI_FLAG}, SUB | RPC, NULL, "no line end behind a message"},
    {{"-C", NULL, CLI_VALUE}, SUB, "N", "end after N messages (here not the data directory)"},
    {{"-W", NULL, CLI_VALUE},
     SUB | RPC,
     "SECONDS",
     "end then; 1 when something still had to come (mosquitto: 27)"},
    {{"-E", NULL, CLI_FLAG}, SUB, NULL, "end when the server has answered every subscription"},
    {{"--no-stale", "-R", CLI_FLAG}, SUB | RPC, NULL, "no retained messages"},
    {{"--filter-out", "-T", CLI_MANY}, SUB, "FILTER", "do not print these; several times"},
    {{"--unsubscribe", "-U", CLI_MANY}, SUB, "FILTER", "end this subscription; several times"},
    {{"--retained-only", NULL, CLI_FLAG}, SUB, NULL, "end at the first that is not retained"},
    {{"--remove-retained", NULL, CLI_FLAG}, SUB, NULL, "delete every retained message that comes"},
    {{"--retain-as-published", NULL, CLI_FLAG}, SUB, NULL, "the retain flag as it was sent"},
    {{"--retain-handling", NULL, CLI_VALUE},
     SUB,
     "always|new|never",
     "which subscriptions bring retained messages"},
    {{"--no-local", NULL, CLI_FLAG}, SUB, NULL, "nothing that this client id published"},
    {{"--watch", "-w", CLI_FLAG}, SUB, NULL, "one line of the terminal for each topic"},
    {{"--message-rate", NULL, CLI_FLAG}, SUB, NULL, "each second how many came, not what"},
    /* Whom and as whom */
    {{"--bundle", NULL, CLI_VALUE}, ALL, "DIR", "server, authority and identity of a device"},
    {{"--host", "-h", CLI_VALUE}, ALL, "NAME", "the server (localhost)"},
    {{"--port", "-p", CLI_VALUE}, ALL, "PORT", "8883; wss: 8084"},
    {{"--url", "-L", CLI_VALUE},
     ALL,
     "URL",
     "mqtts://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC or wss://HOST[:PORT]/PATH (with -t)"},
    {{"-A", NULL, CLI_VALUE}, ALL, "ADDRESS", "of this machine, to connect from"},
    {{"--username", "-u", CLI_VALUE}, ALL, "NAME", ""},
    {{"--password-file", NULL, CLI_VALUE}, ALL, "FILE", "the password; -: standard input"},
    {{"--pw", "-P", CLI_VALUE}, ALL, "PASSWORD", "everybody on this machine can read it there"},
    {{"--id", "-i", CLI_VALUE}, ALL, "ID", "client id; without, the server assigns one of yours"},
    {{"--id-prefix", "-I", CLI_VALUE}, ALL, "PREFIX", "client id: PREFIX-PID"},
    {{"--options-file", "-o", CLI_VALUE}, ALL, "FILE", "an option and its value on each line"},
    {{"--cafile", NULL, CLI_VALUE}, ALL, "FILE", "who may vouch for the server, PEM"},
    {{"--capath", NULL, CLI_VALUE}, ALL, "DIR", "the same as a directory (`openssl rehash DIR`)"},
    {{"--tls-use-os-certs", NULL, CLI_FLAG}, ALL, NULL, "the same: whom the system trusts"},
    {{"--cert", NULL, CLI_VALUE}, ALL, "FILE", "certificate of this client, PEM"},
    {{"--key", NULL, CLI_VALUE}, ALL, "FILE", "its key, PEM"},
    {{"--tls-version", NULL, CLI_VALUE}, ALL, "tlsv1.2|tlsv1.3", "the oldest to accept (1.2)"},
    {{"--ciphers", NULL, CLI_VALUE}, ALL, "A:B", "fewer suites than the ones allowed here"},
    {{"--tls-alpn", NULL, CLI_VALUE}, ALL, "NAME", "a protocol to ask for, e.g. mqtt"},
    /* MQTT */
    {{"--protocol-version", "-V", CLI_VALUE}, ALL, "5|311", "also mqttv5, mqttv311; 5 by default"},
    {{"--keepalive", "-k", CLI_VALUE}, ALL, "SECONDS", "60"},
    {{"--disable-clean-session", "-c", CLI_FLAG}, ALL, NULL, "a session that lasts, see -x"},
    {{"--session-expiry-interval", "-x", CLI_VALUE},
     ALL,
     "SECONDS",
     "how long it lasts after the end; -1: as long as the server lets it"},
    {{"--will-topic", NULL, CLI_VALUE}, ALL, "TOPIC", "published when this client vanishes"},
    {{"--will-payload", NULL, CLI_VALUE}, ALL, "TEXT", ""},
    {{"--will-qos", NULL, CLI_VALUE}, ALL, "0|1|2", ""},
    {{"--will-retain", NULL, CLI_FLAG}, ALL, NULL, ""},
    {{"--debug", "-d", CLI_FLAG}, ALL, NULL, "what happens, on stderr"},
    /* Always so; here because people type it. */
    {{"--nodelay", NULL, CLI_FLAG}, ALL, NULL, "is always so"},
};

/* What people type and what is not there: why, and what to do instead. */
static const struct refusal {
    struct cli_option option;
    const char *why;
} refusals[] = {
    {{"--insecure", NULL, CLI_FLAG}, NULL}, /* client_no_insecure says it */
    {{"--psk", NULL, CLI_VALUE},
     "--psk is not there: MQTT listeners of ours know a device by its certificate or password, and "
     "a\n  key on the command line is read by everybody on this machine. Use --bundle DIR, or "
     "--cert\n  and --key. Over CoAP the key of a bundle's psk.txt works: `sallyport coap "
     "--bundle DIR`"},
    {{"--psk-identity", NULL, CLI_VALUE},
     "--psk-identity is not there: MQTT listeners of ours know a device by its certificate or\n  "
     "password. Use --bundle DIR, or --cert and --key"},
    {{"--proxy", NULL, CLI_VALUE},
     "--proxy is not there yet; a tunnel does it: `ssh -L 8883:SERVER:8883 HOST`, then -h with a "
     "name\n  that the server's certificate carries"},
    {{"--unix", NULL, CLI_VALUE},
     "--unix is not there: the server has no such listener. Use --bundle DIR over the loopback"},
    {{"-S", NULL, CLI_FLAG},
     "-S is not there yet (SRV records): name the server with -h, which its certificate must "
     "carry"},
    {{"--keyform", NULL, CLI_VALUE}, "--keyform is not there yet: --key takes a PEM file"},
    {{"--tls-engine", NULL, CLI_VALUE}, "--tls-engine is not there yet: --key takes a PEM file"},
    {{"--tls-engine-kpass-sha1", NULL, CLI_VALUE},
     "--tls-engine-kpass-sha1 is not there yet: --key takes a PEM file"},
    {{"--quiet", NULL, CLI_FLAG},
     "--quiet is not there: the exit code alone does not say why. 2>/dev/null hides it"},
    {{"--random-filter", NULL, CLI_VALUE}, "--random-filter is not there yet; -C ends early"},
    {{"-M", NULL, CLI_VALUE},
     "-M is not there: as many messages are on their way as the server lets (`inflight` of the "
     "role)"},
};

static const struct tool {
    const char *command;
    enum mqtt_tool tool;
    const char *more;
} tools[] = {
    {"pub", MQTT_TOOL_PUB, ""},
    {"sub", MQTT_TOOL_SUB,
     "A FORMAT is text with\n"
     "  %t topic %p payload %x %X payload in hex %l its length %q QoS %r retain %m message id\n"
     "  %C content type %R response topic %D correlation data %E expiry %F payload format\n"
     "  %S subscription ids %A topic alias %P user properties\n"
     "  %I time %U time in seconds %j JSON %J JSON with a payload that is JSON %%\n"
     "  %-10t left aligned, %10t right, %05l with zeros, %.20t at most 20 bytes\n"
     "  @X as strftime's %X, @N nanoseconds, @@; \\n \\t \\r \\v \\a \\e \\0 \\\\\n"
     "  On a terminal control bytes of messages are shown as \\x1b, never obeyed.\n"
     "An empty payload prints an empty line (mosquitto_sub: nothing; with -v: (null)).\n"},
    {"rpc", MQTT_TOOL_RPC, "A FORMAT is that of `sub --help`.\n"},
};

void mqtt_flags_table(enum mqtt_tool tool, struct cli_option ret[CLI_OPTIONS_MAX])
{
    _Static_assert(COUNT_OF(flags) + COUNT_OF(refusals) < CLI_OPTIONS_MAX, "and the end");
    size_t n = 0;
    for (size_t i = 0; i < COUNT_OF(flags); i++) {
        if ((flags[i].tools & tool) != 0) {
            ret[n++] = flags[i].option;
        }
    }
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        ret[n++] = refusals[i].option;
    }
    ret[n] = (struct cli_option){NULL, NULL, CLI_FLAG};
}

int mqtt_flags_refuse(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        if (cli_has(a, refusals[i].option.name)) {
            return refusals[i].why == NULL ? client_no_insecure(cli, self)
                                           : cli_usage(cli, self, "%s", refusals[i].why);
        }
    }
    return CLI_DONE;
}

static void print_flag(FILE *to, const struct flag *f)
{
    char left[HELP_BYTES];
    const char *brief = f->option.brief;
    (void)snprintf(left, sizeof(left), "%s%s%s%s%s", brief != NULL ? brief : "",
                   brief != NULL ? ", " : "", f->option.name, f->value != NULL ? " " : "",
                   f->value != NULL ? f->value : "");
    bool has_text = f->text[0] != '\0';
    bool is_long = strlen(left) >= HELP_COLUMN && has_text;
    if (is_long) {
        fprintf(to, "  %s\n  %*s %s\n", left, HELP_COLUMN, "", f->text);
    } else {
        fprintf(to, "  %-*s%s%s\n", has_text ? HELP_COLUMN : 0, left, has_text ? " " : "", f->text);
    }
}

void mqtt_flags_help(FILE *to, const char *command)
{
    size_t at = 0;
    while (at < COUNT_OF(tools) && strcmp(tools[at].command, command) != 0) {
        at++;
    }
    if (at == COUNT_OF(tools)) {
        return;
    }
    fputs("options:\n", to);
    for (size_t i = 0; i < COUNT_OF(flags); i++) {
        if ((flags[i].tools & tools[at].tool) != 0) {
            print_flag(to, &flags[i]);
        }
    }
    fputs("  -D, --property PACKET NAME VALUE   MQTT 5; e.g. -D publish user-property KEY VALUE\n",
          to);
    fputs(tools[at].more, to);
    fputs("Always TLS; the server's certificate and name are always verified, and nothing turns "
          "that off.\nNot there, each says why: ",
          to);
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        fprintf(to, "%s%s", refusals[i].option.name, i + 1 < COUNT_OF(refusals) ? " " : ".\n");
    }
}

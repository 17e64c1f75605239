#include "app/cli/coap_flags.h"

#include <string.h>

#include "app/cli/client_target.h"
#include "base/scope.h"

enum { HELP_COLUMN = 26, HELP_BYTES = 128 };

static const struct flag {
    struct cli_option option;
    const char *value; /* what stands behind it; NULL: nothing */
    const char *text;
} flags[] = {
    {{"-m", NULL, CLI_VALUE}, "METHOD", "instead of the word in front of the URI; get by default"},
    {{"--payload", "-e", CLI_VALUE}, "TEXT", "the payload, as it is (coap-client: with %41 for A)"},
    {{"--file", "-f", CLI_VALUE}, "FILE", "the payload is what the file holds; -: standard input"},
    {{"--content-format", "-t", CLI_VALUE}, "FORMAT", "of the payload: a number or a media type"},
    {{"-A", NULL, CLI_VALUE}, "FORMAT", "the only one wanted"},
    {{"-b", NULL, CLI_VALUE}, "SIZE", "of blocks, 16 to 1024; they are cut and joined by itself"},
    {{"--non", "-N", CLI_FLAG}, NULL, "non-confirmable"},
    {{"-O", NULL, CLI_MANY}, "NUMBER,TEXT", "one more option; 0x and hexadecimal: bytes. Several"},
    {{"-H", NULL, CLI_VALUE}, "1..255", "Hop-Limit"},
    {{"-U", NULL, CLI_FLAG}, NULL, "no Uri-Host (Uri-Port is never sent)"},
    {{"-s", NULL, CLI_VALUE}, "SECONDS", "get, fetch, observe: observe for so long"},
    {{"-B", NULL, CLI_VALUE}, "SECONDS", "wait at most so long for each message (10)"},
    {{"-K", NULL, CLI_VALUE}, "SECONDS", "a ping when nothing was sent or came for so long"},
    {{"-o", NULL, CLI_VALUE}, "FILE", "payloads go there, bytes as they are; -: standard output"},
    {{"-w", NULL, CLI_FLAG}, NULL, "a line end behind each payload: is always so, but with -o"},
    {{"-v", NULL, CLI_VALUE}, "0..9", "from 6 on each message on stderr, without its payload"},
    {{"--bundle", NULL, CLI_VALUE},
     "DIR",
     "a device: psk.txt, else cert.pem; coap://: oscore.json"},
    {{"-E", NULL, CLI_VALUE}, "FILE", "coap://: this oscore.json; FILE.state beside it is kept"},
    {{"--psk-identity", "-u", CLI_VALUE}, "NAME", "of the pre-shared key"},
    {{"--psk", "-k", CLI_VALUE}, "KEY", "everybody on this machine can read it there: see below"},
    {{"--cert", "-c", CLI_VALUE}, "FILE", "certificate of this client, PEM"},
    {{"--key", "-j", CLI_VALUE}, "FILE", "its key, PEM"},
    {{"--cafile", "-C", CLI_VALUE}, "FILE", "who may vouch for the server, PEM (coap-client: -R)"},
    {{"-R", NULL, CLI_VALUE}, "FILE", "the same"},
    {{"-a", NULL, CLI_VALUE}, "ADDRESS", "of this machine, to ask from"},
    {{"-r", NULL, CLI_FLAG}, NULL, "coaps:// is over TLS, as with coaps+tcp://"},
    {{"-X", NULL, CLI_VALUE}, "BYTES", "over TCP: the largest message that is taken"},
};

/* What people type and what is not there: why, and what to do instead. */
static const struct refusal {
    struct cli_option option;
    const char *why;
} refusals[] = {
    {{"--insecure", NULL, CLI_FLAG}, NULL}, /* client_no_insecure says it */
    {{"-n", NULL, CLI_FLAG}, NULL},
    {{"-T", NULL, CLI_VALUE},
     "-T is not there: tokens are eight random bytes, so that nobody guesses one and an answer is\n"
     "  never taken for that of another request"},
    {{"-l", NULL, CLI_VALUE},
     "-l is not there: this client loses nothing on purpose. `tc qdisc add dev lo root netem loss\n"
     "  10%` does it for every program"},
    {{"-G", NULL, CLI_VALUE},
     "-G is not there: `for i in $(seq 5); do sallyport coap ...; sleep 1; done` repeats a request,"
     "\n  and stops where you want it to"},
    {{"-L", NULL, CLI_VALUE},
     "-L is not there: blocks are always cut and joined by this command; -b says how large"},
    {{"-p", NULL, CLI_VALUE},
     "-p is not there: the local port is any that is free. The server's stands in the URI:\n"
     "  coaps://HOST:PORT/PATH"},
    {{"-P", NULL, CLI_VALUE},
     "-P is not there: through a proxy somebody else would end the protection of this request. "
     "Ask\n"
     "  the server itself; OSCORE (coap:// with -E) goes through what stands between untouched"},
    {{"-h", NULL, CLI_VALUE},
     "-h is not there: who we are does not depend on what a stranger answers (identity hints).\n"
     "  Name the bundle of each server with --bundle DIR"},
    {{"-J", NULL, CLI_VALUE}, "-J is not there yet: --key takes a PEM file, no PKCS #11 token"},
    {{"-M", NULL, CLI_VALUE},
     "-M is not there: servers of ours know a certificate, not a raw public key. Use --bundle DIR"},
    {{"-S", NULL, CLI_VALUE},
     "-S is not there: it is a table of a server's certificates by name. A client has one bundle "
     "for\n  each server"},
};

void coap_flags_table(struct cli_option ret[CLI_OPTIONS_MAX])
{
    _Static_assert(COUNT_OF(flags) + COUNT_OF(refusals) < CLI_OPTIONS_MAX, "and the end");
    size_t n = 0;
    for (size_t i = 0; i < COUNT_OF(flags); i++) {
        ret[n++] = flags[i].option;
    }
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        ret[n++] = refusals[i].option;
    }
    ret[n] = (struct cli_option){NULL, NULL, CLI_FLAG};
}

int coap_flags_refuse(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        if (cli_has(a, refusals[i].option.name)) {
            return refusals[i].why == NULL ? client_no_insecure(cli, self)
                                           : cli_usage(cli, self, "%s", refusals[i].why);
        }
    }
    return CLI_DONE;
}

void coap_flags_help(FILE *to, const char *command)
{
    if (strcmp(command, "coap") != 0) {
        return;
    }
    fputs("options:\n", to);
    for (size_t i = 0; i < COUNT_OF(flags); i++) {
        char left[HELP_BYTES];
        const char *brief = flags[i].option.brief;
        (void)snprintf(left, sizeof(left), "%s%s%s%s%s", brief != NULL ? brief : "",
                       brief != NULL ? ", " : "", flags[i].option.name,
                       flags[i].value != NULL ? " " : "",
                       flags[i].value != NULL ? flags[i].value : "");
        if (strlen(left) >= HELP_COLUMN) {
            fprintf(to, "  %s\n  %*s %s\n", left, HELP_COLUMN, "", flags[i].text);
        } else {
            fprintf(to, "  %-*s %s\n", HELP_COLUMN, left, flags[i].text);
        }
    }
    fputs("A key is read from psk.txt of a bundle without anybody seeing it. With certificates the "
          "server's, and\nits name, are always verified, and nothing turns that off.\n"
          "Not there, each says why: ",
          to);
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        fprintf(to, "%s%s", refusals[i].option.name, i + 1 < COUNT_OF(refusals) ? " " : ".\n");
    }
}

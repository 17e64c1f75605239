/* certs list, plan, renew, roll, revoke, crl */
#include "app/cli/client_signer.h"
#include "app/cli/commands.h"
#include "base/scope.h"
#include "security/crypto/crl_make.h"
#include "service/pki/pki.h"

static bool is_state(const char *text)
{
    static const char *const states[] = {"fine",        "due",     "aged",
                                         "unconfirmed", "expired", "revoked"};
    for (size_t i = 0; i < COUNT_OF(states); i++) {
        if (strcmp(text, states[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* NULL when memory is short, as all of jansson's. */
static json_t *texts(const char *const *values, size_t n)
{
    json_t *all = json_array();
    for (size_t i = 0; all != NULL && i < n; i++) {
        if (json_array_append_new(all, json_string(values[i])) != 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

static int list(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    const char *state = cli_value(a, "--state");
    if (state != NULL && !is_state(state)) {
        return cli_usage(
            cli, self, "--state %s: it is fine, due, aged, unconfirmed, expired or revoked", state);
    }
    return cli_call_or(cli, "no credential with an end is there in this state", "certs.list",
                       json_pack("{s:s*}", "state", state));
}

/* plan, crl */
static int ask(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    (void)self;
    return cli_call(cli, strcmp(a->words[0], "plan") == 0 ? "certs.plan" : "certs.crl", NULL, NULL,
                    NULL);
}

static int roll(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    static const char *const steps[AUTHORITY_ROLL_STEPS] = {"prepare", "switch", "finish"};
    const char *step = a->words[1];
    unsigned at = 0;
    while (at < AUTHORITY_ROLL_STEPS && strcmp(steps[at], step) != 0) {
        at++;
    }
    if (at == AUTHORITY_ROLL_STEPS) {
        return cli_usage(cli, self, "the steps of certs roll are prepare, switch, finish");
    }
    /* May it be? Then who signs is told, by the operator; then the server follows. */
    json_t *asked = json_pack("{s:s,s:b,s:b}", "step", step, "leave_behind",
                              cli_has(a, "--leave-behind"), "check", true);
    int code = cli_call(cli, "certs.roll", asked, NULL, NULL);
    code = code == CLI_DONE ? client_signer_roll(cli, (enum authority_roll_step)at) : code;
    return code == CLI_DONE
               ? cli_call(cli, "certs.roll",
                          json_pack("{s:s,s:b}", "step", step, "leave_behind", true), NULL, NULL)
               : code;
}

static int renew(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    const char *const *hosts = NULL;
    size_t n_hosts = cli_values(a, "--host", &hosts);
    struct pki_hosts all = {0};
    int code = CLI_DONE;
    for (size_t i = 0; i < n_hosts; i++) {
        if (pki_hosts_add(&all, slice_text(hosts[i])) != OK) {
            return cli_usage(cli, self,
                             "--host %s is neither a DNS name nor an IP address, or "
                             "there are too many",
                             hosts[i]);
        }
    }
    for (size_t i = 0; i < n_hosts && code == CLI_DONE; i++) {
        code = client_signer_host(cli, hosts[i]);
    }
    return code == CLI_DONE
               ? cli_call(cli, "certs.renew", json_pack("{s:o}", "hosts", texts(hosts, n_hosts)),
                          NULL, NULL)
               : code;
}

static int revoke(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    const char *serial = cli_value(a, "--serial"), *reason = cli_value(a, "--reason");
    enum crl_reason known;
    struct serial number;
    if (!cli_name_ok(cli, self, a->words[1])) {
        return CLI_USAGE;
    }
    if (serial != NULL && serial_from_hex(slice_text(serial), &number) != OK) {
        return cli_usage(cli, self,
                         "--serial %s: it is up to 20 bytes in hexadecimal, as `certs list` or "
                         "`openssl x509 -noout -serial` say",
                         serial);
    }
    if (reason != NULL && !crl_reason_find(slice_text(reason), &known)) {
        return cli_usage(cli, self,
                         "--reason %s: it is unspecified, key-compromise, changed, superseded, "
                         "cessation or withdrawn",
                         reason);
    }
    return cli_call(
        cli, "certs.revoke",
        json_pack("{s:s,s:s*,s:s*}", "name", a->words[1], "serial", serial, "reason", reason), NULL,
        NULL);
}

int cmd_certs(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {
        {"--state", NULL, CLI_VALUE},       {"--host", NULL, CLI_MANY},
        {"--leave-behind", NULL, CLI_FLAG}, {"--serial", NULL, CLI_VALUE},
        {"--reason", NULL, CLI_VALUE},      {NULL, NULL, CLI_FLAG}};
    static const struct cli_verb verbs[] = {{"list", "", "--state", list},
                                            {"plan", "", "", ask},
                                            {"renew", "", "--host", renew},
                                            {"roll", "STEP", "--leave-behind", roll},
                                            {"revoke", "NAME", "--serial --reason", revoke},
                                            {"crl", "", "", ask},
                                            {NULL, NULL, NULL, NULL}};
    struct cli_args a;
    return cli_parse(cli, self, options, argc, argv, &a) ? cli_verbs(cli, self, verbs, &a)
                                                         : CLI_USAGE;
}

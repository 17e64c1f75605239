/* certs list, plan, renew, roll, revoke, crl */
#include "app/cli/client_signer.h"
#include "app/cli/commands.h"
#include "base/scope.h"

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

static int roll(struct cli *cli, const struct cli_command *self, const char *step,
                bool leave_behind)
{
    static const char *const steps[AUTHORITY_ROLL_STEPS] = {"prepare", "switch", "finish"};
    unsigned at = 0;
    while (at < AUTHORITY_ROLL_STEPS && strcmp(steps[at], step) != 0) {
        at++;
    }
    if (at == AUTHORITY_ROLL_STEPS) {
        return cli_usage(cli, self, "the steps of certs roll are prepare, switch, finish");
    }
    /* May it be? Then who signs is told, by the operator; then the server follows. */
    json_t *asked =
        json_pack("{s:s,s:b,s:b}", "step", step, "leave_behind", leave_behind, "check", true);
    int code = cli_call(cli, "certs.roll", asked, NULL, NULL);
    code = code == CLI_DONE ? client_signer_roll(cli, (enum authority_roll_step)at) : code;
    return code == CLI_DONE
               ? cli_call(cli, "certs.roll",
                          json_pack("{s:s,s:b}", "step", step, "leave_behind", true), NULL, NULL)
               : code;
}

static int renew(struct cli *cli, const char *const *hosts, size_t n_hosts)
{
    int code = CLI_DONE;
    for (size_t i = 0; i < n_hosts && code == CLI_DONE; i++) {
        code = client_signer_host(cli, hosts[i]);
    }
    return code == CLI_DONE
               ? cli_call(cli, "certs.renew", json_pack("{s:o}", "hosts", texts(hosts, n_hosts)),
                          NULL, NULL)
               : code;
}

int cmd_certs(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {
        {"--state", NULL, CLI_VALUE},       {"--host", NULL, CLI_MANY},
        {"--leave-behind", NULL, CLI_FLAG}, {"--serial", NULL, CLI_VALUE},
        {"--reason", NULL, CLI_VALUE},      {NULL, NULL, CLI_FLAG}};
    struct cli_args a;
    const char *const *hosts = NULL;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    const char *verb = a.n_words >= 1 ? a.words[0] : "";
    bool is_roll = strcmp(verb, "roll") == 0 && a.n_words == 2;
    const char *serial = cli_value(&a, "--serial"), *reason = cli_value(&a, "--reason");
    if (strcmp(verb, "revoke") == 0) {
        return a.n_words == 2 ? cli_call(cli, "certs.revoke",
                                         json_pack("{s:s,s:s*,s:s*}", "name", a.words[1], "serial",
                                                   serial, "reason", reason),
                                         NULL, NULL)
                              : cli_usage(cli, self, "certs revoke needs the NAME of one device");
    }
    const char *state = cli_value(&a, "--state");
    bool is_list = strcmp(verb, "list") == 0, is_renew = strcmp(verb, "renew") == 0;
    size_t n_hosts = cli_values(&a, "--host", &hosts);
    if (state != NULL && (!is_list || !is_state(state))) {
        return cli_usage(cli, self,
                         "--state fine, due, aged, unconfirmed, expired or revoked belongs to "
                         "certs list");
    }
    if (serial != NULL || reason != NULL) {
        return cli_usage(cli, self, "--serial and --reason belong to certs revoke");
    }
    if (a.n_words > 1 && !is_roll) {
        return cli_usage(cli, self, "certs %s takes no further word", verb);
    }
    if (is_roll) {
        return roll(cli, self, a.words[1], cli_has(&a, "--leave-behind"));
    }
    if (n_hosts > 0 && !is_renew) {
        return cli_usage(cli, self, "--host belongs to certs renew");
    }
    if (is_list) {
        return cli_call(cli, "certs.list", json_pack("{s:s*}", "state", state), NULL, NULL);
    }
    if (strcmp(verb, "plan") == 0) {
        return cli_call(cli, "certs.plan", NULL, NULL, NULL);
    }
    if (is_renew) {
        return renew(cli, hosts, n_hosts);
    }
    if (strcmp(verb, "crl") == 0) {
        return cli_call(cli, "certs.crl", NULL, NULL, NULL);
    }
    return cli_usage(cli, self, "certs does: list, plan, renew, roll STEP, revoke NAME, crl");
}

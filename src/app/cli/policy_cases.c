/* policy test */
#include <fcntl.h>

#include "app/cli/policy_tools.h"
#include "app/daemon/config.h"
#include "base/log.h"
#include "service/review/cases.h"

struct score {
    struct cli *cli;
    const char *file;
    size_t passed, failed;
};

/* What was asked, fit for a terminal: "meter-1 publish sensors/a (QoS 1, retain)". */
static void ask_text(const struct case_result *r, char *dst, size_t cap)
{
    char what[512];
    bool publishes = slice_is(r->action, "publish");
    log_escape(r->what.p, r->what.n, what, sizeof what);
    (void)snprintf(dst, cap, "%s %.*s %s", r->device, SLICE_ARG(r->action), what);
    size_t at = strlen(dst);
    if (publishes) {
        (void)snprintf(dst + at, cap - at, " (QoS %u%s)", (unsigned)r->qos,
                       r->retain ? ", retain" : "");
    } else if (r->from != NULL) {
        (void)snprintf(dst + at, cap - at, " from %s", r->from);
    }
}

static void print_json(const struct score *s, const struct case_result *r)
{
    json_t *line = json_pack("{s:s,s:I,s:b,s:s,s:s%,s:s%,s:s,s:s,s:s}", "file", s->file, "line",
                             (json_int_t)r->line, "passed", r->allowed == r->expected ? 1 : 0,
                             "device", r->device, "action", (const char *)r->action.p, r->action.n,
                             "what", r->what.n > 0 ? (const char *)r->what.p : "", r->what.n,
                             "expected", r->expected ? "allow" : "deny", "decision",
                             r->allowed ? "allow" : "deny", "rule", r->rule);
    if (line != NULL && slice_is(r->action, "publish")) {
        (void)json_object_set_new(line, "qos", json_integer(r->qos));
        (void)json_object_set_new(line, "retain", json_boolean(r->retain));
    }
    if (line != NULL && r->from != NULL) {
        (void)json_object_set_new(line, "from", json_string(r->from));
    }
    (void)json_dumpf(line, s->cli->out, JSON_COMPACT | JSON_ENSURE_ASCII);
    fputc('\n', s->cli->out);
    json_decref(line);
}

static void note(void *ctx, const struct case_result *r)
{
    struct score *s = ctx;
    bool passed = r->allowed == r->expected;
    s->passed += passed ? 1 : 0;
    s->failed += passed ? 0 : 1;
    if (s->cli->json) {
        print_json(s, r);
    } else if (!passed) {
        char asked[700], rule[600];
        ask_text(r, asked, sizeof asked);
        log_escape(r->rule, strlen(r->rule), rule, sizeof rule);
        fprintf(s->cli->out, "%s:%u: %s: expected %s, came %s: %s\n", s->file, r->line, asked,
                r->expected ? "allow" : "deny", r->allowed ? "allow" : "deny", rule);
    }
}

int policy_test(struct cli *cli, const char *file, const char *policy_file)
{
    AUTO(policy_release) const struct policy *policy = NULL;
    AUTO(cases_autofree) struct cases *cases = NULL;
    AUTO(buf_done) struct buf text = {0};
    struct yaml_complaint complaint;
    char own[4096];
    if (policy_file == NULL) {
        (void)snprintf(own, sizeof own, "%s/policy.yaml", cli->dir);
        policy_file = own;
    }
    int code = policy_file_read(cli, policy_file, NULL, &policy);
    if (code != CLI_DONE) {
        return code;
    }
    enum err e = config_read_file(AT_FDCWD, file, file, &complaint, &text);
    if (e == OK) {
        e = cases_read(buf_slice(&text), file, &complaint, &cases);
    }
    if (e != OK) {
        return cli_fail(cli, "%s", complaint.text);
    }
    struct score s = {.cli = cli, .file = file};
    if (cases_run(cases, policy, note, &s) != OK) {
        return cli_fail(cli, "memory is out");
    }
    fprintf(cli->out, cli->json ? "{\"passed\":%zu,\"failed\":%zu}\n" : "%zu passed, %zu failed\n",
            s.passed, s.failed);
    return s.failed == 0 ? CLI_DONE : CLI_FAILED;
}

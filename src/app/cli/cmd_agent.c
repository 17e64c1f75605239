/* agent: keeps the certificate of one bundle fresh */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/cli/agent_plan.h"
#include "app/cli/agent_swap.h"
#include "app/cli/client_est.h"
#include "app/cli/commands.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "security/crypto/x509_request.h"
#include "service/pki/bundle.h"

extern char **environ;

enum { LOOK_MS = 60 * 1000 }; /* the wall clock may step, and somebody else may renew */

struct agent {
    struct cli *cli;
    const struct cli_command *self;
    const struct cli_args *args;
    const char *dir, *run;
    bool once, now;
    struct clock clock;
    struct random_source random;
    int signals;
    unsigned tries;
    struct cli heard; /* what a try says on its err is kept: heard_text, heard_n */
    char *heard_text;
    size_t heard_n;
    int64_t again_at_wall_ms; /* 0: the next try is when it is due */
};

static int64_t wall(const struct agent *g)
{
    return g->clock.wall_ms(g->clock.ctx);
}

static void say(const struct agent *g, const char *event, const char *text)
{
    char now[CLOCK_ISO8601_BYTES];
    clock_iso8601(wall(g), now);
    if (g->cli->json) {
        json_t *line = json_pack("{s:s,s:s,s:s}", "time", now, "event", event, "text", text);
        (void)json_dumpf(line, g->cli->out, JSON_COMPACT);
        json_decref(line);
        (void)fputc('\n', g->cli->out);
    } else {
        (void)fprintf(g->cli->out, "%s %s\n", now, text);
    }
    (void)fflush(g->cli->out);
}

static enum err leaf_of(struct slice chain_pem, struct x509 **ret)
{
    enum err err = x509_next_pem(&chain_pem, ret);
    return err == ERR_NOT_FOUND ? ERR_MALFORMED : err;
}

/* Said by ourselves, as if heard. */
__attribute__((format(printf, 2, 3))) static enum err hear(const struct agent *g,
                                                           const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vfprintf(g->heard.err, format, args);
    va_end(args);
    return ERR_MALFORMED;
}

/* ---- one renewal ---- */

/* What a renewal has made. */
struct made {
    struct buf key_pem, chain_pem, ca_pem;
};

static void made_done(struct made *m)
{
    buf_wipe(&m->key_pem);
    buf_done(&m->chain_pem);
    buf_done(&m->ca_pem);
}

static enum err make_request(const struct x509 *current, struct buf *ret_key_pem,
                             struct buf *ret_csr_der)
{
    AUTO(key_autofree) struct key *key = NULL;
    const struct x509_info *i = x509_info(current);
    TRY(key_generate(&key));
    TRY(key_to_pem(key, ret_key_pem));
    return x509_request_make(key, i->common_name, i->sans, i->n_sans, ret_csr_der);
}

/* What was made is of use: our name, our key, signed by whom we are told to trust. */
static enum err check_made(const struct agent *g, const struct made *m, const struct x509 *current)
{
    AUTO(x509_autofree) struct x509 *x = NULL;
    AUTO(key_autofree) struct key *key = NULL;
    struct digest spki;
    struct why detail = {{0}};
    TRY(leaf_of(buf_slice(&m->chain_pem), &x));
    TRY(key_from_pem(buf_slice(&m->key_pem), &key));
    TRY(key_spki_sha256(key, &spki));
    bool is_ours = memcmp(&spki, &x509_info(x)->spki, sizeof spki) == 0 &&
                   slice_equal(x509_info(x)->common_name, x509_info(current)->common_name);
    if (!is_ours || x509_verify(x, buf_slice(&m->chain_pem), buf_slice(&m->ca_pem),
                                X509_KIND_CLIENT, wall(g), &detail) != OK) {
        return hear(g, "what the server gave is no certificate for our name and key%s%s",
                    is_ours ? ": " : "", detail.text);
    }
    return OK;
}

static enum err obtain(struct agent *g, const struct client_target *t, const struct x509 *current,
                       struct made *m, unsigned *ret_again_s)
{
    AUTO(buf_done) struct buf csr = {0};
    struct why why = {{0}};
    TRY(make_request(current, &m->key_pem, &csr));
    TRY(client_est_renew(&g->heard, t, buf_slice(&csr), &m->chain_pem, ret_again_s));
    TRY(client_est_authorities(&g->heard, t, &m->ca_pem));
    TRY(check_made(g, m, current));
    enum err err = agent_swap_keep(g->dir, buf_slice(&m->key_pem), buf_slice(&m->chain_pem),
                                   buf_slice(&m->ca_pem), &why);
    return err == OK ? OK : hear(g, "%s", why.text);
}

/* Connects as whom the new certificate names, and is told so: before the old one goes. */
static enum err prove(struct agent *g, const struct client_target *t, const struct made *m)
{
    struct client_target as = *t; /* borrows what *m owns */
    as.chain = m->chain_pem;
    as.key = m->key_pem;
    as.ca = m->ca_pem;
    return client_est_prove(&g->heard, &as);
}

/* For the device's own program: it is to connect anew. */
static void run_program(const struct agent *g)
{
    char *const argv[] = {(char *)(uintptr_t)g->run, (char *)(uintptr_t)g->dir, NULL};
    pid_t pid;
    int status = 0;
    char text[256];
    int e = posix_spawnp(&pid, g->run, NULL, NULL, argv, environ);
    while (e == 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (e != 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        (void)snprintf(text, sizeof text, "%.100s: %s; the new certificate is in place", g->run,
                       e != 0 ? strerror(e) : "it failed");
        say(g, "run_failed", text);
    }
}

static enum err swap(struct agent *g, const struct made *m)
{
    AUTO(x509_autofree) struct x509 *x = NULL;
    char until[CLOCK_ISO8601_BYTES], text[128];
    struct why why = {{0}};
    if (agent_swap_take(g->dir, &why) != OK) {
        return hear(g, "%s", why.text);
    }
    TRY(leaf_of(buf_slice(&m->chain_pem), &x));
    clock_iso8601(x509_info(x)->not_after_wall_ms, until);
    (void)snprintf(text, sizeof text, "renewed, until %s", until);
    say(g, "renewed", text);
    if (g->run != NULL) {
        run_program(g);
    }
    return OK;
}

static enum err renew(struct agent *g, const struct client_target *t, const struct x509 *current,
                      unsigned *ret_again_s)
{
    AUTO(made_done) struct made m = {.key_pem = {0}};
    /* of a run before this one, which ended between the two */
    bool is_kept = agent_swap_kept(g->dir, &m.key_pem, &m.chain_pem, &m.ca_pem) == OK &&
                   check_made(g, &m, current) == OK;
    *ret_again_s = 0;
    if (!is_kept) {
        made_done(&m);
        rewind(g->heard.err); /* why that was of no use is of no use, too */
        TRY(obtain(g, t, current, &m, ret_again_s));
    }
    enum err err = prove(g, t, &m);
    if (err == ERR_DENIED) {
        TRY(agent_swap_drop(g->dir, NULL));
    }
    TRY(err);
    return swap(g, &m);
}

/* ---- the loop ---- */

/* What the last try has said, in one line. */
static void heard_text(struct agent *g, char *dst, size_t cap)
{
    static const char prefix[] = "sallyport: ";
    (void)fflush(g->heard.err);
    struct slice text = slice_of(g->heard_text, g->heard_n);
    while (text.n > 0 && text.p[text.n - 1] == '\n') {
        text = slice_head(text, text.n - 1);
    }
    if (slice_has_prefix(text, slice_text(prefix))) {
        text = slice_from(text, sizeof prefix - 1);
    }
    log_escape(text.p, text.n, dst, cap);
}

static void note_failure(struct agent *g, const struct x509_info *i, unsigned again_s)
{
    char heard[512], text[1024], until[CLOCK_ISO8601_BYTES], name[128], fix[256] = "";
    bool is_over = i->not_after_wall_ms <= wall(g);
    uint64_t wait = agent_again_ms(i, ++g->tries, random_u64(&g->random));
    wait = again_s > 0 ? (uint64_t)again_s * 1000 : wait;
    g->again_at_wall_ms = wall(g) + (int64_t)wait;
    clock_iso8601(i->not_after_wall_ms, until);
    heard_text(g, heard, sizeof heard);
    if (is_over) { /* past its grace the server hangs up without a word */
        log_escape(i->common_name.p, i->common_name.n, name, sizeof name);
        (void)snprintf(fix, sizeof fix,
                       ". If the server takes it no more (it is revoked, or renewal_grace is "
                       "over), `sallyport device rotate %s` there makes another",
                       name);
    }
    (void)snprintf(
        text, sizeof text, "not renewed: %s. The present one %s %s; tried again in %llu s%s", heard,
        is_over ? "ended" : "ends", until, (unsigned long long)((wait + 999) / 1000), fix);
    say(g, "failed", text);
}

static bool listen(struct agent *g)
{
    g->heard = *g->cli;
    g->heard.err = open_memstream(&g->heard_text, &g->heard_n);
    return g->heard.err != NULL;
}

static void listen_end(struct agent *g)
{
    (void)fclose(g->heard.err);
    free(g->heard_text); /* the library's */
    g->heard_text = NULL;
}

/* CLI_DONE with the time to wait, or CLI_FAILED of the only try. */
static int act(struct agent *g, const struct client_target *t, const struct x509 *current,
               int64_t *ret_wait_ms)
{
    const struct x509_info *i = x509_info(current);
    int64_t due = g->now ? 0 : agent_due(i);
    unsigned again_s = 0;
    due = due > g->again_at_wall_ms ? due : g->again_at_wall_ms;
    *ret_wait_ms = due - wall(g);
    if (*ret_wait_ms > 0) {
        return CLI_DONE;
    }
    if (!listen(g)) {
        return cli_fail(g->cli, "no memory");
    }
    bool is_renewed = renew(g, t, current, &again_s) == OK;
    if (is_renewed) {
        g->tries = 0;
        g->again_at_wall_ms = 0;
        g->now = false;
    } else {
        note_failure(g, i, again_s);
        *ret_wait_ms = g->again_at_wall_ms - wall(g);
    }
    listen_end(g);
    return is_renewed || !g->once ? CLI_DONE : CLI_FAILED;
}

static int step(struct agent *g, int64_t *ret_wait_ms)
{
    AUTO(x509_autofree) struct x509 *current = NULL;
    AUTO(client_target_done) struct client_target t = {.port = 0};
    struct why why = {{0}};
    if (agent_swap_finish(g->dir, &why) != OK) {
        return cli_fail(g->cli, "%s", why.text);
    }
    int code = client_target_read(g->cli, g->self, g->args, CLIENT_ENROL, &t);
    if (code == CLI_DONE && leaf_of(buf_slice(&t.chain), &current) != OK) {
        code = cli_fail(g->cli,
                        "%s/cert.pem is no certificate: the agent renews certificates, "
                        "other credentials by `device rotate`",
                        g->dir);
    }
    return code == CLI_DONE ? act(g, &t, current, ret_wait_ms) : code;
}

static bool is_stopped(struct agent *g, int64_t wait_ms)
{
    struct pollfd p = {.fd = g->signals, .events = POLLIN};
    int64_t ms = wait_ms < 0 ? 0 : wait_ms < LOOK_MS ? wait_ms : LOOK_MS;
    return poll(&p, 1, (int)ms) > 0;
}

static int take_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return sigprocmask(SIG_BLOCK, &set, NULL) == 0 ? signalfd(-1, &set, SFD_CLOEXEC) : -1;
}

int cmd_agent(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {CLIENT_TARGET_OPTIONS,
                                                {"--once", NULL, CLI_FLAG},
                                                {"--now", NULL, CLI_FLAG},
                                                {"--run", NULL, CLI_VALUE},
                                                {NULL, NULL, CLI_FLAG}};
    struct cli_args a;
    int64_t wait_ms = 0;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    struct agent g = {.cli = cli,
                      .self = self,
                      .args = &a,
                      .dir = cli_value(&a, "--bundle"),
                      .run = cli_value(&a, "--run"),
                      .once = cli_has(&a, "--once"),
                      .now = cli_has(&a, "--now"),
                      .clock = clock_system(),
                      .random = random_system()};
    if (g.dir == NULL || a.n_words > 0) {
        return cli_usage(cli, self, "the agent takes one bundle: agent --bundle DIR");
    }
    g.signals = take_signals();
    int code = CLI_DONE;
    do {
        code = step(&g, &wait_ms);
    } while (code == CLI_DONE && !g.once && !is_stopped(&g, wait_ms));
    (void)close(g.signals);
    return code;
}

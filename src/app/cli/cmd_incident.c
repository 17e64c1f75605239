/* incident export, verify */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "app/cli/archive.h"
#include "app/cli/audit_trust.h"
#include "app/cli/commands.h"
#include "app/cli/moment.h"
#include "base/clock.h"
#include "base/hex.h"
#include "security/identity/identity.h"
#include "service/watch/incident.h"

static void json_release(json_t **j)
{
    json_decref(*j);
}

static void file_close(FILE **f)
{
    if (*f != NULL) {
        (void)fclose(*f);
    }
}

static json_t *json_time(uint64_t events, int64_t wall_ms)
{
    char text[CLOCK_ISO8601_BYTES];
    clock_iso8601(wall_ms, text);
    return events > 0 ? json_string(text) : json_null();
}

static void print_json(struct cli *cli, json_t *line)
{
    AUTO(json_release) json_t *owned = line;
    json_dumpf(owned, cli->out, JSON_COMPACT | JSON_ENSURE_ASCII);
    fputc('\n', cli->out);
}

static json_t *report_json(const char *device, const struct incident_report *r)
{
    return json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o}", "device", device, "events",
                     (json_int_t)r->events, "unproven", (json_int_t)r->older, "left_out",
                     (json_int_t)r->left_out, "checkpoints", (json_int_t)r->checkpoints,
                     "first_record", (json_int_t)r->first, "last_record", (json_int_t)r->last,
                     "signed_to", (json_int_t)r->signed_to, "breaks", (json_int_t)r->breaks,
                     "first", json_time(r->events, r->first_ms), "last",
                     json_time(r->events, r->last_ms));
}

/* ---- export ---- */

static enum err write_line(void *ctx, struct slice line)
{
    return fwrite(line.p, 1, line.n, ctx) == line.n ? OK : ERR_IO;
}

static int ignore(struct cli *cli, void *ctx, const json_t *line)
{
    (void)cli;
    (void)ctx;
    (void)line;
    return CLI_DONE;
}

/* A daemon that runs signs what it has, so that the file is proven to its end. Without one there is
 * nothing to ask. */
static void have_it_signed(const struct cli *cli)
{
    AUTO(file_close) FILE *nowhere = fopen("/dev/null", "we");
    struct cli quiet = *cli;
    if (nowhere == NULL) {
        return;
    }
    quiet.out = nowhere;
    quiet.err = nowhere;
    int code = cli_call(&quiet, "audit.anchor", NULL, ignore, NULL);
    (void)code;
}

/* A new file, for its owner only. */
static FILE *open_new(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (f == NULL && fd >= 0) {
        close(fd);
    }
    return f;
}

static int write_all(struct cli *cli, struct incident_order *o, const char *out,
                     struct incident_report *ret)
{
    AUTO(file_close) FILE *f = open_new(out);
    if (f == NULL) {
        return cli_fail(cli, "%s: %s", out, strerror(errno));
    }
    o->ctx = f;
    o->write = write_line;
    enum err err = incident_write(o, ret);
    if (err == OK && (fflush(f) != 0 || fsync(fileno(f)) != 0)) {
        err = ERR_IO;
    }
    if (err == OK) {
        return CLI_DONE;
    }
    (void)unlink(out);
    return err == ERR_NOT_FOUND
               ? cli_fail(cli,
                          "the trail has no record of that time; `%s audit verify` says what "
                          "it has",
                          cli->program)
               : cli_fail(cli, "%s cannot be written: %s", out, err_name(err));
}

static int export(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    struct clock clock = clock_system();
    struct incident_report r = {0};
    int64_t now = clock.wall_ms(clock.ctx);
    struct incident_order o = {.device = cli_value(a, "--device"), .until_ms = now, .made_ms = now};
    const char *since = cli_value(a, "--since");
    const char *until = cli_value(a, "--until");
    const char *out = cli_value(a, "--out");
    if (o.device == NULL || since == NULL || out == NULL) {
        return cli_usage(cli, self, "incident export needs --device, --since and --out");
    }
    if (!identity_name_ok(slice_text(o.device))) {
        return cli_usage(cli, self, "%s is no name of a device", o.device);
    }
    if (moment_parse(since, now, &o.since_ms) != OK ||
        (until != NULL && moment_parse(until, now, &o.until_ms) != OK) ||
        o.since_ms >= o.until_ms) {
        return cli_usage(
            cli, self,
            "--since and --until take a time (2026-11-22T08:00), or how long ago (24h); "
            "--since is before --until");
    }
    AUTO(archive_house_release) struct archive_house *h = NULL;
    int code = archive_house_open(cli, cli_value(a, "--master-key"), cli_value(a, "--keyring"), &h);
    if (code != CLI_DONE) {
        return code;
    }
    have_it_signed(cli);
    o.disk = h->disk;
    o.root = keyring_root(h->keys.keyring);
    code = write_all(cli, &o, out, &r);
    if (code != CLI_DONE) {
        return code;
    }
    if (cli->json) {
        print_json(cli, report_json(o.device, &r));
    } else {
        fprintf(cli->out,
                "%s: %llu events of %s, %llu of other records as hashes only; records %llu to "
                "%llu, signed up to %llu.\nWhoever has it proves it: %s incident verify %s\n",
                out, (unsigned long long)(r.events + r.older), o.device,
                (unsigned long long)r.left_out, (unsigned long long)r.first,
                (unsigned long long)r.last, (unsigned long long)r.signed_to, cli->program, out);
    }
    if (r.events + r.older == 0) {
        fprintf(cli->err, "sallyport: no event of that time names %s: is the name right?\n",
                o.device);
    }
    if (r.breaks > 0) {
        return cli_fail(cli,
                        "the trail does not go on at %llu places of that time, and the file "
                        "says where; `%s audit verify` says what was done to it",
                        (unsigned long long)r.breaks, cli->program);
    }
    return CLI_DONE;
}

/* ---- verify ---- */

struct wrongs {
    struct cli *cli;
    json_t *all;
};

static void on_wrong(void *ctx, const char *text)
{
    struct wrongs *w = ctx;
    if (!w->cli->json) {
        fprintf(w->cli->out, "BAD  %s\n", text);
    }
    (void)json_array_append_new(w->all, json_string(text));
}

/* The length of the line, without its newline; ERR_CLOSED: there is none. */
static enum err next_line(FILE *f, struct buf *line)
{
    buf_clear(line);
    for (int c = fgetc(f); c != '\n'; c = fgetc(f)) {
        uint8_t byte = (uint8_t)c;
        if (c == EOF) {
            return ferror(f) != 0 ? ERR_IO : line->n > 0 ? OK : ERR_CLOSED;
        }
        TRY(buf_append(line, slice_of(&byte, 1), INCIDENT_LINE_MAX));
    }
    return OK;
}

static int verify(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    const char *file = a->words[1];
    struct audit_trust trust;
    int code = audit_trust_read(cli, self, a, &trust);
    if (code != CLI_DONE) {
        return code;
    }
    AUTO(file_close) FILE *f = fopen(file, "re");
    AUTO(buf_done) struct buf line = {0};
    AUTO(json_release) json_t *all = json_array();
    AUTO(incident_check_autofree) struct incident_check *c = NULL;
    struct wrongs wrongs = {cli, all};
    struct incident_terms terms = {.anchors = trust.anchors,
                                   .n_anchors = trust.n,
                                   .key = trust.has_key ? trust.key : NULL,
                                   .ctx = &wrongs,
                                   .wrong = on_wrong};
    struct incident_report r = {0};
    const char *device;
    if (f == NULL) {
        return cli_fail(cli, "%s: %s", file, strerror(errno));
    }
    enum err err = all != NULL ? incident_check_new(&terms, &c) : ERR_NOMEM;
    unsigned long n = 0;
    for (enum err next = OK; err == OK && next == OK; n++) {
        next = next_line(f, &line);
        err = next == OK           ? incident_check_line(c, buf_slice(&line))
              : next == ERR_CLOSED ? OK
                                   : next;
    }
    if (err != OK) {
        return cli_fail(cli, "%s:%lu: this is no line of an incident (%s)", file, n, err_name(err));
    }
    if (incident_check_end(c, &r, &device) != OK) {
        return cli_fail(cli, "%s ends before its end; get a whole copy", file);
    }
    char key[2 * ED25519_PUBLIC_BYTES + 1] = "-";
    const uint8_t *bytes = incident_check_key(c);
    hex_write(slice_of(bytes, bytes != NULL ? ED25519_PUBLIC_BYTES : 0), key);
    bool is_good = json_array_size(all) == 0;
    if (cli->json) {
        json_t *report = report_json(device, &r);
        (void)json_object_set_new(report, "ok", json_boolean(is_good));
        (void)json_object_set(report, "wrong", all);
        (void)json_object_set_new(report, "key", json_string(key));
        (void)json_object_set_new(report, "key_from", json_string(audit_trust_words(&trust)));
        print_json(cli, report);
    } else {
        fprintf(
            cli->out,
            "%s: %llu events of %s, %llu other records, %llu checkpoints; records %llu to %llu, "
            "signed up to %llu\nkey %s (%s)\n",
            is_good ? "The file holds together" : "THE FILE DOES NOT HOLD TOGETHER",
            (unsigned long long)(r.events + r.older), device, (unsigned long long)r.left_out,
            (unsigned long long)r.checkpoints, (unsigned long long)r.first,
            (unsigned long long)r.last, (unsigned long long)r.signed_to, key,
            audit_trust_words(&trust));
    }
    return is_good ? CLI_DONE : CLI_FAILED;
}

int cmd_incident(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {
        {"--device", NULL, CLI_VALUE},  {"--since", NULL, CLI_VALUE},
        {"--until", NULL, CLI_VALUE},   {"--out", NULL, CLI_VALUE},
        {"--anchor", NULL, CLI_MANY},   {"--key", NULL, CLI_VALUE},
        {"--keyring", NULL, CLI_VALUE}, {"--master-key", NULL, CLI_VALUE},
        {NULL, NULL, CLI_FLAG}};
    static const struct cli_verb verbs[] = {
        {"export", "", "--device --since --until --out --keyring --master-key", export},
        {"verify", "FILE", "--anchor --key", verify},
        {NULL, NULL, NULL, NULL}};
    struct cli_args a;
    return cli_parse(cli, self, options, argc, argv, &a) ? cli_verbs(cli, self, verbs, &a)
                                                         : CLI_USAGE;
}

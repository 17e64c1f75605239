/* audit tail, verify, export, anchor, key, roll-key */
#include "app/cli/archive.h"
#include "app/cli/audit_trust.h"
#include "app/cli/commands.h"
#include "app/cli/moment.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/mem.h"
#include "service/courier/shipment.h"
#include "service/watch/prove.h"
#include "service/watch/trail.h"

enum { TRIES = 2 }; /* the oldest file may be forgotten while it is read */

static void json_release(json_t **j)
{
    json_decref(*j);
}

static void print_json(struct cli *cli, json_t *line)
{
    AUTO(json_release) json_t *owned = line;
    json_dumpf(owned, cli->out, JSON_COMPACT | JSON_ENSURE_ASCII);
    fputc('\n', cli->out);
}

static json_t *json_time(int64_t wall_ms)
{
    char text[CLOCK_ISO8601_BYTES];
    clock_iso8601(wall_ms, text);
    return wall_ms == 0 ? json_null() : json_string(text);
}

/* ---- tail ---- */

static int tail(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    const char *lines = cli_value(a, "--lines");
    char *end = NULL;
    long n = lines != NULL ? strtol(lines, &end, 10) : 100;
    if (n < 0 || n > 1000000 || (end != NULL && (*end != '\0' || end == lines))) {
        return cli_usage(cli, self, "-n takes a number of events");
    }
    json_t *args = json_pack("{s:i,s:b}", "n", (int)n, "follow", cli_has(a, "--follow") ? 1 : 0);
    return cli_call(cli, "audit.tail", args, NULL, NULL);
}

/* ---- verify ---- */

struct findings {
    struct prove_finding *all;
    size_t n;
    struct buf memory;
    enum err err;
};

static void on_found(void *ctx, const struct prove_finding *f)
{
    struct findings *all = ctx;
    if (all->err == OK) {
        all->err = buf_append(&all->memory, slice_of(f, sizeof *f), SIZE_MAX);
        all->all = (struct prove_finding *)(void *)all->memory.p;
        all->n = all->memory.n / sizeof *f;
    }
}

static json_t *finding_json(const struct prove_finding *f)
{
    char name[TRAIL_NAME_BYTES];
    trail_name(f->file, name);
    return json_pack(
        "{s:s,s:b,s:o,s:I,s:I,s:I,s:I,s:o,s:o,s:s,s:s}", "kind", prove_kind_name(f->kind), "bad",
        prove_kind_is_bad(f->kind), "file", f->file > 0 ? json_string(name) : json_null(), "offset",
        (json_int_t)f->offset, "bytes", (json_int_t)f->bytes, "first", (json_int_t)f->first, "last",
        (json_int_t)f->last, "after", json_time(f->after_ms), "before", json_time(f->before_ms),
        "meaning", prove_kind_meaning(f->kind), "text", f->text);
}

static void print_finding(struct cli *cli, const struct prove_finding *f)
{
    char after[CLOCK_ISO8601_BYTES];
    char before[CLOCK_ISO8601_BYTES];
    clock_iso8601(f->after_ms, after);
    clock_iso8601(f->before_ms, before);
    fprintf(cli->out, "%s %s: %s", prove_kind_is_bad(f->kind) ? "BAD " : "note",
            prove_kind_name(f->kind), f->text);
    if (f->after_ms != 0 && f->before_ms != 0) {
        fprintf(cli->out, " (between %s and %s)", after, before);
    } else if (f->after_ms != 0 || f->before_ms != 0) {
        fprintf(cli->out, " (%s %s)", f->after_ms != 0 ? "after" : "before",
                f->after_ms != 0 ? after : before);
    }
    fputc('\n', cli->out);
}

static int report(struct cli *cli, const struct findings *found, const struct prove_report *r,
                  const char *trust)
{
    char trail[2 * CHAIN_ID_BYTES + 1];
    char key[2 * ED25519_PUBLIC_BYTES + 1];
    hex_write(slice_of(r->trail, sizeof r->trail), trail);
    hex_write(slice_of(r->key, sizeof r->key), key);
    if (cli->json) {
        json_t *list = json_array();
        for (size_t i = 0; i < found->n; i++) {
            json_array_append_new(list, finding_json(&found->all[i]));
        }
        print_json(cli, json_pack("{s:b,s:s,s:I,s:I,s:I,s:I,s:I,s:i,s:I,s:o,s:o,s:s,s:s,s:o}", "ok",
                                  r->bad == 0, "trail", trail, "records", (json_int_t)r->records,
                                  "first", (json_int_t)r->first, "last", (json_int_t)r->last,
                                  "checkpoints", (json_int_t)r->checkpoints, "signed_to",
                                  (json_int_t)r->signed_to, "files", (int)r->files, "older_lines",
                                  (json_int_t)r->older_lines, "first_time", json_time(r->first_ms),
                                  "last_time", json_time(r->last_ms), "key", key, "key_from", trust,
                                  "findings", list));
        return r->bad == 0 ? CLI_DONE : CLI_FAILED;
    }
    for (size_t i = 0; i < found->n; i++) {
        print_finding(cli, &found->all[i]);
    }
    fprintf(cli->out,
            "%s: %llu records, %llu to %llu, in %u files; %llu checkpoints, signed up to record "
            "%llu\ntrail %s\nkey   %s (%s)\n",
            r->bad == 0 ? "The trail holds together" : "THE TRAIL DOES NOT HOLD TOGETHER",
            (unsigned long long)r->records, (unsigned long long)r->first,
            (unsigned long long)r->last, r->files, (unsigned long long)r->checkpoints,
            (unsigned long long)r->signed_to, trail, key, trust);
    return r->bad == 0 ? CLI_DONE : CLI_FAILED;
}

static int verify(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    struct audit_trust trust;
    int told = audit_trust_read(cli, self, a, &trust);
    if (told != CLI_DONE) {
        return told;
    }
    AUTO(archive_house_release) struct archive_house *h = NULL;
    int code = archive_house_open(cli, cli_value(a, "--master-key"), cli_value(a, "--keyring"), &h);
    for (int i = 0; code == CLI_DONE; i++) {
        struct findings found = {0};
        struct prove_report r;
        struct prove_setup s = {.disk = h->disk,
                                .root = keyring_root(h->keys.keyring),
                                .anchors = trust.anchors,
                                .n_anchors = trust.n,
                                .key = trust.has_key ? trust.key : NULL,
                                .ctx = &found,
                                .found = on_found};
        enum err err = prove_trail(&s, &r);
        err = err == OK ? found.err : err;
        if (err != OK) {
            buf_done(&found.memory);
            return cli_fail(cli, "the trail cannot be read to its end: %s", err_name(err));
        }
        if (r.bad == 0 || i + 1 == TRIES) {
            code = report(cli, &found, &r, audit_trust_words(&trust));
            buf_done(&found.memory);
            return code;
        }
        buf_done(&found.memory);
    }
    return code;
}

/* ---- export ---- */

struct export
{
    struct cli *cli;
    char since[CLOCK_ISO8601_BYTES], until[CLOCK_ISO8601_BYTES];
    enum shipment_format format;
    struct buf out;
    enum err err;
};

static bool is_asked(const struct export *e, const char *time)
{
    return strcmp(time, e->since) >= 0 && (e->until[0] == '\0' || strcmp(time, e->until) < 0);
}

static void on_line(void *ctx, struct slice line)
{
    static const char front[] = "{\"time\":\"";
    struct export *e = ctx;
    char time[CLOCK_ISO8601_BYTES] = "";
    if (slice_has_prefix(line, slice_text(front))) { /* as every event does (audit_encode.c) */
        (void)slice_to_text(slice_head(slice_from(line, sizeof front - 1), sizeof time - 1), time,
                            sizeof time);
    }
    if (is_asked(e, time)) {
        fwrite(line.p, 1, line.n, e->cli->out);
    }
}

static enum err write_shipment(struct export *e, const struct shipment *s)
{
    char time[CLOCK_ISO8601_BYTES];
    clock_iso8601(s->wall_ms, time);
    if (!is_asked(e, time)) {
        return OK;
    }
    buf_clear(&e->out);
    TRY(e->format == SHIPMENT_SYSLOG ? shipment_syslog(s, "-", &e->out)
                                     : shipment_ocsf(s, "-", &e->out));
    fwrite(e->out.p, 1, e->out.n, e->cli->out);
    fputc('\n', e->cli->out);
    return OK;
}

/* With the number and leaf that a sink got for the same record. */
static enum err take_piece(struct export *e, const struct trail_piece *p)
{
    AUTO(shipment_done) struct shipment s = {0};
    struct chain_entry entry = {.kind = CHAIN_EVENT, .body = p->plain};
    struct digest leaf = {{0}};
    if (p->kind == TRAIL_PIECE_ENTRY) {
        TRY(chain_entry_decode(p->plain, &entry));
        TRY(chain_leaf(p->plain, &leaf));
    }
    if (entry.kind == CHAIN_CHECKPOINT) {
        s = shipment_checkpoint(entry.wall_ms);
    } else {
        TRY(shipment_read(entry.body, &s));
    }
    s.seq = entry.seq;
    s.leaf = leaf;
    return write_shipment(e, &s);
}

static void on_piece(void *ctx, const struct trail_piece *p)
{
    struct export *e = ctx;
    bool is_here = p->written_file == p->file && p->written_offset == p->offset;
    if (p->kind == TRAIL_PIECE_LINE || (p->kind == TRAIL_PIECE_ENTRY && is_here)) {
        enum err err = take_piece(e, p);
        e->err = e->err == OK ? err : e->err;
    }
}

static int moment(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                  const char *option, char ret[CLOCK_ISO8601_BYTES])
{
    struct clock clock = clock_system();
    const char *text = cli_value(a, option);
    int64_t at;
    if (text == NULL) {
        return CLI_DONE;
    }
    if (moment_parse(text, clock.wall_ms(clock.ctx), &at) != OK) {
        return cli_usage(cli, self,
                         "%s takes a time (2026-11-22T08:00:00Z, or its beginning), or "
                         "how long ago (90m, 24h, 7d)",
                         option);
    }
    clock_iso8601(at, ret);
    return CLI_DONE;
}

static int export(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    const char *format = cli_value(a, "--format");
    struct export e = {.cli = cli, .format = SHIPMENT_JSON};
    if (format != NULL && !shipment_format_find(slice_text(format), &e.format)) {
        return cli_usage(cli, self, "--format is json, syslog or ocsf");
    }
    struct trail_report r;
    int code = moment(cli, self, a, "--since", e.since);
    code = code == CLI_DONE ? moment(cli, self, a, "--until", e.until) : code;
    AUTO(archive_house_release) struct archive_house *h = NULL;
    if (code == CLI_DONE) {
        code = archive_house_open(cli, cli_value(a, "--master-key"), cli_value(a, "--keyring"), &h);
    }
    if (code != CLI_DONE) {
        return code;
    }
    struct trail_sink sink = {.ctx = &e};
    if (e.format == SHIPMENT_JSON) {
        sink.line = on_line;
    } else {
        sink.piece = on_piece;
    }
    enum err err = trail_read(h->disk, keyring_root(h->keys.keyring), 0, &sink, &r);
    err = err == OK ? e.err : err;
    buf_done(&e.out);
    if (err != OK) {
        return cli_fail(cli, "the trail cannot be read to its end: %s", err_name(err));
    }
    if (fflush(cli->out) != 0 || ferror(cli->out) != 0) {
        return cli_fail(cli, "the lines cannot be written; look at the disk they go to");
    }
    if (r.damages > 0) {
        return cli_fail(cli,
                        "%llu places of the trail do not verify, and their lines are missing; "
                        "`%s audit verify` says which",
                        (unsigned long long)r.damages, cli->program);
    }
    return CLI_DONE;
}

/* ---- key ---- */

static int show_key(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    (void)self;
    (void)a;
    AUTO(buf_done) struct buf text = {0};
    struct why why = {{0}};
    struct anchor anchor;
    struct disk *disk = NULL;
    char key[2 * ED25519_PUBLIC_BYTES + 1];
    char trail[2 * CHAIN_ID_BYTES + 1];
    enum err err = archive_dir(cli->dir, &disk, &why);
    if (err != OK) {
        return cli_fail(cli, "%s", why.text);
    }
    err = anchor_load(disk, &text);
    disk = disk->ops->free(disk);
    if (err == OK) {
        err = anchor_decode(buf_slice(&text), &anchor);
    }
    if (err != OK) {
        return cli_fail(cli,
                        "%s/" ANCHOR_FILE " cannot be read (%s); it is there when the daemon "
                        "has run once",
                        cli->dir, err_name(err));
    }
    hex_write(slice_of(anchor.key, sizeof anchor.key), key);
    hex_write(slice_of(anchor.trail, sizeof anchor.trail), trail);
    if (cli->json) {
        print_json(cli, json_pack("{s:s,s:s}", "key", key, "trail", trail));
    } else {
        fprintf(cli->out, "%s\n", key);
    }
    return CLI_DONE;
}

/* anchor, roll-key: the daemon answers, who has the key. */
static int ask(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    (void)self;
    return cli_call(cli, strcmp(a->words[0], "anchor") == 0 ? "audit.anchor" : "audit.roll-key",
                    NULL, NULL, NULL);
}

int cmd_audit(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {
        {"--lines", "-n", CLI_VALUE},      {"--follow", "-f", CLI_FLAG},
        {"--anchor", NULL, CLI_MANY},      {"--key", NULL, CLI_VALUE},
        {"--master-key", NULL, CLI_VALUE}, {"--keyring", NULL, CLI_VALUE},
        {"--since", NULL, CLI_VALUE},      {"--until", NULL, CLI_VALUE},
        {"--format", NULL, CLI_VALUE},     {NULL, NULL, CLI_FLAG}};
    static const struct cli_verb verbs[] = {
        {"tail", "", "--lines --follow", tail},
        {"verify", "", "--anchor --key --master-key --keyring", verify},
        {"export", "", "--since --until --format --master-key --keyring", export},
        {"anchor", "", "", ask},
        {"key", "", "", show_key},
        {"roll-key", "", "", ask},
        {NULL, NULL, NULL, NULL}};
    struct cli_args a;
    return cli_parse(cli, self, options, argc, argv, &a) ? cli_verbs(cli, self, verbs, &a)
                                                         : CLI_USAGE;
}

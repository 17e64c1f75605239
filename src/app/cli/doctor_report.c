#include "app/cli/doctor_report.h"

#include "base/clock.h"

static void json_release(json_t **j)
{
    json_decref(*j);
}

static int print_json(struct cli *cli, json_t *taken)
{
    AUTO(json_release) json_t *root = taken;
    if (root == NULL || json_dumpf(root, cli->out, JSON_COMPACT | JSON_ENSURE_ASCII) != 0) {
        return cli_fail(cli, "memory is out");
    }
    fputc('\n', cli->out);
    return CLI_DONE;
}

static bool is_asked(const struct doctor_report *r, const struct finding *f)
{
    for (size_t i = 0; i < r->n_only; i++) {
        if (strcmp(r->only[i], f->rule->id) == 0) {
            return true;
        }
    }
    return r->n_only == 0;
}

/* "mosquitto.conf:7"; a finding of the daemon stands nowhere. */
static void place_text(const struct facts *f, struct facts_place at, char *dst, size_t cap)
{
    const char *path = at.file < f->n_files ? f->files[at.file].path : "";
    (void)snprintf(dst, cap, at.line > 0 ? "%s:%u" : "%s", path, at.line);
}

enum { PLACE_BYTES = FACTS_PATH + 16 };

/* ---- counting ---- */

struct sums {
    size_t by_severity[SEVERITY_CRITICAL + 1], waived, open;
};

static struct sums sum(const struct doctor_report *r)
{
    struct sums s = {{0}, 0, 0};
    for (size_t i = 0; i < r->findings->n; i++) {
        const struct finding *f = &r->findings->items[i];
        if (is_asked(r, f) && f->waiver > 0) {
            s.waived++;
            /* One that was only counted may be of another object. */
            s.open += r->findings->n_more > 0 && r->waivers->items[f->waiver - 1].object[0] != '\0';
        } else if (is_asked(r, f)) {
            s.by_severity[f->rule->severity]++;
            s.open += f->rule->severity >= SEVERITY_MEDIUM;
        }
    }
    return s;
}

/* ---- for people ---- */

static void print_indented(FILE *to, const char *head, const char *text)
{
    struct slice rest = slice_text(text);
    bool more = true;
    for (bool is_first = true; more; is_first = false) {
        struct slice line = slice_cut(&rest, '\n', &more);
        fprintf(to, "  %-5s%.*s\n", is_first ? head : "", SLICE_ARG(line));
    }
}

static void print_finding(struct cli *cli, const struct doctor_report *r, const struct finding *f)
{
    char place[PLACE_BYTES], ends[CLOCK_ISO8601_BYTES], fix[FINDING_FIX_BYTES];
    place_text(r->facts, f->at, place, sizeof place);
    fprintf(cli->out, "%-9s%s  %s\n", severity_name(f->rule->severity), f->rule->id,
            f->rule->title);
    fprintf(cli->out, "  seen %s%s%s\n", place, place[0] != '\0' ? ": " : "", f->evidence);
    if (f->waiver > 0) {
        const struct waiver *w = &r->waivers->items[f->waiver - 1];
        clock_iso8601(w->ends_wall_ms, ends);
        fprintf(cli->out, "  waived until %.10s by %s: %s (waiver %u)\n\n", ends, w->by, w->reason,
                w->id);
        return;
    }
    fprintf(cli->out, "  why  %s\n", f->rule->why);
    finding_fix(f, r->facts->product, fix);
    print_indented(cli->out, "fix", fix);
    fputc('\n', cli->out);
}

static void print_unread(struct cli *cli, const struct facts *f)
{
    char place[PLACE_BYTES];
    for (size_t i = 0; i < f->n_unread; i++) {
        const struct facts_unread *u = &f->unread[i];
        place_text(f, u->at, place, sizeof place);
        fprintf(cli->out, "not assessed: %s: %s%s%s\n", place, u->text,
                u->text[0] != '\0' ? ": " : "", u->reason);
    }
    if (f->n_dropped > 0) {
        fprintf(cli->out, "not assessed: %zu more than are looked at\n", f->n_dropped);
    }
    if (f->product == FACTS_SALLYPORT && !f->is_daemon_asked) {
        fputs("not assessed: no daemon answered, so devices, their secrets and exceptions were not "
              "seen\n",
              cli->out);
    }
}

static void print_clause_findings(struct cli *cli, const struct doctor_report *r,
                                  const struct clause *c)
{
    char place[PLACE_BYTES];
    for (size_t i = 0; i < r->findings->n; i++) {
        const struct finding *f = &r->findings->items[i];
        if (clause_has(f->rule, r->profile, c)) {
            place_text(r->facts, f->at, place, sizeof place);
            fprintf(cli->out, "    %s%s: %s%s%s\n", f->waiver > 0 ? "(waived) " : "", f->rule->id,
                    place, place[0] != '\0' ? ": " : "", f->evidence);
        }
    }
}

static void print_profile(struct cli *cli, const struct doctor_report *r)
{
    const struct clause *c;
    fprintf(cli->out, "%s\n", profile_title(r->profile));
    for (size_t i = 0; (c = profile_clause(r->profile, i)) != NULL; i++) {
        size_t n_rules, n_found;
        enum verdict v = clause_judge(r->profile, c, r->facts, r->findings, &n_rules, &n_found);
        fprintf(cli->out, "  %-15s %-32s %s; %zu rules, %zu findings\n", verdict_name(v), c->label,
                c->about, n_rules, n_found);
        print_clause_findings(cli, r, c);
    }
    fputs("A configuration is one part of what these documents ask; `not assessed` needs other "
          "evidence.\n\n",
          cli->out);
}

static int print_text(struct cli *cli, const struct doctor_report *r)
{
    struct sums s = sum(r);
    if (r->has_profile) {
        print_profile(cli, r);
    }
    for (size_t i = 0; i < r->findings->n && !r->has_profile; i++) {
        if (is_asked(r, &r->findings->items[i])) {
            print_finding(cli, r, &r->findings->items[i]);
        }
    }
    print_unread(cli, r->facts);
    fprintf(cli->out, "%s (%s): %zu critical, %zu high, %zu medium, %zu low; %zu waived\n",
            r->target, facts_product_name(r->facts->product), s.by_severity[SEVERITY_CRITICAL],
            s.by_severity[SEVERITY_HIGH], s.by_severity[SEVERITY_MEDIUM],
            s.by_severity[SEVERITY_LOW], s.waived);
    if (r->findings->n_more > 0) {
        fprintf(cli->out, "%zu more of the same rules were only counted\n", r->findings->n_more);
    }
    return s.open > 0 ? CLI_FAILED : CLI_DONE;
}

/* ---- for programs ---- */

static json_t *waiver_json(const struct waiver *w)
{
    char made[CLOCK_ISO8601_BYTES], ends[CLOCK_ISO8601_BYTES];
    clock_iso8601(w->made_wall_ms, made);
    clock_iso8601(w->ends_wall_ms, ends);
    return json_pack("{s:I,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "id", (json_int_t)w->id, "product",
                     facts_product_name(w->product), "rule", w->rule, "object", w->object, "by",
                     w->by, "reason", w->reason, "made", made, "ends", ends);
}

static json_t *finding_json(const struct doctor_report *r, const struct finding *f)
{
    const char *path = f->at.file < r->facts->n_files ? r->facts->files[f->at.file].path : "";
    char fix[FINDING_FIX_BYTES];
    finding_fix(f, r->facts->product, fix);
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:s,s:s,s:o}", "id", f->rule->id, "severity",
                     severity_name(f->rule->severity), "title", f->rule->title, "object", f->object,
                     "evidence", f->evidence, "file", path, "line", (json_int_t)f->at.line, "why",
                     f->rule->why, "fix", fix, "waiver",
                     f->waiver > 0 ? waiver_json(&r->waivers->items[f->waiver - 1]) : json_null());
}

static json_t *findings_json(const struct doctor_report *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->findings->n; i++) {
        if (is_asked(r, &r->findings->items[i])) {
            (void)json_array_append_new(list, finding_json(r, &r->findings->items[i]));
        }
    }
    return list;
}

static json_t *unread_json(const struct facts *f)
{
    json_t *list = json_array();
    for (size_t i = 0; i < f->n_unread; i++) {
        const struct facts_unread *u = &f->unread[i];
        const char *path = u->at.file < f->n_files ? f->files[u->at.file].path : "";
        (void)json_array_append_new(list, json_pack("{s:s,s:I,s:s,s:s}", "file", path, "line",
                                                    (json_int_t)u->at.line, "text", u->text,
                                                    "reason", u->reason));
    }
    return list;
}

static json_t *clause_findings(const struct doctor_report *r, const struct clause *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->findings->n; i++) {
        if (clause_has(r->findings->items[i].rule, r->profile, c)) {
            (void)json_array_append_new(list, finding_json(r, &r->findings->items[i]));
        }
    }
    return list;
}

static json_t *profile_json(const struct doctor_report *r)
{
    const struct clause *c;
    json_t *list = json_array();
    if (!r->has_profile) {
        json_decref(list);
        return json_null();
    }
    for (size_t i = 0; (c = profile_clause(r->profile, i)) != NULL; i++) {
        size_t n_rules, n_found;
        enum verdict v = clause_judge(r->profile, c, r->facts, r->findings, &n_rules, &n_found);
        (void)json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s,s:I,s:o}", "id", c->id,
                                                    "label", c->label, "about", c->about, "verdict",
                                                    verdict_name(v), "rules", (json_int_t)n_rules,
                                                    "findings", clause_findings(r, c)));
    }
    return json_pack("{s:s,s:s,s:o}", "name", profile_name(r->profile), "title",
                     profile_title(r->profile), "clauses", list);
}

static int print_object(struct cli *cli, const struct doctor_report *r)
{
    struct sums s = sum(r);
    bool is_all_seen = r->facts->product != FACTS_SALLYPORT || r->facts->is_daemon_asked;
    json_t *counts = json_pack(
        "{s:I,s:I,s:I,s:I,s:I,s:I}", "critical", (json_int_t)s.by_severity[SEVERITY_CRITICAL],
        "high", (json_int_t)s.by_severity[SEVERITY_HIGH], "medium",
        (json_int_t)s.by_severity[SEVERITY_MEDIUM], "low", (json_int_t)s.by_severity[SEVERITY_LOW],
        "waived", (json_int_t)s.waived, "only_counted", (json_int_t)r->findings->n_more);
    json_t *root =
        json_pack("{s:s,s:s,s:b,s:o,s:o,s:I,s:o,s:o}", "target", r->target, "product",
                  facts_product_name(r->facts->product), "daemon_asked", is_all_seen ? 1 : 0,
                  "findings", findings_json(r), "not_assessed", unread_json(r->facts), "dropped",
                  (json_int_t)r->facts->n_dropped, "counts", counts, "profile", profile_json(r));
    int code = print_json(cli, root);
    return code != CLI_DONE ? code : s.open > 0 ? CLI_FAILED : CLI_DONE;
}

int doctor_report_print(struct cli *cli, const struct doctor_report *r)
{
    return cli->json ? print_object(cli, r) : print_text(cli, r);
}

int doctor_waivers_print(struct cli *cli, const struct waivers *l, int64_t now_wall_ms)
{
    if (l->n == 0 && !cli->json) {
        fprintf(cli->err, "nothing is waived\n");
    }
    for (size_t i = 0; i < l->n; i++) {
        const struct waiver *w = &l->items[i];
        char ends[CLOCK_ISO8601_BYTES];
        bool is_in_force = waiver_is_in_force(w, now_wall_ms);
        clock_iso8601(w->ends_wall_ms, ends);
        if (cli->json) {
            json_t *one = waiver_json(w);
            (void)json_object_set_new(one, "in_force", json_boolean(is_in_force));
            if (print_json(cli, one) != CLI_DONE) {
                return CLI_USAGE;
            }
        } else {
            fprintf(cli->out, "%u  %s %s%s%s  %s %.19sZ  by %s: %s\n", w->id,
                    facts_product_name(w->product), w->rule, w->object[0] != '\0' ? "=" : "",
                    w->object, is_in_force ? "until" : "ended", ends, w->by, w->reason);
        }
    }
    return CLI_DONE;
}

/* ---- the table ---- */

static void print_row(struct cli *cli, const struct rule *r)
{
    fprintf(cli->out, "| `%s` | %s | %s | ", r->id, severity_name(r->severity), r->title);
    for (size_t i = 0; i < FACTS_PRODUCTS; i++) {
        fprintf(cli->out, "%s%s",
                r->fix[i] != NULL ? facts_product_name((enum facts_product)i) : "",
                r->fix[i] != NULL ? " " : "");
    }
    fputs("|", cli->out);
    for (size_t i = 0; i < PROFILES; i++) {
        fprintf(cli->out, " %s |", r->clauses[i]);
    }
    fputc('\n', cli->out);
}

static int print_rule_json(struct cli *cli, const struct rule *r)
{
    json_t *products = json_array(), *clauses = json_object();
    for (size_t i = 0; i < FACTS_PRODUCTS; i++) {
        if (r->fix[i] != NULL) {
            (void)json_array_append_new(products,
                                        json_string(facts_product_name((enum facts_product)i)));
        }
    }
    for (size_t i = 0; i < PROFILES; i++) {
        (void)json_object_set_new(clauses, profile_name((enum profile)i),
                                  json_string(r->clauses[i]));
    }
    return print_json(cli, json_pack("{s:s,s:s,s:s,s:s,s:o,s:o}", "id", r->id, "severity",
                                     severity_name(r->severity), "title", r->title, "why", r->why,
                                     "products", products, "clauses", clauses));
}

int doctor_rules_print(struct cli *cli)
{
    size_t at = 0;
    if (!cli->json) {
        fputs("| id | severity | what | judged of | cra | etsi303645 | nist8259a | owasp |\n"
              "| --- | --- | --- | --- | --- | --- | --- | --- |\n",
              cli->out);
    }
    for (const struct rule *r = rules_next(&at); r != NULL; r = rules_next(&at)) {
        if (!cli->json) {
            print_row(cli, r);
        } else if (print_rule_json(cli, r) != CLI_DONE) {
            return CLI_USAGE;
        }
    }
    return CLI_DONE;
}

#include "app/scan/scan_report.h"

#include "base/scope.h"

enum { URI_BYTES = 320, WIDTH = 96, INDENT = 10 };

static const char *const states[] = {"not looked at", "closed", "no answer", "another protocol",
                                     "open"};
static const char *const found_names[] = {"unknown", "no", "yes"};
static const char *const terms_names[SCAN_TERMS_COUNT] = {"TLS 1.0",
                                                          "TLS 1.1",
                                                          "TLS 1.2",
                                                          "TLS 1.3",
                                                          "NULL suites",
                                                          "anonymous suites",
                                                          "RC4, DES, 3DES, export",
                                                          "RSA key exchange",
                                                          "CBC suites"};
static const char *const who_names[] = {"nobody", "anonymous", "any password", "default password"};

static void count(const struct scan_findings *f, size_t n[SCAN_SEVERITY_COUNT])
{
    for (size_t i = 0; i < SCAN_SEVERITY_COUNT; i++) {
        n[i] = 0;
    }
    for (size_t i = 0; i < f->n; i++) {
        n[f->all[i].rule->severity]++;
    }
}

/* ---- for people ---- */

/* Words of a text in lines of WIDTH, behind a label. */
static void put_folded(FILE *to, const char *label, const char *text)
{
    struct slice rest = slice_text(text);
    size_t at = 0;
    bool more = true;
    fprintf(to, "    %-*s", INDENT - 4, label);
    while (more) {
        struct slice word = slice_cut(&rest, ' ', &more);
        if (at > 0 && at + 1 + word.n > WIDTH - INDENT) {
            fprintf(to, "\n%*s", INDENT, "");
            at = 0;
        }
        fprintf(to, "%s%.*s", at > 0 ? " " : "", SLICE_ARG(word));
        at += word.n + (at > 0 ? 1 : 0);
    }
    fputc('\n', to);
}

static void put_exchange(FILE *to, const char *what, const struct scan_exchange *e)
{
    if (e->sent > 0) {
        fprintf(to, "                 %s: %zu bytes in, %zu out, factor %.1f\n", what, e->sent,
                e->received, (double)e->received / (double)e->sent);
    }
}

static void put_terms(FILE *to, const struct scan_tls_seen *t)
{
    const char *comma = "";
    fprintf(to, "                 accepted: ");
    for (size_t i = 0; i < SCAN_TERMS_COUNT; i++) {
        if (t->terms[i] == SCAN_YES) {
            fprintf(to, "%s%s", comma, terms_names[i]);
            comma = ", ";
        }
    }
    fputc('\n', to);
    for (size_t i = 0; i < t->n_suites; i++) {
        fprintf(to, "                 %s  %s\n", i == 0 ? "suites:" : "       ",
                t->suites[i].name != NULL ? t->suites[i].name : "one that is not known here");
    }
    if (t->has_certificate) {
        char end[CLOCK_ISO8601_BYTES];
        clock_iso8601(t->certificate.not_after_wall_ms, end);
        fprintf(to, "                 certificate: %s of %u bits, until %s\n", t->certificate.key,
                t->certificate.key_bits, end);
    }
}

/* What was asked and has no answer: neither a finding nor a good sign. */
static void put_unknown(FILE *to, const struct scan_door_seen *d)
{
    const struct scan_mqtt_seen *m = &d->mqtt;
    const char *comma = "                 not known: ";
    const struct {
        const char *name;
        bool is_asked;
        enum scan_found found;
    } all[] = {
        {"a huge packet before CONNECT", m->version != 0, m->keeps_huge},
        {"SUBSCRIBE #", m->who != SCAN_WHO_NOBODY, m->reads_all},
        {"SUBSCRIBE $SYS/#", m->who != SCAN_WHO_NOBODY, m->reads_sys},
        {"a topic that is not UTF-8", m->who != SCAN_WHO_NOBODY, m->takes_bad_utf8},
        {"takeover", m->who == SCAN_WHO_ANONYMOUS || m->who == SCAN_WHO_ANY, m->takes_over},
        {"retained messages", m->who != SCAN_WHO_NOBODY, m->keeps_retained},
        {"other origins", d->door.kind == SCAN_WS || d->door.kind == SCAN_WSS, m->takes_origin},
        {"DTLS cookie", d->door.kind == SCAN_COAPS, d->coaps.has_cookie},
    };
    for (size_t i = 0; scan_kind_has_tls(d->door.kind) && i < SCAN_TERMS_COUNT; i++) {
        if (d->tls.terms[i] == SCAN_UNKNOWN) {
            fprintf(to, "%s%s", comma, terms_names[i]);
            comma = ", ";
        }
    }
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        if (all[i].is_asked && all[i].found == SCAN_UNKNOWN) {
            fprintf(to, "%s%s", comma, all[i].name);
            comma = ", ";
        }
    }
    fputs(comma[0] == ',' ? "\n" : "", to);
}

static void put_door(FILE *to, const struct scan_door_seen *d)
{
    fprintf(to, "  %5u  %-6s  %s\n", (unsigned)d->door.port, scan_kind_name(d->door.kind),
            states[d->state]);
    if (d->state != SCAN_OPEN) {
        return;
    }
    if (scan_kind_has_tls(d->door.kind)) {
        put_terms(to, &d->tls);
    }
    if (scan_kind_is_mqtt(d->door.kind) && d->mqtt.who == SCAN_WHO_NOBODY) {
        fprintf(to,
                "                 nobody was let in%s: what a device may do was not looked at\n",
                d->mqtt.n_passwords > 0 ? ", by no default password either" : "");
    }
    put_unknown(to, d);
    put_exchange(to, "discovery", &d->coap.discovery);
    put_exchange(to, "the largest resource", &d->coap.resource);
    put_exchange(to, "DTLS hello", &d->coaps.hello);
}

static void put_finding(FILE *to, const struct scan_finding *f)
{
    fprintf(to, "\n  %-6s  %s  (%s, port %u)\n", scan_severity_name(f->rule->severity), f->rule->id,
            scan_kind_name(f->door.kind), (unsigned)f->door.port);
    put_folded(to, "what", f->rule->title);
    put_folded(to, "seen", f->evidence);
    put_folded(to, "fix", f->rule->fix);
}

void scan_report_text(const struct scan_report *r, FILE *to)
{
    char host[256], when[CLOCK_ISO8601_BYTES];
    size_t n[SCAN_SEVERITY_COUNT];
    scan_word(slice_text(r->host), host, sizeof(host));
    clock_iso8601(r->seen->wall_ms, when);
    fprintf(to, "%s (%s), %s\n\n", host, r->address, when);
    for (size_t i = 0; i < r->seen->n_doors; i++) {
        put_door(to, &r->seen->doors[i]);
    }
    for (size_t i = 0; i < r->findings->n; i++) {
        put_finding(to, &r->findings->all[i]);
    }
    count(r->findings, n);
    fprintf(to, "\n%zu high, %zu medium, %zu low, %zu info%s\n", n[SCAN_HIGH], n[SCAN_MEDIUM],
            n[SCAN_LOW], n[SCAN_INFO],
            !scan_has_answers(r->seen) ? "; no port answers as it should, so nothing is known"
            : r->seen->is_cut          ? "; the time was over before everything was asked (--time)"
                                       : "");
}

/* ---- JSON ---- */

static json_t *exchange_json(const struct scan_exchange *e)
{
    return json_pack("{s:s,s:I,s:I,s:i,s:f}", "path", e->path, "bytes_in", (json_int_t)e->sent,
                     "bytes_out", (json_int_t)e->received, "answers", (int)e->answers, "factor",
                     e->sent > 0 ? (double)e->received / (double)e->sent : 0.0);
}

static json_t *tls_json(const struct scan_tls_seen *t)
{
    json_t *accepted = json_array();
    for (size_t i = 0; i < SCAN_TERMS_COUNT; i++) {
        (void)json_array_append_new(accepted, json_pack("{s:s,s:s}", "terms", terms_names[i],
                                                        "accepted", found_names[t->terms[i]]));
    }
    json_t *suites = json_array();
    for (size_t i = 0; i < t->n_suites; i++) {
        (void)json_array_append_new(
            suites, json_pack("{s:i,s:s,s:s?}", "number", (int)t->suites[i].number, "version",
                              tls_version_name(t->suites[i].version), "name", t->suites[i].name));
    }
    json_t *tls = json_pack("{s:o,s:o}", "asked", accepted, "suites", suites);
    if (t->has_certificate) {
        char from[CLOCK_ISO8601_BYTES], to[CLOCK_ISO8601_BYTES];
        const struct tls_look *c = &t->certificate;
        clock_iso8601(c->not_before_wall_ms, from);
        clock_iso8601(c->not_after_wall_ms, to);
        (void)json_object_set_new(tls, "certificate",
                                  json_pack("{s:s,s:i,s:s,s:s,s:s,s:b,s:b,s:i}", "key", c->key,
                                            "bits", (int)c->key_bits, "not_before", from,
                                            "not_after", to, "verify", tls_verify_name(c->verify),
                                            "named", c->is_named, "self_signed", c->is_self_signed,
                                            "shown", (int)c->n_chain));
    }
    return tls;
}

static json_t *mqtt_json(const struct scan_mqtt_seen *m)
{
    return json_pack("{s:s,s:i,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "let_in", who_names[m->who],
                     "passwords_tried", (int)m->n_passwords, "reads_all", found_names[m->reads_all],
                     "reads_sys", found_names[m->reads_sys], "takes_bad_utf8",
                     found_names[m->takes_bad_utf8], "takeover", found_names[m->takes_over],
                     "retained", found_names[m->keeps_retained], "huge_before_connect",
                     found_names[m->keeps_huge], "unlimited_packet",
                     found_names[m->unlimited_packet], "any_origin", found_names[m->takes_origin]);
}

static json_t *door_json(const struct scan_door_seen *d)
{
    json_t *door = json_pack("{s:s,s:i,s:s}", "service", scan_kind_name(d->door.kind), "port",
                             (int)d->door.port, "state", states[d->state]);
    if (d->state != SCAN_OPEN) {
        return door;
    }
    if (scan_kind_has_tls(d->door.kind)) {
        (void)json_object_set_new(door, "tls", tls_json(&d->tls));
    }
    if (scan_kind_is_mqtt(d->door.kind)) {
        (void)json_object_set_new(door, "mqtt", mqtt_json(&d->mqtt));
    } else if (d->door.kind == SCAN_COAP) {
        (void)json_object_set_new(
            door, "coap",
            json_pack("{s:o,s:o,s:i,s:s,s:s,s:s}", "discovery", exchange_json(&d->coap.discovery),
                      "largest", exchange_json(&d->coap.resource), "links", (int)d->coap.n_links,
                      "unprotected", found_names[d->coap.serves], "echo",
                      found_names[d->coap.asks_echo], "observe", found_names[d->coap.observes]));
    } else {
        (void)json_object_set_new(door, "dtls",
                                  json_pack("{s:o,s:s}", "hello", exchange_json(&d->coaps.hello),
                                            "cookie", found_names[d->coaps.has_cookie]));
    }
    return door;
}

json_t *scan_report_json(const struct scan_report *r)
{
    char when[CLOCK_ISO8601_BYTES];
    size_t n[SCAN_SEVERITY_COUNT];
    json_t *doors = json_array(), *findings = json_array();
    clock_iso8601(r->seen->wall_ms, when);
    count(r->findings, n);
    for (size_t i = 0; i < r->seen->n_doors; i++) {
        (void)json_array_append_new(doors, door_json(&r->seen->doors[i]));
    }
    for (size_t i = 0; i < r->findings->n; i++) {
        const struct scan_finding *f = &r->findings->all[i];
        (void)json_array_append_new(
            findings, json_pack("{s:s,s:s,s:s,s:s,s:i,s:s,s:s}", "id", f->rule->id, "severity",
                                scan_severity_name(f->rule->severity), "title", f->rule->title,
                                "service", scan_kind_name(f->door.kind), "port", (int)f->door.port,
                                "evidence", f->evidence, "fix", f->rule->fix));
    }
    return json_pack("{s:s,s:s,s:s,s:b,s:b,s:o,s:o,s:{s:I,s:I,s:I,s:I}}", "host", r->host,
                     "address", r->address, "time", when, "answered", scan_has_answers(r->seen),
                     "finished", !r->seen->is_cut, "ports", doors, "findings", findings, "counts",
                     "high", (json_int_t)n[SCAN_HIGH], "medium", (json_int_t)n[SCAN_MEDIUM], "low",
                     (json_int_t)n[SCAN_LOW], "info", (json_int_t)n[SCAN_INFO]);
}

/* ---- SARIF ---- */

static const char *sarif_level(enum scan_severity s)
{
    return s == SCAN_HIGH ? "error" : s == SCAN_MEDIUM ? "warning" : "note";
}

/* By which others sort: 0.0 to 10.0. */
static const char *sarif_weight(enum scan_severity s)
{
    static const char *const weights[SCAN_SEVERITY_COUNT] = {"0.0", "3.0", "5.5", "8.0"};
    return weights[s];
}

static json_t *sarif_rules(void)
{
    size_t n;
    const struct scan_rule *rules = scan_rules(&n);
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++) {
        (void)json_array_append_new(
            all, json_pack("{s:s,s:{s:s},s:{s:s},s:{s:s},s:{s:s}}", "id", rules[i].id,
                           "shortDescription", "text", rules[i].title, "help", "text", rules[i].fix,
                           "defaultConfiguration", "level", sarif_level(rules[i].severity),
                           "properties", "security-severity", sarif_weight(rules[i].severity)));
    }
    return all;
}

static json_t *sarif_result(const struct scan_report *r, const struct scan_finding *f)
{
    char uri[URI_BYTES], text[SCAN_EVIDENCE_BYTES + 256];
    size_t n;
    const struct scan_rule *rules = scan_rules(&n);
    bool is_six = strchr(r->host, ':') != NULL;
    (void)snprintf(uri, sizeof(uri), "%s://%s%s%s:%u", scan_kind_name(f->door.kind),
                   is_six ? "[" : "", r->host, is_six ? "]" : "", (unsigned)f->door.port);
    (void)snprintf(text, sizeof(text), "%s: %s", f->rule->title, f->evidence);
    json_t *place =
        json_pack("{s:{s:{s:s}},s:[{s:s,s:s}]}", "physicalLocation", "artifactLocation", "uri", uri,
                  "logicalLocations", "fullyQualifiedName", uri, "kind", "resource");
    return json_pack("{s:s,s:I,s:s,s:{s:s},s:[o],s:{s:s}}", "ruleId", f->rule->id, "ruleIndex",
                     (json_int_t)(f->rule - rules), "level", sarif_level(f->rule->severity),
                     "message", "text", text, "locations", place, "properties", "severity",
                     scan_severity_name(f->rule->severity));
}

json_t *scan_report_sarif(const struct scan_report *r)
{
    json_t *results = json_array();
    for (size_t i = 0; i < r->findings->n; i++) {
        (void)json_array_append_new(results, sarif_result(r, &r->findings->all[i]));
    }
    return json_pack("{s:s,s:s,s:[{s:{s:{s:s,s:s,s:o}},s:[{s:b}],s:o}]}", "$schema",
                     "https://json.schemastore.org/sarif-2.1.0.json", "version", "2.1.0", "runs",
                     "tool", "driver", "name", "sallyport scan", "version", SALLYPORT_VERSION,
                     "rules", sarif_rules(), "invocations", "executionSuccessful",
                     scan_has_answers(r->seen) && !r->seen->is_cut, "results", results);
}

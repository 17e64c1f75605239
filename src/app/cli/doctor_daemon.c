/* What only the daemon knows, by the verbs that every operator has. */
#include "app/cli/doctor_facts.h"
#include "base/scope.h"

static const char *text_of(const json_t *line, const char *key)
{
    const char *text = json_string_value(json_object_get(line, key));
    return text != NULL ? text : "";
}

static struct facts_value counted(int64_t n)
{
    return (struct facts_value){.is_known = true, .n = n};
}

static int add_permit(struct facts *f, const json_t *x)
{
    struct facts_permit *p;
    const char *allow = text_of(x, "allow");
    if (facts_add_permit(f, &p) != OK) {
        return CLI_FAILED;
    }
    if (p != NULL) {
        facts_text(p->id, slice_text(text_of(x, "id")));
        facts_text(p->listener, slice_text(text_of(x, "listener")));
        facts_text(p->ends, slice_text(text_of(x, "ends")));
        p->is_plaintext = strstr(allow, "plaintext") != NULL;
        p->is_anonymous = strstr(allow, "anonymous") != NULL;
    }
    return CLI_DONE;
}

static int take_status(struct cli *cli, void *ctx, const json_t *line)
{
    struct facts *f = ctx;
    const json_t *exceptions = json_object_get(line, "exceptions");
    const json_t *store = json_object_get(line, "store");
    int code = CLI_DONE;
    (void)cli;
    for (size_t i = 0; i < json_array_size(exceptions) && code == CLI_DONE; i++) {
        code = add_permit(f, json_array_get(exceptions, i));
    }
    f->numbers[FACTS_AUDIT_LOST] = counted(json_integer_value(json_object_get(line, "audit_lost")));
    f->numbers[FACTS_STORE_DAMAGED] =
        counted(json_integer_value(json_object_get(store, "damaged")));
    f->numbers[FACTS_STORE_FAILS] = counted(strcmp(text_of(store, "state"), "failing") == 0);
    return code;
}

static int take_plan(struct cli *cli, void *ctx, const json_t *line)
{
    struct facts *f = ctx;
    (void)cli;
    if (json_object_get(line, "ending") != NULL) {
        f->numbers[FACTS_AGED] = counted(json_integer_value(json_object_get(line, "aged")));
        f->numbers[FACTS_OVER] = counted(json_integer_value(json_object_get(line, "expired")));
        f->numbers[FACTS_SILENT] = counted(json_integer_value(json_object_get(line, "silent")));
    }
    const json_t *days = json_object_get(line, "days");
    for (size_t i = 0; i < json_array_size(days); i++) {
        const json_t *day = json_array_get(days, i);
        int64_t n = json_integer_value(json_object_get(day, "count"));
        if (json_is_true(json_object_get(day, "cliff")) && n > f->numbers[FACTS_CLIFF].n) {
            f->numbers[FACTS_CLIFF] = counted(n);
        }
    }
    return CLI_DONE;
}

/* One word of "x509,psk". */
static bool has_kind(const char *kinds, const char *kind)
{
    struct slice rest = slice_text(kinds);
    bool more = rest.n > 0;
    while (more) {
        if (slice_is(slice_cut(&rest, ',', &more), kind)) {
            return true;
        }
    }
    return false;
}

static int take_device(struct cli *cli, void *ctx, const json_t *line)
{
    struct facts *f = ctx;
    const char *kinds = text_of(line, "credentials");
    (void)cli;
    if (strcmp(text_of(line, "status"), "active") == 0 && has_kind(kinds, "psk") &&
        !has_kind(kinds, "x509")) {
        f->numbers[FACTS_PSK_DEVICES].n++;
    }
    return CLI_DONE;
}

static int take_duplicate(struct cli *cli, void *ctx, const json_t *line)
{
    struct facts *f = ctx;
    struct facts_pair *p;
    (void)cli;
    if (facts_add_pair(f, &p) != OK) {
        return CLI_FAILED;
    }
    if (p != NULL) {
        facts_text(p->one, slice_text(text_of(line, "name")));
        facts_text(p->other, slice_text(text_of(line, "other")));
        facts_text(p->what, slice_text(text_of(line, "other_kind")));
    }
    return CLI_DONE;
}

/* Exceptions are alerts, too; they were said by take_status. */
static int take_alert(struct cli *cli, void *ctx, const json_t *line)
{
    struct facts *f = ctx;
    struct facts_alert *a;
    (void)cli;
    if (strcmp(text_of(line, "category"), "exception") == 0) {
        return CLI_DONE;
    }
    if (facts_add_alert(f, &a) != OK) {
        return CLI_FAILED;
    }
    if (a != NULL) {
        facts_text(a->category, slice_text(text_of(line, "category")));
        facts_text(a->target, slice_text(text_of(line, "target")));
        facts_text(a->text, slice_text(text_of(line, "reason")));
    }
    return CLI_DONE;
}

static void close_file(FILE **f)
{
    if (*f != NULL) {
        (void)fclose(*f);
    }
}

enum err doctor_daemon_ask(const struct cli *cli, struct facts *f)
{
    static const struct {
        const char *verb;
        const char *flag;
        cli_each *take;
    } questions[] = {{"status", NULL, take_status},
                     {"certs.plan", NULL, take_plan},
                     {"device.list", NULL, take_device},
                     {"device.list", "duplicates", take_duplicate},
                     {"alerts", NULL, take_alert}};
    AUTO(close_file) FILE *nowhere = fopen("/dev/null", "we");
    struct cli quiet = *cli; /* without a daemon the report says so, once */
    if (nowhere == NULL) {
        return ERR_NOMEM;
    }
    quiet.err = nowhere;
    f->numbers[FACTS_PSK_DEVICES] = counted(0);
    f->numbers[FACTS_CLIFF] = counted(0);
    f->is_daemon_asked = true;
    for (size_t i = 0; i < COUNT_OF(questions) && f->is_daemon_asked; i++) {
        json_t *args = questions[i].flag != NULL ? json_pack("{s:b}", questions[i].flag, 1) : NULL;
        f->is_daemon_asked =
            cli_call(&quiet, questions[i].verb, args, questions[i].take, f) == CLI_DONE;
    }
    return OK;
}

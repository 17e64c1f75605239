#include "service/doctor/profiles.h"

static const struct clause cra[] = {
    {"a", "Annex I, Part I (2)(a)", "no known exploitable weakness in the product itself"},
    {"b", "Annex I, Part I (2)(b)", "secure by default"},
    {"c", "Annex I, Part I (2)(c)", "security updates"},
    {"d", "Annex I, Part I (2)(d)", "access by identity and permission"},
    {"e", "Annex I, Part I (2)(e)", "confidential on the way and at rest"},
    {"f", "Annex I, Part I (2)(f)", "data, commands and settings keep their integrity"},
    {"g", "Annex I, Part I (2)(g)", "no more data than needed"},
    {"h", "Annex I, Part I (2)(h)", "available, also under attack"},
    {"i", "Annex I, Part I (2)(i)", "does no harm to other networks"},
    {"j", "Annex I, Part I (2)(j)", "little to attack"},
    {"k", "Annex I, Part I (2)(k)", "an incident stays small"},
    {"l", "Annex I, Part I (2)(l)", "what happens is recorded"},
    {"m", "Annex I, Part I (2)(m)", "data can be erased for good"},
    {NULL, NULL, NULL}};

static const struct clause etsi[] = {{"5.1", "5.1", "no universal passwords"},
                                     {"5.2", "5.2", "reports of weaknesses are taken"},
                                     {"5.3", "5.3", "software is kept up to date"},
                                     {"5.4", "5.4", "secrets are kept safely"},
                                     {"5.5", "5.5", "communication is secure"},
                                     {"5.6", "5.6", "little is exposed"},
                                     {"5.7", "5.7", "software keeps its integrity"},
                                     {"5.8", "5.8", "personal data is protected"},
                                     {"5.9", "5.9", "outages are survived"},
                                     {"5.10", "5.10", "telemetry is examined"},
                                     {"5.11", "5.11", "user data can be deleted"},
                                     {"5.12", "5.12", "easy to set up and maintain"},
                                     {"5.13", "5.13", "input is validated"},
                                     {NULL, NULL, NULL}};

static const struct clause nist[] = {
    {"id", "device identification", "each device can be told from all others"},
    {"conf", "device configuration", "settings are changed by those who may"},
    {"data", "data protection", "what is stored and sent is protected"},
    {"access", "logical access to interfaces", "interfaces are open to those who may"},
    {"update", "software update", "software is replaced safely"},
    {"state", "cybersecurity state awareness", "what happens can be seen"},
    {NULL, NULL, NULL}};

static const struct clause owasp[] = {{"I1", "I1", "weak, guessable or fixed passwords"},
                                      {"I2", "I2", "insecure network services"},
                                      {"I3", "I3", "insecure interfaces of the ecosystem"},
                                      {"I4", "I4", "no secure update"},
                                      {"I5", "I5", "outdated or insecure components"},
                                      {"I6", "I6", "too little privacy"},
                                      {"I7", "I7", "insecure transfer and storage"},
                                      {"I8", "I8", "no management of devices"},
                                      {"I9", "I9", "insecure defaults"},
                                      {"I10", "I10", "no physical hardening"},
                                      {NULL, NULL, NULL}};

static const struct {
    const char *name, *title;
    const struct clause *clauses;
} profiles[PROFILES] = {
    [PROFILE_CRA] = {"cra", "Cyber Resilience Act, (EU) 2024/2847, Annex I", cra},
    [PROFILE_ETSI] = {"etsi303645", "ETSI EN 303 645, clause 5", etsi},
    [PROFILE_NIST] = {"nist8259a", "NISTIR 8259A", nist},
    [PROFILE_OWASP] = {"owasp", "OWASP IoT Top 10 (2018)", owasp},
};

bool profile_find(const char *name, enum profile *ret)
{
    for (size_t i = 0; i < PROFILES; i++) {
        if (strcmp(profiles[i].name, name) == 0) {
            *ret = (enum profile)i;
            return true;
        }
    }
    return false;
}

const char *profile_name(enum profile p)
{
    return profiles[p].name;
}

const char *profile_title(enum profile p)
{
    return profiles[p].title;
}

const struct clause *profile_clause(enum profile p, size_t at)
{
    const struct clause *c = profiles[p].clauses;
    for (size_t i = 0; i < at && c->id != NULL; i++) {
        c++;
    }
    return c->id != NULL ? c : NULL;
}

bool clause_has(const struct rule *r, enum profile p, const struct clause *c)
{
    struct slice rest = slice_text(r->clauses[p]);
    bool more = rest.n > 0;
    while (more) {
        if (slice_is(slice_cut(&rest, ' ', &more), c->id)) {
            return true;
        }
    }
    return false;
}

enum verdict clause_judge(enum profile p, const struct clause *c, const struct facts *f,
                          const struct findings *l, size_t *ret_rules, size_t *ret_found)
{
    *ret_rules = 0;
    *ret_found = 0;
    size_t at = 0, n_open = 0, n_waived = 0;
    bool is_partial = f->n_unread > 0 || f->n_dropped > 0 ||
                      (f->product == FACTS_SALLYPORT && !f->is_daemon_asked);
    for (const struct rule *r = rules_next(&at); r != NULL; r = rules_next(&at)) {
        *ret_rules += r->fix[f->product] != NULL && clause_has(r, p, c);
    }
    for (size_t i = 0; i < l->n; i++) {
        if (clause_has(l->items[i].rule, p, c)) {
            (*ret_found)++;
            n_open += l->items[i].waiver == 0 && l->items[i].rule->severity >= SEVERITY_MEDIUM;
            n_waived += l->items[i].waiver > 0;
        }
    }
    return *ret_rules == 0 ? VERDICT_NOT_JUDGED
           : n_open > 0    ? VERDICT_FAIL
           : n_waived > 0  ? VERDICT_WAIVED
           : is_partial    ? VERDICT_PARTLY
                           : VERDICT_PASS;
}

const char *verdict_name(enum verdict v)
{
    switch (v) {
    case VERDICT_PASS:
        return "pass";
    case VERDICT_PARTLY:
        return "partly assessed";
    case VERDICT_WAIVED:
        return "waived";
    case VERDICT_FAIL:
        return "fail";
    case VERDICT_NOT_JUDGED:
        return "not assessed";
    }
    return "?";
}

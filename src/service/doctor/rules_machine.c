/* The machine below: its clock, and who still mends what it runs. */
#include "base/clock.h"
#include "service/doctor/rules_private.h"

static enum err clock_alone(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return number_is(f, FACTS_CLOCK_ALONE, 1)
               ? findings_add(ret, self, (struct facts_place){0}, "clock",
                              "the kernel says that nothing keeps its clock right (STA_UNSYNC)")
               : OK;
}

static enum err judge_support(const struct rule *self, const struct facts *f, struct findings *ret,
                              enum facts_number left, const char *name, const char *what)
{
    const struct facts_value *v = &f->numbers[left];
    char text[CLOCK_ISO8601_BYTES];
    if (!v->is_known || v->n > 0) {
        return OK;
    }
    clock_iso8601(f->now_wall_ms + v->n - 1, text); /* the last day itself, not its end */
    return findings_add(ret, self, (struct facts_place){0}, name, "%s ended on %.10s", what, text);
}

static enum err system_unsupported(const struct rule *self, const struct facts *f,
                                   struct findings *ret)
{
    char what[FACTS_TEXT + 32];
    (void)snprintf(what, sizeof what, "security support of %s", f->system);
    return judge_support(self, f, ret, FACTS_SYSTEM_LEFT_MS, f->system, what);
}

static enum err openssl_unsupported(const struct rule *self, const struct facts *f,
                                    struct findings *ret)
{
    char what[FACTS_TEXT + 64];
    (void)snprintf(what, sizeof what, "the branch of %s, by its own makers,", f->library);
    return judge_support(self, f, ret, FACTS_LIBRARY_LEFT_MS, f->library, what);
}

const struct rule machine_rules[] = {
    {"system-unsupported",
     SEVERITY_MEDIUM,
     "a system whose security support has ended",
     "Weaknesses of its kernel and of OpenSSL are published, and nobody mends them any more.",
     {"", "", "", "I5"},
     {"# upgrade the system to a release that is supported, then: apt update && apt upgrade", NULL,
      NULL, NULL},
     system_unsupported},
    {"openssl-unsupported",
     SEVERITY_LOW,
     "a branch of OpenSSL that its makers have ended",
     "Of a distribution's package its own security support is what counts; whoever built it gets "
     "no more fixes.",
     {"", "", "", "I5"},
     {"openssl version -a    # of a distribution: see until when it is supported; else the newest "
      "LTS branch",
      NULL, NULL, NULL},
     openssl_unsupported},
    {"clock-alone",
     SEVERITY_LOW,
     "a clock that nothing keeps right",
     "Certificates, tokens and the audit trail go by it; a wrong one shuts devices out or lets old "
     "ones in.",
     {"l", "5.10", "state", "I8"},
     {"timedatectl set-ntp true    # or chrony with rtcsync; see: timedatectl, chronyc tracking",
      NULL, NULL, NULL},
     clock_alone},
    {.id = NULL}};

#include "service/directory/secret_ages.h"

static int64_t later(int64_t wall_ms, uint32_t seconds)
{
    int64_t at;
    return seconds == 0 || __builtin_add_overflow(wall_ms, (int64_t)seconds * 1000, &at)
               ? CREDENTIAL_NEVER
               : at;
}

static enum secret_age age_of(enum credential_kind kind)
{
    return kind == CREDENTIAL_PSK      ? SECRET_AGE_PSK
           : kind == CREDENTIAL_OSCORE ? SECRET_AGE_OSCORE
                                       : SECRET_AGE_PASSWORD;
}

bool credential_is_secret(const struct credential *c)
{
    return c->kind != CREDENTIAL_X509;
}

int64_t secret_refused_at(const struct secret_ages *a, const struct credential *c)
{
    int64_t aged = credential_is_secret(c) ? later(c->created_wall_ms, a->refuse_s[age_of(c->kind)])
                                           : CREDENTIAL_NEVER;
    return aged < c->expires_wall_ms ? aged : c->expires_wall_ms;
}

int64_t secret_reported_at(const struct secret_ages *a, const struct credential *c)
{
    return credential_is_secret(c) ? later(c->created_wall_ms, a->report_s[age_of(c->kind)])
                                   : CREDENTIAL_NEVER;
}

int64_t secret_waits_until(const struct secret_ages *a, int64_t now_wall_ms)
{
    return later(now_wall_ms, a->wait_s);
}

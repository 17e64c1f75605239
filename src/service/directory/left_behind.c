#include "service/directory/left_behind.h"

/* When the newest live one of a principal's credentials was made; 0: it has none of these kinds. */
static int64_t newest(const struct directory_entry *e, unsigned kinds, int64_t now_wall_ms)
{
    int64_t at = 0;
    for (size_t i = 0; i < e->n_credentials; i++) {
        const struct credential *c = e->credentials[i];
        if ((kinds & (1u << c->kind)) != 0 && credential_is_live(c, now_wall_ms) &&
            c->created_wall_ms > at) {
            at = c->created_wall_ms;
        }
    }
    return at;
}

static bool is_behind(const struct directory_entry *e, int64_t prepared_at, int64_t switched_at,
                      int64_t now_wall_ms)
{
    /* by these it connects over TLS, and verifies us */
    const unsigned by_certificate = 1u << CREDENTIAL_X509;
    const unsigned by_tls = by_certificate | 1u << CREDENTIAL_PASSWORD | 1u << CREDENTIAL_SCRAM;
    int64_t certificate = newest(e, by_certificate, now_wall_ms);
    if (certificate != 0 && certificate < switched_at) {
        return true;
    }
    return newest(e, by_tls, now_wall_ms) != 0 && newest(e, ~0u, now_wall_ms) < prepared_at;
}

struct left_behind left_behind_find(const struct directory_version *v, int64_t prepared_at_wall_ms,
                                    int64_t switched_at_wall_ms, int64_t now_wall_ms)
{
    struct left_behind l = {.n = 0};
    const struct directory_entry *e;
    size_t at = 0;
    while ((e = directory_next(v, &at)) != NULL) {
        if (e->principal->status == PRINCIPAL_ACTIVE &&
            is_behind(e, prepared_at_wall_ms, switched_at_wall_ms, now_wall_ms)) {
            if (l.n < LEFT_BEHIND_NAMED) {
                l.first[l.n] = e;
            }
            l.n++;
        }
    }
    return l;
}

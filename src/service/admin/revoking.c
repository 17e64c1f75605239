/* The lists of certificates that were taken back, as the workers have them: our authority's, kept
 * fresh, and an operator's. */
#include "service/admin/revoking.h"

void admin_set_extra(struct admin *a, const struct crl_set *extra)
{
    const struct crl_set *old = a->lists.extra;
    a->lists.extra = extra != NULL ? crl_set_ref(extra) : NULL;
    crl_set_unref(old);
    a->lists_at_ms = 0;
}

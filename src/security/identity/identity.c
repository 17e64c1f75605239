#include "security/identity/identity.h"

bool identity_name_ok(struct slice name)
{
    if (name.n == 0 || name.n > IDENTITY_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
        if (!ok) {
            return false;
        }
    }
    return true;
}

/* Other URIs and DNS names may stand beside ours in a certificate of somebody else's authority;
 * only URIs of our own scheme are claims. The scheme and "urn" compare without case. SPEC: RFC8141
 * 3.1 */
static bool is_device_uri(struct slice uri)
{
    struct slice prefix = slice_text(IDENTITY_URI_PREFIX);
    if (uri.n < prefix.n) {
        return false;
    }
    for (size_t i = 0; i < prefix.n; i++) {
        uint8_t c = uri.p[i];
        if (c >= 'A' && c <= 'Z') {
            c = (uint8_t)(c + ('a' - 'A'));
        }
        if (c != prefix.p[i]) {
            return false;
        }
    }
    return true;
}

/* The claims of one kind: how many, and the last. */
struct claims {
    size_t n;
    struct slice name;
};

static struct claims claims_of(const struct x509_info *info, enum x509_san_kind kind)
{
    struct claims c = {0};
    for (size_t i = 0; i < info->n_sans; i++) {
        const struct x509_san *san = &info->sans[i];
        if (san->kind != kind || (kind == X509_SAN_URI && !is_device_uri(san->value))) {
            continue;
        }
        c.n++;
        c.name = kind == X509_SAN_URI ? slice_from(san->value, sizeof IDENTITY_URI_PREFIX - 1)
                                      : san->value;
    }
    return c;
}

static enum err answer(struct claims c, char ret[IDENTITY_NAME_BYTES])
{
    if (c.n > 1) {
        return ERR_LIMIT;
    }
    if (!identity_name_ok(c.name) || !slice_to_text(c.name, ret, IDENTITY_NAME_BYTES)) {
        return ERR_MALFORMED;
    }
    return OK;
}

enum err identity_from_x509(const struct x509 *x, unsigned rule, char ret[IDENTITY_NAME_BYTES])
{
    const struct x509_info *info = x509_info(x);
    if (info->is_ca || !info->is_client) {
        return ERR_DENIED;
    }
    struct claims uri = claims_of(info, X509_SAN_URI);
    if ((rule & IDENTITY_URI) != 0 && uri.n > 0) {
        return answer(uri, ret);
    }
    struct claims dns = claims_of(info, X509_SAN_DNS);
    if ((rule & IDENTITY_DNS) != 0 && dns.n > 0) {
        return answer(dns, ret);
    }
    if ((rule & IDENTITY_CN) != 0 && info->n_common_names > 0) {
        return answer((struct claims){info->n_common_names, info->common_name}, ret);
    }
    return ERR_NOT_FOUND;
}

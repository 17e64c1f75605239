#include "service/directory/oscore_secret.h"

#include <assert.h>

#include "base/mem.h"
#include "base/rd.h"
#include "base/wr.h"

void oscore_secret_generate(const struct random_source *random, size_t kid_n,
                            struct oscore_secret *ret)
{
    assert(kid_n >= OSCORE_KID_MIN && kid_n <= OSCORE_KID_MAX);
    *ret = (struct oscore_secret){.kid = {.n = (uint8_t)kid_n}};
    random->fill(random->ctx, ret->secret, sizeof ret->secret);
    random->fill(random->ctx, ret->salt, sizeof ret->salt);
    random->fill(random->ctx, ret->kid.bytes, kid_n);
}

void oscore_secret_wipe(struct oscore_secret *s)
{
    mem_wipe(s, sizeof *s);
}

bool oscore_kid_ok(struct slice kid)
{
    return kid.n >= OSCORE_KID_MIN && kid.n <= OSCORE_KID_MAX;
}

size_t oscore_secret_write(const struct oscore_secret *s, uint8_t dst[OSCORE_SECRET_BYTES])
{
    struct wr w = wr_into(dst, OSCORE_SECRET_BYTES);
    wr_bytes(&w, slice_of(s->secret, sizeof s->secret));
    wr_bytes(&w, slice_of(s->salt, sizeof s->salt));
    wr_bytes(&w, oscore_kid_slice(&s->kid));
    assert(wr_ok(&w));
    return w.at;
}

enum err oscore_secret_read(struct slice bytes, struct oscore_secret *ret)
{
    struct rd r = rd_from(bytes);
    struct slice secret = rd_bytes(&r, OSCORE_MASTER_BYTES);
    struct slice salt = rd_bytes(&r, OSCORE_SALT_BYTES);
    struct slice kid = rd_rest(&r);
    if (rd_finish(&r) != OK || !oscore_kid_ok(kid)) {
        return ERR_MALFORMED;
    }
    *ret = (struct oscore_secret){.kid = {.n = (uint8_t)kid.n}};
    slice_copy(ret->secret, secret);
    slice_copy(ret->salt, salt);
    slice_copy(ret->kid.bytes, kid);
    return OK;
}

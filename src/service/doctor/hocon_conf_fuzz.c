/* An emqx.conf, or a nanomq.conf, that names itself as everything it can name. */
#include <assert.h>

#include "service/doctor/hocon_conf.h"
#include "service/doctor/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static enum err look(void *ctx, const char *path, struct source_look *ret)
{
    (void)ctx;
    *ret = (struct source_look){.mode = (uint32_t)strlen(path) * 0101};
    return OK;
}

static enum err read(void *ctx, const char *path, struct buf *ret, struct source_look *ret_look)
{
    const struct slice *all = ctx;
    TRY(look(ctx, path, ret_look));
    return buf_append(ret, *all, SOURCE_BYTES_MAX);
}

static void judge(enum facts_product product, struct slice text)
{
    struct source source = {&text, read, look, NULL};
    struct facts *f = NULL;
    struct findings l = {0};
    if (facts_new(product, INT64_C(1800000000000), &f) != OK) {
        return;
    }
    enum err e = product == FACTS_EMQX ? emqx_conf_read(&source, "/x.conf", f)
                                       : nanomq_conf_read(&source, "/x.conf", f);
    assert(e == OK || e == ERR_TOO_LARGE || e == ERR_NOMEM);
    if (e == OK && rules_judge(f, &l) == OK) {
        assert(l.n <= FINDINGS_MAX);
    }
    for (size_t i = 0; i < l.n; i++) {
        assert(l.items[i].at.file < f->n_files && l.items[i].rule->fix[product] != NULL);
    }
    findings_done(&l);
    f = facts_free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    judge(FACTS_EMQX, slice_of(data, n));
    judge(FACTS_NANOMQ, slice_of(data, n));
    return 0;
}

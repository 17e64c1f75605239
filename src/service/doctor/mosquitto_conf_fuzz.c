/* A mosquitto.conf that names itself as everything it can name: whatever it holds, it is read to
 * its end, within the limits, and judged. */
#include <assert.h>

#include "service/doctor/mosquitto_conf.h"
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

static enum err list(void *ctx, const char *path, struct source_entry entries[SOURCE_LIST_MAX],
                     size_t *ret_n)
{
    (void)ctx;
    (void)path;
    (void)snprintf(entries[0].name, sizeof entries[0].name, "a.conf");
    *ret_n = 1;
    return OK;
}

static bool is_shown(const char *text)
{
    size_t n = 0;
    while (text[n] >= 0x20 && text[n] < 0x7f) {
        n++;
    }
    return n < FACTS_PATH && text[n] == '\0';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice all = slice_of(data, n);
    struct source source = {&all, read, look, list};
    struct facts *f = NULL;
    struct findings l = {0};
    if (facts_new(FACTS_MOSQUITTO, INT64_C(1800000000000), &f) != OK) {
        return 0;
    }
    enum err e = mosquitto_conf_read(&source, "/m.conf", f);
    assert(e == OK || e == ERR_TOO_LARGE || e == ERR_NOMEM);
    if (e == OK && rules_judge(f, &l) == OK) {
        assert(l.n > 0 && l.n <= FINDINGS_MAX);
    }
    for (size_t i = 0; i < l.n; i++) {
        assert(is_shown(l.items[i].object) && l.items[i].at.file < f->n_files);
    }
    for (size_t i = 0; i < f->n_unread; i++) {
        assert(is_shown(f->unread[i].text));
    }
    findings_done(&l);
    f = facts_free(f);
    return 0;
}

/* An answer is judged by its head alone, the same way when more of it has come; and no URL that is
 * taken holds what could end a line of a request. */
#include <assert.h>

#include "service/courier/webhook.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void read_answer(struct slice in)
{
    struct webhook_answer a, part;
    if (webhook_answer_read(in, &a) != OK) {
        return;
    }
    assert(a.status >= 200 && a.status <= 599 && a.n <= in.n && a.n > 0);
    assert(a.retry_after_s <= WEBHOOK_RETRY_MAX_S && (!a.may_stay || a.n == in.n));
    assert((a.verdict == WEBHOOK_TAKEN) == (a.status < 300));
    assert(webhook_answer_text(&a)[0] != '\0');
    for (size_t i = 0; i < in.n && in.n < 512; i++) {
        enum err err = webhook_answer_read(slice_head(in, i), &part);
        assert(err == ERR_AGAIN || (err == OK && part.status == a.status));
    }
}

static void read_url(struct slice in)
{
    struct webhook_url u;
    const char *why = NULL;
    if (webhook_url_read(in, &u, &why) != OK) {
        assert(why != NULL);
        return;
    }
    assert(u.port > 0 && u.host.n > 0 && u.path.n > 0 && u.path.p[0] == '/');
    for (size_t i = 0; i < in.n; i++) {
        assert(in.p[i] > ' ' && in.p[i] < 0x7f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice in = slice_of(data, n), secret;
    read_answer(in);
    read_url(in);
    if (webhook_secret_read(in, &secret) == OK) {
        assert(secret.n >= WEBHOOK_SECRET_MIN && secret.n <= WEBHOOK_SECRET_MAX);
    }
    return 0;
}

/* scribe_near_test - a scribe in the same thread, for tests: what is sent to it is answered at
 * once.
 */
#ifndef SERVICE_WATCH_SCRIBE_NEAR_TEST_H
#define SERVICE_WATCH_SCRIBE_NEAR_TEST_H

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "service/watch/audit_plain.h"
#include "service/watch/scribe.h"
#include "service/watch/scribe_client.h"

enum { NEAR_ANSWERS_MAX = 64 };

struct near_answer {
    uint8_t bytes[2048];
    size_t n;
};

struct near {
    struct scribe_setup setup;
    struct scribe *scribe; /* NULL: it has died */
    struct near_answer answers[NEAR_ANSWERS_MAX];
    size_t first, n;
    unsigned hears; /* so many requests more, then it dies before it answers */
};

static inline void near_say(struct near *s, const uint8_t *bytes, size_t n)
{
    struct near_answer *a = &s->answers[(s->first + s->n) % NEAR_ANSWERS_MAX];
    if (n == 0) {
        return;
    }
    assert_true(s->n < NEAR_ANSWERS_MAX && n <= sizeof a->bytes);
    memcpy(a->bytes, bytes, n);
    a->n = n;
    s->n++;
}

static inline enum err near_send(void *ctx, struct slice datagram)
{
    struct near *s = ctx;
    static uint8_t answer[SCRIBE_DATAGRAM_MAX];
    size_t n;
    if (s->scribe == NULL || s->n == NEAR_ANSWERS_MAX) {
        return ERR_AGAIN;
    }
    scribe_ask(s->scribe, datagram, answer, &n);
    if (s->hears == 0) {
        s->scribe = scribe_free(s->scribe);
        return OK;
    }
    s->hears--;
    near_say(s, answer, n);
    return OK;
}

static inline enum err near_receive(void *ctx, unsigned wait_ms, uint8_t dst[SCRIBE_DATAGRAM_MAX],
                                    size_t *ret_n)
{
    struct near *s = ctx;
    (void)wait_ms;
    if (s->n == 0) {
        return ERR_AGAIN;
    }
    const struct near_answer *a = &s->answers[s->first];
    memcpy(dst, a->bytes, a->n);
    *ret_n = a->n;
    s->first = (s->first + 1) % NEAR_ANSWERS_MAX;
    s->n--;
    return OK;
}

static inline struct scribe_link near_link(struct near *s)
{
    return (struct scribe_link){.ctx = s, .send = near_send, .receive = near_receive};
}

/* Another scribe on the same trail. */
static inline void near_start(struct near *s)
{
    static uint8_t welcome[SCRIBE_DATAGRAM_MAX];
    uint64_t lines;
    size_t n;
    s->hears = UINT32_MAX;
    assert_int_equal(scribe_open(&s->setup, &s->scribe), OK);
    assert_int_equal(audit_plain_take(s->setup.trail.disk, scribe_trail(s->scribe), &lines), OK);
    scribe_welcome(s->scribe, welcome, &n);
    near_say(s, welcome, n);
}

static inline void near_stop(struct near *s)
{
    s->scribe = scribe_free(s->scribe);
    s->first = s->n = 0;
}

#endif

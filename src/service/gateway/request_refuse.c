/* Who is told what when a request is refused: its client, the operator, the counters. */
#include "service/gateway/door_private.h"
#include "wire/coap/uri.h"

static void set_target(const struct request *rq, struct event *e)
{
    char text[sizeof(e->target) * 2];
    if (rq->path.text.n > 0) {
        EVENT_TEXT(e, target, rq->path.text);
        return;
    }
    struct wr w = wr_into(text, sizeof(text));
    coap_uri_path_write(rq->m->options, &w);
    EVENT_TEXT(e, target, wr_ok(&w) ? wr_slice(&w) : slice_text("(a long path)"));
}

static void report_refusal(const struct request *rq, enum event_category category, uint8_t code,
                           const char *why)
{
    struct association *a = rq->asker.a;
    struct event e = association_event(a, category);
    char number[COAP_CODE_TEXT_BYTES];
    const char *method = coap_code_name(rq->m->code);
    coap_code_text(code, number);
    set_target(rq, &e);
    if (category == EVENT_store_space) {
        e.severity = SEVERITY_WARNING; /* the store itself raises the alert */
    }
    event_reason(&e, "%s was refused with %s: %s", method != NULL ? method : "a request", number,
                 why);
    door_report(a->door, &e);
}

void request_refuse(const struct request *rq, enum event_category category, uint8_t code,
                    const char *text, const char *why)
{
    struct counters *c = rq->asker.a->door->setup.counters;
    count_add(code == COAP_FORBIDDEN ? &c->refused_denied : &c->refused_limit, 1);
    report_refusal(rq, category, code, why);
    (void)answer_text(&rq->asker, code, text);
}

/* 4.29: the client may come again after Max-Age. SPEC: RFC8516 3 */
void request_refuse_rate(const struct request *rq, enum event_category category, uint64_t wait_ms,
                         const char *why)
{
    struct counters *c = rq->asker.a->door->setup.counters;
    uint64_t wait_s = wait_ms / 1000 + 1;
    count_add(category == EVENT_rate ? &c->refused_rate : &c->refused_quota, 1);
    report_refusal(rq, category, COAP_TOO_MANY_REQUESTS, why);
    (void)answer_number(&rq->asker, COAP_TOO_MANY_REQUESTS, "too much; come again after Max-Age",
                        COAP_OPTION_MAX_AGE, wait_s < UINT32_MAX ? (uint32_t)wait_s : UINT32_MAX);
}

void request_refuse_size(const struct request *rq, uint32_t most, const char *why)
{
    count_add(&rq->asker.a->door->setup.counters->refused_limit, 1);
    report_refusal(rq, EVENT_quota, COAP_REQUEST_TOO_LARGE, why);
    (void)answer_number(&rq->asker, COAP_REQUEST_TOO_LARGE, "too large; Size1 says what fits",
                        COAP_OPTION_SIZE1, most);
}

void request_refuse_by_passage(const struct request *rq, enum err err, const struct decision *why,
                               uint64_t wait_ms)
{
    enum { COUNT_WAIT_MS = 59999 }; /* a count that is full does not drain by itself */
    if (err == ERR_QUOTA || err == ERR_TOO_LARGE) {
        count_limit(rq->asker.a->door->setup.counters, why->limit);
    }
    switch ((unsigned)err) {
    case ERR_QUOTA:
        request_refuse_rate(rq, wait_ms > 0 ? EVENT_rate : EVENT_quota,
                            wait_ms > 0 ? wait_ms : COUNT_WAIT_MS, why->rule);
        break;
    case ERR_TOO_LARGE:
        request_refuse_size(rq, grants_limits(&rq->asker.a->account->grants)->retained_bytes,
                            why->rule);
        break;
    default:
        /* Why not is for the operator: the policy's words do not go to the client. */
        request_refuse(
            rq, EVENT_acl_deny, COAP_FORBIDDEN,
            rq->asker.a->account->principal->is_late
                ? "the certificate has ended: POST a CSR to /est/sren, nothing else is open"
                : "not granted",
            why->rule);
        break;
    }
}

#define LATER "not now; come again after Max-Age"

static void answer_unavailable(const struct asker *asker, const char *text)
{
    (void)answer_number(asker, COAP_UNAVAILABLE, text, COAP_OPTION_MAX_AGE,
                        asker->a->door->coap.retry_after_s);
}

void request_refuse_unavailable(const struct asker *asker)
{
    count_add(&asker->a->door->setup.counters->dropped_memory, 1);
    answer_unavailable(asker, LATER);
}

void request_refuse_busy(const struct request *rq, const char *why)
{
    count_add(&rq->asker.a->door->setup.counters->refused_quota, 1);
    report_refusal(rq, EVENT_quota, COAP_UNAVAILABLE, why);
    answer_unavailable(&rq->asker, LATER);
}

void request_refuse_unrouted(const struct request *rq, enum err err)
{
    struct counters *c = rq->asker.a->door->setup.counters;
    switch ((unsigned)err) {
    case ERR_QUOTA: /* counted where it was refused */
        report_refusal(rq, EVENT_quota, COAP_UNAVAILABLE,
                       "memory is at memory_bytes: nothing new is taken, what was acknowledged is "
                       "kept. Look at `sallyport alerts`, or raise memory_bytes");
        answer_unavailable(&rq->asker, LATER);
        break;
    case ERR_SPACE:
    case ERR_IO:
        count_add(&c->refused_store, 1);
        report_refusal(rq, EVENT_store_space, COAP_UNAVAILABLE,
                       worker_store_refusal(rq->asker.a->door->setup.worker, err));
        answer_unavailable(&rq->asker, "the store takes nothing now; come again after Max-Age");
        break;
    default:
        request_refuse_unavailable(&rq->asker);
        break;
    }
}

void request_allowed(const struct request *rq, const char *what)
{
    struct event e = association_event(rq->asker.a, EVENT_allow);
    set_target(rq, &e);
    event_reason(&e, "%s", what);
    door_report(rq->asker.a->door, &e);
}

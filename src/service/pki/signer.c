#include "service/pki/signer.h"

#include "base/clock.h"
#include "base/mem.h"
#include "core/quota.h"
#include "service/pki/signer_message.h"

struct signer {
    struct authority *by;
    struct bucket asks, events;
    unsigned n_unsaid; /* events that the limit kept */
};

MUST_USE enum err signer_new(struct authority *by, uint64_t now_ms, struct signer **ret)
{
    struct signer *s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        return ERR_NOMEM;
    }
    s->by = by;
    bucket_init(&s->asks, SIGNER_ASKS_PER_SECOND, SIGNER_ASKS_BURST, now_ms);
    bucket_init(&s->events, SIGNER_EVENTS_PER_SECOND, SIGNER_EVENTS_BURST, now_ms);
    *ret = s;
    return OK;
}

struct signer *signer_free(struct signer *s)
{
    return mem_free(s);
}

void signer_reply_done(struct signer_reply *r)
{
    buf_wipe(&r->bytes);
}

/* ---- doing it ---- */

static enum err do_it(struct signer *s, const struct signer_request *q, int64_t now_wall_ms,
                      struct signer_answer *a)
{
    const struct authority_order *o = &q->order;
    switch (q->type) {
    case SIGNER_ISSUE:
        return authority_issue(s->by, o, now_wall_ms, &a->certificate, &a->why);
    case SIGNER_ISSUE_SERVER:
        return authority_issue_server(s->by, o->csr_der, now_wall_ms, &a->certificate, &a->why);
    case SIGNER_REVOKE:
        return authority_revoke(s->by, o->name, &q->serial, q->reason, now_wall_ms);
    case SIGNER_CRL:
        return authority_crl(s->by, now_wall_ms, &a->bytes, &a->next_update_wall_ms);
    case SIGNER_OCSP:
        return authority_ocsp(s->by, q->ocsp, now_wall_ms, &a->bytes);
    case SIGNER_TOKEN_ASK:
        return authority_token_ask(s->by, o->token, now_wall_ms, &a->bytes);
    case SIGNER_ENROL:
        return authority_enrol(s->by, o->name, q->has_spki ? &q->spki : NULL, now_wall_ms, &a->why);
    case SIGNER_ALLOW:
        return authority_allow(s->by, o->name, now_wall_ms, &a->why);
    case SIGNER_FORGET:
        return authority_forget(s->by, o->name, now_wall_ms);
    case SIGNER_TOKEN_MAKE:
        return authority_token_make(s->by, &q->claim, now_wall_ms, a->token, &a->why);
    case SIGNER_RELOAD:
        return authority_reload(s->by, &a->why);
    case SIGNER_ROLL:
        return authority_roll(s->by, q->step, now_wall_ms, &a->why);
    case SIGNER_HOST:
        return authority_host(s->by, q->host, &a->why);
    case SIGNER_TOKENS:
        return authority_tokens(s->by, now_wall_ms, &a->bytes);
    case SIGNER_TOKEN_CANCEL:
        return authority_token_cancel(s->by, o->token, now_wall_ms, a->token, &a->why);
    case SIGNER_TYPES:
        break;
    }
    return ERR_MALFORMED;
}

/* ---- saying it ---- */

/* Only what is a name: a broken broker writes no lines of its own into the trail. */
static void event_name(struct signer_event *e, struct slice name)
{
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];
        if (c <= 0x20 || c >= 0x7f) {
            return;
        }
    }
    (void)slice_to_text(name, e->name, sizeof e->name);
}

static const char *proof_text(const struct signer_request *q)
{
    static const char *const texts[] = {
        [AUTHORITY_BY_OPERATOR] = "by an operator's word",
        [AUTHORITY_BY_TOKEN] = "by a claim token",
        [AUTHORITY_BY_RENEWAL] = "by renewal",
        [AUTHORITY_BY_MAKER] = "by its manufacturer's certificate",
        [AUTHORITY_BY_APPROVAL] = "by approval",
    };
    return q->type == SIGNER_ISSUE ? texts[q->order.proof] : "for the server";
}

static void say_issued(const struct signer_request *q, const struct signer_answer *a,
                       struct signer_event *e)
{
    char until[CLOCK_ISO8601_BYTES];
    char serial[2 * AUTHORITY_SERIAL_BYTES + 1] = "";
    const struct authority_serial *s = &a->certificate.serial;
    for (size_t i = 0; i < s->n; i++) {
        (void)snprintf(serial + 2 * i, 3, "%02x", s->bytes[i]);
    }
    clock_iso8601(a->certificate.not_after_wall_ms, until);
    e->category = EVENT_credential_issued;
    e->severity = SEVERITY_NOTICE;
    (void)snprintf(e->reason, sizeof e->reason, "certificate %s was signed %s, until %s", serial,
                   proof_text(q), until);
}

static bool has_event(const struct signer_request *q, const struct signer_answer *a,
                      struct signer_event *e)
{
    bool is_issue = q->type == SIGNER_ISSUE || q->type == SIGNER_ISSUE_SERVER;
    if (is_issue && a->err == OK) {
        say_issued(q, a, e);
        return true;
    }
    if (q->type == SIGNER_TOKEN_CANCEL && a->err == OK) {
        e->category = EVENT_enrolment;
        e->severity = SEVERITY_NOTICE;
        (void)snprintf(e->reason, sizeof e->reason,
                       "the claim token with the id %s was cancelled by an operator", a->token);
        return true;
    }
    if (is_issue && a->err != ERR_NOMEM) {
        e->category = EVENT_enrolment;
        e->severity = SEVERITY_WARNING;
        (void)snprintf(e->reason, sizeof e->reason, "no certificate: %.220s",
                       a->why.text[0] != '\0' ? a->why.text : err_name(a->err));
        return true;
    }
    return false;
}

/* The broker asks for what it never has a reason to ask for. */
static void say_trespass(struct signer_event *e, const char *what)
{
    e->category = EVENT_enrolment;
    e->severity = SEVERITY_ALERT;
    (void)snprintf(e->reason, sizeof e->reason,
                   "the broker asked the signer for %s: it may have been broken into. Look at "
                   "what it did, restart it, and see `certs list`",
                   what);
}

static bool may_say(struct signer *s, uint64_t now_ms, struct signer_event *e)
{
    if (!bucket_take(&s->events, 1, now_ms)) {
        s->n_unsaid++;
        return false;
    }
    size_t n = strlen(e->reason);
    if (s->n_unsaid > 0 && n < sizeof e->reason) {
        (void)snprintf(e->reason + n, sizeof e->reason - n, " (and %u others)", s->n_unsaid);
        s->n_unsaid = 0;
    }
    return true;
}

/* ---- asking ---- */

static enum err refuse_operators(struct signer_answer *a)
{
    why_set(&a->why, "only an operator may: `sallyport device`, `sallyport enrol`");
    return ERR_DENIED;
}

MUST_USE enum err signer_ask(struct signer *s, enum signer_channel from, struct slice request,
                             uint64_t now_ms, int64_t now_wall_ms, struct signer_reply *ret)
{
    AUTO(signer_answer_done) struct signer_answer a = {.err = OK};
    AUTO(signer_reply_done) struct signer_reply reply = {.id = 0};
    struct signer_request q = {.type = SIGNER_CRL};
    if (from == SIGNER_BROKER && !bucket_take(&s->asks, 1, now_ms)) {
        /* The id, so that who waits hears of it. */
        struct rd r = rd_from(request);
        (void)rd_u8(&r);
        reply.id = rd_u32(&r);
        why_set(&a.why, "the signer is asked more than %d times a second: try again later",
                SIGNER_ASKS_PER_SECOND);
        a.err = ERR_LIMIT;
    } else if ((a.err = signer_request_decode(request, &q)) != OK) {
        why_set(&a.why, "this is no request (%s)", err_name(a.err));
        reply.has_event = from == SIGNER_BROKER;
        say_trespass(&reply.event, "what is no request");
    } else if (from == SIGNER_BROKER && signer_request_is_operators(q.type)) {
        a.err = refuse_operators(&a);
        reply.id = q.id;
        reply.has_event = true;
        event_name(&reply.event, q.order.name.n > 0 ? q.order.name : q.claim.name);
        say_trespass(&reply.event, "what only an operator may");
    } else {
        reply.id = q.id;
        a.err = do_it(s, &q, now_wall_ms, &a);
        event_name(&reply.event, q.order.name);
        reply.has_event = has_event(&q, &a, &reply.event);
    }
    reply.has_event = reply.has_event && may_say(s, now_ms, &reply.event);
    TRY(signer_answer_encode(q.type, &a, &reply.bytes));
    *ret = reply;
    reply = (struct signer_reply){.id = 0};
    return OK;
}

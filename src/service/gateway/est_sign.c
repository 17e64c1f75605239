/* Certificates that are asked for over CoAP: on their way to who decides, and the answers until
 * they are fetched. A wish outlives the request that began it, and names its association by id:
 * whichever of them ends first leaves nothing of itself behind. The same request again is the same
 * wish, so nothing is signed twice for a repetition. SPEC: RFC9148 4.4, 4.7; RFC7252 5.2.2 */
#include "base/mem.h"
#include "service/broker/handed.h"
#include "service/enrol/est.h"
#include "service/enrol/shown.h"
#include "service/gateway/door_private.h"

enum {
    WISHES_MAX = 256,      /* of one door; one of an association at a time */
    ANSWER_MS = 15 * 1000, /* that a decision may take, as over HTTPS */
    KEEP_MS = 120 * 1000,  /* an answer, for its further blocks and for who asks again */
    MS = 1000
};

struct wish {
    struct list_node node;        /* of the door */
    uint64_t association, number; /* number: what the decision is known by */
    uint64_t until_ms;            /* who waits, waits so long; else it is kept so long */
    const struct est_short *what;
    struct digest csr;
    struct asker asker; /* while has_asker; asker.a is looked up by id, each time */
    bool has_asker;
    uint16_t format;         /* of the answer */
    struct enrolment *given; /* ISSUED; NULL: not decided yet */
};

/* ---- wishes ---- */

static struct wish *wish_free(struct coap_door *d, struct wish *w)
{
    if (w != NULL) {
        list_unlink(&w->node);
        d->n_wishes--;
        enrolment_free(w->given);
        mem_free(w);
    }
    return NULL;
}

static struct wish *wish_of(const struct association *a)
{
    list_for_each (n, &a->door->wishes) {
        struct wish *w = LIST_ENTRY(n, struct wish, node);
        if (w->association == a->id) {
            return w;
        }
    }
    return NULL;
}

static struct wish *wish_numbered(const struct coap_door *d, uint64_t number)
{
    list_for_each (n, &d->wishes) {
        struct wish *w = LIST_ENTRY(n, struct wish, node);
        if (w->number == number) {
            return w;
        }
    }
    return NULL;
}

/* The oldest whose answer is only kept: who wants it asks again. */
static bool make_room(struct coap_door *d)
{
    list_for_each (n, &d->wishes) {
        struct wish *w = LIST_ENTRY(n, struct wish, node);
        if (w->given != NULL) {
            wish_free(d, w);
            return true;
        }
    }
    return false;
}

static enum err wish_new(const struct request *rq, const struct est_short *what,
                         const struct digest *csr, struct wish **ret)
{
    struct coap_door *d = rq->asker.a->door;
    if (d->n_wishes >= WISHES_MAX && !make_room(d)) {
        return ERR_LIMIT;
    }
    struct wish *w = mem_zalloc(sizeof(*w));
    if (w == NULL) {
        return ERR_NOMEM;
    }
    w->association = rq->asker.a->id;
    w->number = ++d->next_cookie;
    w->what = what;
    w->csr = *csr;
    list_append(&d->wishes, &w->node);
    d->n_wishes++;
    *ret = w;
    return OK;
}

/* From here on the answer is for this request. */
static void wish_attend(struct wish *w, const struct asker *asker)
{
    const struct association *a = asker->a;
    w->asker = *asker;
    w->asker.a = NULL;
    w->has_asker = true;
    w->until_ms = a->door->now_ms + ANSWER_MS;
    if (w->what->operation == EST_SERVERKEYGEN) {
        w->format = COAP_FORMAT_MULTIPART;
    } else {
        w->format = asker->has_accept ? (uint16_t)asker->accept : COAP_FORMAT_PKCS7_CERTS;
    }
}

/* ---- answers ---- */

/* All of it, in the format that was asked for; kept holds what had to be put together for that. */
static enum err body_of(const struct wish *w, struct buf *kept, struct slice *ret)
{
    const struct enrolment *e = w->given;
    bool is_bare = w->what->is_bare || w->format == COAP_FORMAT_PKIX_CERT;
    struct slice certs = buf_slice(is_bare ? &e->leaf_der : &e->certs_der);
    *ret = certs;
    if (w->format == COAP_FORMAT_MULTIPART) {
        TRY(est_pair_core(buf_slice(&e->key_der),
                          is_bare ? COAP_FORMAT_PKIX_CERT : COAP_FORMAT_PKCS7_CERTS, certs, kept));
        *ret = buf_slice(kept);
    }
    return OK;
}

/* Who sends small blocks has no room for large ones. SPEC: RFC7959 2.3, RFC9148 4.7 */
static struct asker in_its_blocks(const struct asker *asker)
{
    struct asker to = *asker;
    if (to.has_block1 && !to.has_block2 && !to.is_bert) {
        to.has_block2 = true;
        to.block2 = (struct coap_block){.szx = to.block1.szx};
    }
    return to;
}

static bool is_last(const struct asker *to, size_t n)
{
    return to->has_block2 ? coap_block_offset(to->block2) + coap_block_bytes(to->block2.szx) >= n
                          : n <= talk_whole_max(to->a);
}

/* The block that was asked for, and a key that is out is not kept. */
static void give_block(struct coap_door *d, struct wish *w, const struct asker *asker)
{
    AUTO(buf_wipe) struct buf kept = {0};
    uint8_t block[8];
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    struct coap_answer answer = {.code = COAP_CHANGED}; /* SPEC: RFC9148 4.5 */
    struct asker to = in_its_blocks(asker);
    coap_option_add_uint(&o, COAP_OPTION_CONTENT_FORMAT, w->format);
    if (coap_option_writer_done(&o, &answer.options) != OK ||
        body_of(w, &kept, &answer.payload) != OK) {
        request_refuse_unavailable(asker);
        return;
    }
    (void)answer_send(&to, &answer);
    if (w->what->operation == EST_SERVERKEYGEN && is_last(&to, answer.payload.n)) {
        wish_free(d, w);
    }
}

static void tell(const struct asker *asker, enum event_category category, const char *text)
{
    struct association *a = asker->a;
    struct event e = association_event(a, category);
    e.severity = SEVERITY_WARNING;
    event_reason(&e, "no certificate over CoAP: %s", text);
    door_report(a->door, &e);
}

static uint8_t code_of(enum enrolment_result result)
{
    switch (result) {
    case ENROLMENT_ISSUED:
        return COAP_CHANGED;
    case ENROLMENT_WAITS: /* SPEC: RFC9148 4.7: with Max-Age, in the place of 202 */
    case ENROLMENT_BUSY:
        return COAP_UNAVAILABLE;
    case ENROLMENT_TOO_MANY:
        return COAP_TOO_MANY_REQUESTS;
    case ENROLMENT_UNPROVEN:
        return COAP_UNAUTHORIZED;
    case ENROLMENT_REFUSED:
        return COAP_FORBIDDEN;
    case ENROLMENT_MALFORMED:
        return COAP_BAD_REQUEST;
    }
    return COAP_INTERNAL_ERROR;
}

/* One answer and one event: who decides, or the pace, may have said theirs, and the pace counts. */
static void refuse(const struct asker *asker, const struct enrolment *e)
{
    struct counters *c = asker->a->door->setup.counters;
    uint8_t code = code_of(e->result);
    bool is_later = code == COAP_UNAVAILABLE || code == COAP_TOO_MANY_REQUESTS;
    if (!e->is_told) {
        tell(asker, is_later ? EVENT_rate : EVENT_malformed, e->why.text);
        count_add(is_later ? &c->renewals_later : &c->renewals_refused, 1);
    } else if (!is_later) {
        count_add(&c->renewals_refused, 1);
    }
    if (is_later) {
        (void)answer_number(asker, code, e->why.text, COAP_OPTION_MAX_AGE, e->retry_after_s);
    } else {
        (void)answer_text(asker, code, e->why.text);
    }
}

/* What only the HTTPS door gives is not kept. */
static void keep(struct coap_door *d, struct wish *w, struct enrolment *e)
{
    buf_done(&e->csr_der);
    buf_done(&e->current_der);
    buf_done(&e->chain_pem);
    buf_done(&e->bundle_json);
    w->given = e;
    w->until_ms = d->now_ms + KEEP_MS;
    count_add(&d->setup.counters->renewals_ok, 1);
}

/* Takes e. */
static void decided(struct coap_door *d, struct enrolment *e)
{
    struct wish *w = wish_numbered(d, e->client);
    struct association *a = w != NULL ? association_find(d, w->association) : NULL;
    if (a == NULL || w->given != NULL) {
        wish_free(d, a == NULL ? w : NULL); /* it has gone; what was signed it may ask for anew */
        enrolment_free(e);
        return;
    }
    bool has_asker = w->has_asker;
    struct asker asker = w->asker;
    asker.a = a;
    w->has_asker = false;
    if (e->result == ENROLMENT_ISSUED) {
        keep(d, w, e);
        if (has_asker) {
            give_block(d, w, &asker);
        }
    } else {
        if (has_asker) {
            refuse(&asker, e);
        }
        wish_free(d, w);
        enrolment_free(e);
    }
    association_serve(a);
}

/* ---- asking ---- */

/* As DTLS or TLS has proven that the client owns it. */
static enum err find_certificate(const struct association *a, struct buf *ret)
{
    const struct coap_door *d = a->door;
    struct dtls_info info;
    if (a->stream != NULL) {
        TRY(d->setup.certificate != NULL
                ? d->setup.certificate(d->setup.ctx, coap_stream_transport(a->stream), ret)
                : ERR_NOT_FOUND);
    } else if (dtls_info(d->dtls, a->id, &info)) {
        TRY(buf_append(ret, info.peer_cert, ENROLMENT_CERT_MAX));
    }
    /* Without one it would be a stranger's wish, and this is none. */
    return ret->n > 0 ? OK : ERR_NOT_FOUND;
}

static enum err fill(const struct request *rq, const struct wish *w, struct enrolment *e)
{
    static const enum enrolment_want wants[EST_OPERATIONS] = {[EST_SIMPLEENROLL] = ENROLMENT_FIRST,
                                                              [EST_SIMPLEREENROLL] =
                                                                  ENROLMENT_AGAIN,
                                                              [EST_SERVERKEYGEN] = ENROLMENT_PAIR};
    const struct association *a = rq->asker.a;
    const struct coap_door *d = a->door;
    e->worker = worker_index(d->setup.worker);
    e->door = d->setup.entrance->index;
    e->client = w->number;
    e->want = wants[w->what->operation];
    e->protocol = EVENT_PROTOCOL_coap;
    e->peer = a->peer;
    (void)slice_to_text(slice_text(d->setup.entrance->name), e->listener, sizeof(e->listener));
    TRY(buf_append(&e->csr_der, rq->m->payload, ENROLMENT_CSR_MAX));
    return find_certificate(a, &e->current_der);
}

/* What the door may say by itself, before anybody else is asked: a certificate on a list, and the
 * pace. */
static bool looks_good(const struct coap_door *d, struct enrolment *e)
{
    const struct shown_door shown = {.worker = d->setup.worker,
                                     .counters = d->setup.counters,
                                     .ctx = d->setup.ctx,
                                     .event = d->setup.event,
                                     .paces_all = true};
    return shown_look(&shown, e, d->wall_ms);
}

static enum err hand_in(const struct request *rq, struct wish *w)
{
    struct coap_door *d = rq->asker.a->door;
    AUTO(enrolment_autofree) struct enrolment *e = NULL;
    TRY(enrolment_new(&e));
    TRY(fill(rq, w, e));
    if (!looks_good(d, e)) {
        refuse(&rq->asker, e);
        wish_free(d, w);
        return OK;
    }
    if (d->setup.enrol == NULL) {
        return ERR_UNSUPPORTED;
    }
    return d->setup.enrol(d->setup.ctx, TAKE(e));
}

static void refuse_begin(const struct request *rq, enum err err)
{
    switch ((unsigned)err) {
    case ERR_LIMIT:
    case ERR_AGAIN:
        request_refuse_busy(rq, "more certificates are asked for at once than are decided; it may "
                                "come again. Nothing needs to be done");
        break;
    case ERR_UNSUPPORTED:
    case ERR_NOT_FOUND:
        request_refuse(rq, EVENT_enrolment, COAP_FORBIDDEN,
                       "this server gives no certificates over this connection",
                       "no certificate was shown on this connection, or nobody signs here");
        break;
    default:
        request_refuse_unavailable(&rq->asker);
        break;
    }
}

/* Asked too often it costs others their places in the pace, so it counts as what it would be over
 * MQTT: a publish of its principal. */
static bool is_in_rate(const struct request *rq)
{
    struct association *a = rq->asker.a;
    struct bucket *rate = &a->account->publishes;
    if (bucket_take(rate, 1, a->door->now_ms)) {
        return true;
    }
    count_limit(a->door->setup.counters, LIMIT_publish_rate);
    request_refuse_rate(rq, EVENT_rate, bucket_wait_ms(rate, 1, a->door->now_ms),
                        "it asks for certificates faster than publish_rate of its role");
    return false;
}

static void begin(const struct request *rq, const struct est_short *what, const struct digest *csr)
{
    struct wish *w = NULL;
    if (!is_in_rate(rq)) {
        return;
    }
    enum err err = wish_new(rq, what, csr, &w);
    if (err == OK) {
        wish_attend(w, &rq->asker);
        err = hand_in(rq, w);
        if (err != OK) {
            wish_free(rq->asker.a->door, w);
        }
    }
    if (err != OK) {
        refuse_begin(rq, err);
    }
}

/* The request that nobody waits for any more: its client has sent another in its place. */
static void attend_again(struct wish *w, const struct request *rq)
{
    if (w->has_asker) {
        enum err err = talk_drop(rq->asker.a, w->asker.exchange);
        (void)err; /* it has ended by itself */
    }
    wish_attend(w, &rq->asker);
}

void est_sign(const struct request *rq, const struct est_short *what)
{
    struct coap_door *d = rq->asker.a->door;
    struct wish *w = wish_of(rq->asker.a);
    struct digest csr;
    if (digest_sha256(rq->m->payload, &csr) != OK) {
        request_refuse_unavailable(&rq->asker);
        return;
    }
    bool is_same =
        w != NULL && w->what == what && slice_equal(digest_slice(&w->csr), digest_slice(&csr));
    if (is_same && w->given == NULL) {
        attend_again(w, rq);
    } else if (is_same) {
        uint64_t until_ms = w->until_ms;
        wish_attend(w, &rq->asker); /* it may want another format now */
        w->has_asker = false;
        w->until_ms = until_ms;
        give_block(d, w, &rq->asker);
    } else if (w != NULL && w->given == NULL) {
        request_refuse_busy(rq, "one certificate after the other: its last request is not decided "
                                "yet. It may come again");
    } else {
        wish_free(d, w);
        begin(rq, what, &csr);
    }
}

void est_sign_rest(const struct request *rq, const struct est_short *what)
{
    const struct asker *asker = &rq->asker;
    struct wish *w = wish_of(asker->a);
    bool is_there = w != NULL && w->given != NULL && w->what == what &&
                    (!asker->has_accept || asker->accept == w->format);
    if (is_there) {
        give_block(asker->a->door, w, asker);
    } else {
        request_refuse(rq, EVENT_protocol_error, COAP_REQUEST_INCOMPLETE,
                       "there is no answer to take that block of: send the request again",
                       "a block of an answer was asked for, and none is kept for it");
    }
}

/* ---- time ---- */

/* A decision that comes yet is kept for who asks again. */
static void give_up_waiting(struct coap_door *d, struct wish *w)
{
    struct association *a = association_find(d, w->association);
    struct asker asker = w->asker;
    w->has_asker = false;
    w->until_ms = d->now_ms + KEEP_MS;
    if (a == NULL) {
        wish_free(d, w);
        return;
    }
    asker.a = a;
    tell(&asker, EVENT_quota,
         "it was not decided within 15 s, so the device was told to come again. Look at `sallyport "
         "alerts`");
    count_add(&d->setup.counters->renewals_later, 1);
    (void)answer_number(&asker, COAP_UNAVAILABLE,
                        "not decided yet; send the same request again after Max-Age",
                        COAP_OPTION_MAX_AGE, d->coap.retry_after_s);
    association_serve(a);
}

void est_turn(struct coap_door *d)
{
    struct enrolment *e;
    unsigned index = d->setup.entrance->index;
    while ((e = worker_next_enrolled(d->setup.worker, index)) != NULL) {
        decided(d, e);
    }
    list_for_each_safe (n, next, &d->wishes) {
        struct wish *w = LIST_ENTRY(n, struct wish, node);
        if (w->until_ms > d->now_ms) {
            continue;
        }
        if (w->has_asker) {
            give_up_waiting(d, w);
        } else {
            wish_free(d, w);
        }
    }
}

uint64_t est_deadline(const struct coap_door *d)
{
    uint64_t at = UINT64_MAX;
    list_for_each (n, &d->wishes) {
        const struct wish *w = LIST_ENTRY(n, struct wish, node);
        at = w->until_ms < at ? w->until_ms : at;
    }
    return at;
}

size_t est_shed(struct coap_door *d)
{
    size_t n = 0;
    while (make_room(d)) {
        n++;
    }
    return n;
}

void est_done(struct coap_door *d)
{
    list_for_each_safe (n, next, &d->wishes) {
        wish_free(d, LIST_ENTRY(n, struct wish, node));
    }
}

/* Values that need more than one message: requests in blocks until they are whole, and the rest of
 * what was notified. SPEC: RFC7959. */
#include "base/mem.h"
#include "engine/senml.h"
#include "service/broker/enrolment.h"
#include "service/gateway/door_private.h"

/* ---- requests ---- */

/* Does it change the value by a part, or ask for one? */
static bool is_etch(const struct request *rq)
{
    uint8_t code = rq->m->code;
    return code == COAP_FETCH || code == COAP_PATCH || code == COAP_IPATCH;
}

static bool takes_payload(const struct request *rq)
{
    return rq->m->code == COAP_PUT || rq->m->code == COAP_POST || is_etch(rq);
}

static struct coap_block_part part_of(const struct request *rq)
{
    struct association *a = rq->asker.a;
    const struct limits *l = a->door->setup.limits;
    uint64_t beside = rq->path.text.n + (uint64_t)BODY_MARGIN;
    uint64_t value_max = l->packet_bytes > beside ? l->packet_bytes - beside : 0;
    return (struct coap_block_part){
        .owner = a->account->principal->id,
        .endpoint = a->id,
        .method = rq->m->code,
        .options = rq->m->options,
        .payload = rq->m->payload,
        .block = rq->asker.block1,
        .is_bert = rq->asker.is_bert,
        .body_max = est_takes_body(rq)     ? ENROLMENT_CSR_MAX
                    : enrol_takes_body(rq) ? l->registration_bytes
                    : is_etch(rq)          ? SENML_ETCH_BYTES_MAX
                                           : value_max,
    };
}

/* Who may not write there, or not so much, is told before the rest is carried here. No rate is
 * spent: the whole is one message. */
static bool is_allowed(const struct request *rq, const struct coap_block_part *part)
{
    struct association *a = rq->asker.a;
    struct coap_door *d = a->door;
    struct decision why;
    uint32_t said = 0;
    uint64_t bytes = coap_block_offset(part->block) + part->payload.n;
    uint8_t qos = rq->m->type == COAP_CON ? 1 : 0;
    enum err err;
    if (est_takes_body(rq)) {
        bool may = est_admits(rq);
        if (!may) {
            coap_bodies_forget(&d->bodies, part);
        }
        return may;
    }
    bool retains = rq->m->code != COAP_POST;
    enum passage_retain wish =
        worker_retain_wish(d->setup.worker, a->account, rq->path.text, retains, d->now_ms);
    if (coap_options_find_uint(rq->m->options, COAP_OPTION_SIZE1, &said) && said > bytes) {
        bytes = said;
    }
    if (enrol_takes_body(rq)) {
        err = passage_resource(a->account, rq->path.text, METHOD_POST, &why);
    } else if (is_etch(rq)) { /* its bytes are none of the value's */
        err = passage_subscribe(a->account, NULL, rq->path.text, false, &why);
        if (err == OK && rq->m->code != COAP_FETCH) {
            err = passage_will(a->account, rq->path.text, qos, wish, 0, &why);
        }
    } else {
        err = passage_will(a->account, rq->path.text, qos, wish, (size_t)bytes, &why);
    }
    if (err != OK) {
        coap_bodies_forget(&d->bodies, part);
        request_refuse_by_passage(rq, err, &why, 0);
    }
    return err == OK;
}

/* Which setting it was that a body was over; fixed ones have no name. */
static enum limit_name bound_of(const struct request *rq)
{
    if (enrol_takes_body(rq)) {
        return LIMIT_registration_bytes;
    }
    return est_takes_body(rq) || is_etch(rq) ? LIMIT_none : LIMIT_packet_bytes;
}

static void refuse_part(const struct request *rq, enum err err, const struct coap_block_part *part)
{
    enum { WAIT_MS = 59999 };
    const char *why;
    switch ((unsigned)err) {
    case ERR_NOT_FOUND:
        why = "a block is not the next one of anything that was begun";
        request_refuse(rq, EVENT_protocol_error, COAP_REQUEST_INCOMPLETE,
                       "not the next block; begin anew", why);
        break;
    case ERR_TOO_LARGE:
        count_limit(rq->asker.a->door->setup.counters, bound_of(rq));
        request_refuse_size(rq, (uint32_t)part->body_max,
                            is_etch(rq) ? "its fetch or patch pack is too large"
                                        : "the value is over packet_bytes, links over "
                                          "registration_bytes, a certificate request over 8 KiB; "
                                          "let it send less, or raise that");
        break;
    case ERR_QUOTA:
        request_refuse_rate(rq, EVENT_quota, WAIT_MS,
                            "its unfinished values hold as much as one principal may have begun");
        break;
    case ERR_LIMIT:
        request_refuse(rq, EVENT_quota, COAP_UNAVAILABLE, "too many unfinished values; come again",
                       "the unfinished values of all principals are at their bound");
        break;
    case ERR_NOMEM:
        request_refuse_unavailable(&rq->asker);
        break;
    default:
        why = "a block before the last does not fill its size";
        request_refuse(rq, EVENT_malformed, COAP_BAD_REQUEST, why, why);
        break;
    }
}

/* An answer may be in smaller blocks than BERT's, so of Block2 it is the same as 1024 bytes. */
static enum err find_block(const struct request *rq, bool is_stream, uint16_t number,
                           struct coap_block *ret, bool *ret_is_bert)
{
    if (coap_message_lacks(rq->m, number)) {
        return ERR_NOT_FOUND;
    }
    return is_stream ? coap_block_find_bert(rq->m->options, number, ret, ret_is_bert)
                     : coap_block_find(rq->m->options, number, ret);
}

/* The two block options, if the request has them. */
static bool read_blocks(struct request *rq)
{
    struct asker *asker = &rq->asker;
    bool is_stream = asker->a->stream != NULL, ignored = false;
    enum err one = find_block(rq, is_stream, COAP_OPTION_BLOCK1, &asker->block1, &asker->is_bert);
    enum err two = find_block(rq, is_stream, COAP_OPTION_BLOCK2, &asker->block2, &ignored);
    asker->has_block2 = two == OK;
    if ((one != OK && one != ERR_NOT_FOUND) || (two != OK && two != ERR_NOT_FOUND)) {
        request_refuse(rq, EVENT_malformed, COAP_BAD_REQUEST, "the block size 7 is reserved",
                       "a block option has the reserved size"); /* SPEC: RFC7959 2.2 */
        return false;
    }
    if (one == OK && !takes_payload(rq)) {
        /* SPEC: RFC7959 2.1: critical, and without meaning here */
        request_refuse(rq, EVENT_protocol_error, COAP_BAD_OPTION,
                       "Block1 is for methods with a payload",
                       "Block1 came with a method that takes no payload");
        return false;
    }
    asker->has_block1 = one == OK;
    return true;
}

bool blocks_take(struct request *rq, struct coap_message *whole, struct buf *kept)
{
    struct coap_door *d = rq->asker.a->door;
    struct coap_block_taken taken;
    if (!read_blocks(rq)) {
        return false;
    }
    bool takes = rq->path.kind == DOOR_PATH_TOPIC || enrol_takes_body(rq) || est_takes_body(rq);
    if (!rq->asker.has_block1 || !takes) {
        return true; /* elsewhere nothing is written: the refusal needs no body */
    }
    struct coap_block_part part = part_of(rq);
    if (part.block.has_more && !is_allowed(rq, &part)) {
        return false;
    }
    enum err err = coap_bodies_take(&d->bodies, &part, d->now_ms, &taken);
    if (err != OK) {
        refuse_part(rq, err, &part);
        return false;
    }
    rq->asker.block1 = taken.ack;
    if (!taken.is_whole) {
        (void)answer_text(&rq->asker, COAP_CONTINUE, NULL);
        return false;
    }
    *kept = taken.kept;
    *whole = *rq->m;
    whole->payload = taken.body;
    rq->m = whole;
    return true;
}

/* ---- what passes ---- */

void passing_drop(struct watch *w)
{
    struct passing *p = w->passing;
    if (p != NULL) {
        msg_unref(p->m);
        list_unlink(&p->in_passing);
        w->passing = mem_free(p);
        w->a->door->n_passing--;
    }
}

static struct passing *oldest(const struct coap_door *d)
{
    struct list_node *n = list_first(&d->passing);
    return n != NULL ? LIST_ENTRY(n, struct passing, in_passing) : NULL;
}

/* Not retained, so it has no number: one that no retained message has, by its length. */
static void etag_of(const struct coap_door *d, uint64_t key, uint8_t ret[ETAG_BYTES])
{
    uint8_t bytes[ETAG_BYTES + 1];
    struct wr w1 = wr_into(bytes, sizeof(bytes)), w2 = wr_into(ret, ETAG_BYTES);
    wr_u8(&w1, 1);
    wr_u64(&w1, key);
    wr_u64(&w2, siphash(&d->setup.key, wr_slice(&w1)));
}

void passing_keep(struct watch *w, const struct msg *m, uint8_t etag[ETAG_BYTES])
{
    struct coap_door *d = w->a->door;
    uint64_t key = ++d->next_key;
    etag_of(d, key, etag);
    passing_drop(w);
    if (d->n_passing >= PASSING_MAX) {
        passing_drop(oldest(d)->watch);
    }
    struct passing *p = mem_zalloc(sizeof(*p));
    if (p == NULL) {
        count_add(&d->setup.counters->dropped_memory, 1);
        return; /* whoever asks for the rest hears that it is gone */
    }
    *p = (struct passing){
        .m = msg_ref(m), .watch = w, .key = key, .until_ms = d->now_ms + PASSING_MS};
    list_append(&d->passing, &p->in_passing);
    w->passing = p;
    d->n_passing++;
}

const struct msg *passing_find(const struct watch *w, uint8_t etag[ETAG_BYTES])
{
    const struct coap_door *d = w->a->door;
    if (w->passing == NULL || w->passing->m->expires_at_ms <= d->now_ms) {
        return NULL;
    }
    etag_of(d, w->passing->key, etag);
    return w->passing->m;
}

void passing_expire(struct coap_door *d)
{
    struct passing *p;
    while ((p = oldest(d)) != NULL && d->now_ms >= p->until_ms) {
        passing_drop(p->watch);
    }
}

size_t blocks_shed(struct coap_door *d)
{
    struct passing *p;
    size_t n = 0;
    for (; coap_bodies_shed(&d->bodies); n++) {
    }
    for (; (p = oldest(d)) != NULL; n++) {
        passing_drop(p->watch);
    }
    return n;
}

uint64_t passing_deadline(const struct coap_door *d)
{
    const struct passing *p = oldest(d);
    return p != NULL ? p->until_ms : UINT64_MAX;
}

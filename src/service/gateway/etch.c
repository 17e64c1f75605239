/* FETCH of a topic whose value is a SenML pack gives some of its records, a patch pack changes
 * them. The rest is as with GET and with any PATCH (patch.c). SPEC: RFC8132 2, 3; RFC8790. */
#include "base/buf.h"
#include "base/siphash.h"
#include "engine/senml.h"
#include "service/gateway/door_private.h"

enum {
    REFUSAL_BYTES = 160,
    KEPT_MS = 60 * 1000,
    BYTES_PER_READ = 4096 /* of a value: it is taken apart, so a larger one is dearer */
};

struct etch_form {
    enum senml_form form;
    uint16_t etch, pack;   /* Content-Formats: of fetch and patch packs, and of what they are for */
    const char *pack_text; /* for who comes with the other one */
};

static const struct etch_form forms[] = {
    {SENML_JSON, COAP_FORMAT_SENML_ETCH_JSON, COAP_FORMAT_SENML_JSON, "senml+json, send 320"},
    {SENML_CBOR, COAP_FORMAT_SENML_ETCH_CBOR, COAP_FORMAT_SENML_CBOR, "senml+cbor, send 322"},
};

const struct etch_form *etch_find(uint32_t format)
{
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        if (forms[i].etch == format) {
            return &forms[i];
        }
    }
    return NULL;
}

static void refuse(const struct request *rq, enum event_category category, uint8_t code,
                   const char *what, const char *why)
{
    char text[REFUSAL_BYTES];
    (void)snprintf(text, sizeof(text), "%s: %s", what, why);
    request_refuse(rq, category, code, text, text);
}

/* SPEC: RFC8790 3.1, 3.2; RFC8132 2.2, 3.4 */
static bool is_etch(const struct request *rq, const struct etch_form *form, enum senml_kind kind)
{
    const char *what = kind == SENML_FETCH ? "the fetch pack" : "the patch pack", *why = "";
    enum err err = senml_check(form->form, rq->m->payload, kind, &why);
    switch ((unsigned)err) {
    case OK:
        return true;
    case ERR_TOO_LARGE:
        request_refuse_size(rq, SENML_ETCH_BYTES_MAX, "its fetch or patch pack is too large");
        return false;
    case ERR_LIMIT:
    case ERR_EXISTS:
    case ERR_UNSUPPORTED:
    case ERR_PROTOCOL:
        refuse(rq, EVENT_protocol_error, COAP_UNPROCESSABLE, what, why);
        return false;
    default:
        refuse(rq, EVENT_malformed, COAP_BAD_REQUEST, what, why);
        return false;
    }
}

/* Whoever says nothing of the format may have said SenML: many MQTT clients do not tell. */
static bool may_be(const struct etch_form *form, uint16_t format)
{
    bool is_plain = form->form == SENML_JSON
                        ? format == COAP_FORMAT_JSON || format == COAP_FORMAT_TEXT
                        : format == COAP_FORMAT_CBOR || format == COAP_FORMAT_OCTETS;
    return format == form->pack || format == UINT16_MAX || is_plain;
}

/* Its first read has been spent. */
static void spend(struct association *a, size_t bytes)
{
    uint64_t dear = bytes / BYTES_PER_READ, left = a->reads.millis / 1000;
    (void)bucket_take(&a->reads, (uint32_t)(dear < left ? dear : left), a->door->now_ms);
}

/* Is the value a pack, and one in this form? */
static bool is_target(const struct request *rq, const struct etch_form *form, const struct msg *m)
{
    static const char what[] = "the value is no SenML pack";
    const char *why = "";
    uint16_t format = value_format(m);
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        if (format == forms[i].pack && format != form->pack) {
            refuse(rq, EVENT_protocol_error, COAP_UNSUPPORTED_FORMAT, "the value is",
                   forms[i].pack_text); /* SPEC: RFC8132 2.2 */
            return false;
        }
    }
    if (!may_be(form, format)) {
        refuse(rq, EVENT_protocol_error, COAP_CONFLICT, what, "it has another Content-Format");
        return false;
    }
    spend(rq->asker.a, m->payload.n);
    enum err err = senml_check(form->form, m->payload, SENML_PACK, &why);
    if (err != OK) {
        refuse(rq, EVENT_protocol_error,
               err == ERR_TOO_LARGE || err == ERR_LIMIT ? COAP_UNPROCESSABLE : COAP_CONFLICT,
               err == ERR_TOO_LARGE || err == ERR_LIMIT ? "the value cannot be taken apart" : what,
               why);
    }
    return err == OK;
}

/* ---- FETCH ---- */

/* Of what was selected, so it stays valid while other records change, and belongs to this pack. */
static void part_etag(const struct coap_door *d, struct slice part, uint8_t ret[ETAG_BYTES])
{
    uint64_t parts[] = {siphash(&d->setup.key, part), part.n, 1}; /* no number is so long */
    struct wr w = wr_into(ret, ETAG_BYTES);
    wr_u64(&w, siphash(&d->setup.key, slice_of(parts, sizeof(parts))));
}

static void answer_part(const struct request *rq, const struct etch_form *form, const struct msg *m,
                        struct slice part)
{
    const struct coap_door *d = rq->asker.a->door;
    uint8_t etag[ETAG_BYTES];
    struct value v;
    part_etag(d, part, etag);
    if (asker_has(&rq->asker, etag)) {
        value_valid(d, m, etag, &v); /* SPEC: RFC8132 2.3.2 */
    } else {
        value_part(d, m, etag, form->pack, part, &v);
    }
    (void)answer_send(&rq->asker, &v.answer);
}

/* ---- the pack of an answer in blocks ---- */

static uint64_t question_of(const struct request *rq, const struct etch_form *form)
{
    const struct siphash_key *key = &rq->asker.a->door->setup.key;
    uint64_t parts[] = {siphash(key, rq->path.text), form->etch};
    return siphash(key, slice_of(parts, sizeof(parts)));
}

/* In the place of its last one, or of the oldest of all. */
static void keep(const struct request *rq, const struct etch_form *form)
{
    const struct association *a = rq->asker.a;
    struct coap_door *d = a->door;
    struct kept_fetch *k = &d->fetches[0];
    for (size_t i = 0; i < FETCHES_KEPT && k->association != a->id; i++) {
        bool is_better = d->fetches[i].association == a->id || d->fetches[i].until_ms < k->until_ms;
        k = is_better ? &d->fetches[i] : k;
    }
    buf_done(&k->pack);
    *k = (struct kept_fetch){
        .association = a->id, .question = question_of(rq, form), .until_ms = d->now_ms + KEPT_MS};
    if (buf_append(&k->pack, rq->m->payload, SENML_ETCH_BYTES_MAX) != OK) {
        count_add(&d->setup.counters->dropped_memory, 1); /* whoever needs it begins anew */
    }
}

/* What was kept for the rest; empty: nothing. */
static struct slice kept(const struct request *rq, const struct etch_form *form)
{
    const struct association *a = rq->asker.a;
    const struct coap_door *d = a->door;
    uint64_t question = question_of(rq, form);
    for (size_t i = 0; i < FETCHES_KEPT; i++) {
        const struct kept_fetch *k = &d->fetches[i];
        if (k->association == a->id && k->question == question && d->now_ms < k->until_ms) {
            return buf_slice(&k->pack);
        }
    }
    return (struct slice){0};
}

size_t fetches_drop(struct coap_door *d)
{
    size_t n = 0;
    for (size_t i = 0; i < FETCHES_KEPT; i++) {
        n += d->fetches[i].pack.n > 0 ? 1 : 0;
        buf_done(&d->fetches[i].pack);
        d->fetches[i] = (struct kept_fetch){.pack = {0}};
    }
    return n;
}

/* ---- what FETCH does ---- */

static void select_part(const struct request *rq, const struct etch_form *form)
{
    const struct association *a = rq->asker.a;
    struct coap_door *d = a->door;
    const struct msg *m = worker_retained(d->setup.worker, a->account, rq->path.text, d->now_ms);
    AUTO(buf_done) struct buf part = {0};
    if (m == NULL) {
        (void)answer_text(&rq->asker, COAP_NOT_FOUND, "no value is retained");
        return;
    }
    if (!is_target(rq, form, m)) {
        return;
    }
    if (senml_fetch(form->form, m->payload, rq->m->payload, &part) != OK) {
        request_refuse_unavailable(&rq->asker);
        return;
    }
    if (part.n >
        (rq->asker.has_block2 ? coap_block_bytes(rq->asker.block2.szx) : talk_whole_max(a))) {
        keep(rq, form);
    }
    answer_part(rq, form, m, buf_slice(&part));
}

/* The rest, asked for as some clients do. SPEC: RFC7959 2.4, 3.3 */
static void fetch_rest(const struct request *rq, const struct etch_form *form)
{
    struct coap_message whole = *rq->m;
    struct request wanted = *rq;
    uint8_t pack[SENML_ETCH_BYTES_MAX];
    struct slice was = kept(rq, form);
    if (was.n == 0) {
        request_refuse(rq, EVENT_protocol_error, COAP_REQUEST_INCOMPLETE,
                       "which answer? begin anew, or send the fetch pack with each block",
                       "it asks for the rest of a FETCH that is not known any more");
        return;
    }
    slice_copy(pack, was); /* keeping it again moves it */
    whole.payload = slice_of(pack, was.n);
    wanted.m = &whole;
    select_part(&wanted, form);
}

void etch_fetch(const struct request *rq)
{
    uint32_t format = UINT16_MAX;
    bool is_rest = rq->asker.has_block2 && rq->asker.block2.number > 0;
    /* Each block is selected anew, so none is free. */
    if (!request_reads(rq, false)) {
        return;
    }
    (void)coap_options_find_uint(rq->m->options, COAP_OPTION_CONTENT_FORMAT, &format);
    const struct etch_form *form = etch_find(format);
    if (form == NULL) {
        request_refuse(rq, EVENT_protocol_error, COAP_UNSUPPORTED_FORMAT,
                       "FETCH takes " ETCH_FORMATS, "its FETCH is not " ETCH_FORMATS);
    } else if (rq->asker.has_accept && rq->asker.accept != form->pack) {
        (void)answer_text(&rq->asker, COAP_NOT_ACCEPTABLE, "what is selected has another format");
    } else if (is_rest && rq->m->payload.n == 0) {
        fetch_rest(rq, form);
    } else if (is_etch(rq, form, SENML_FETCH)) {
        select_part(rq, form);
    }
}

/* ---- PATCH ---- */

static void refuse_patch(const struct request *rq, enum err err)
{
    static const char what[] = "the patch pack does not fit the value";
    switch ((unsigned)err) {
    case ERR_PROTOCOL:
        refuse(rq, EVENT_protocol_error, COAP_CONFLICT, what,
               "a record of it matches more than one: say which by its time or unit");
        break;
    case ERR_UNSUPPORTED:
        refuse(rq, EVENT_protocol_error, COAP_CONFLICT, what,
               "base fields of both cannot stand in one pack");
        break;
    case ERR_LIMIT:
    case ERR_TOO_LARGE:
        refuse(rq, EVENT_quota, COAP_UNPROCESSABLE, what,
               "what comes out is over 16 KiB, or over 512 records");
        break;
    default:
        request_refuse_unavailable(&rq->asker);
        break;
    }
}

void etch_patch(const struct request *rq, const struct etch_form *form)
{
    const struct content pack = {form->pack, form->form == SENML_JSON};
    const struct msg *m = NULL;
    AUTO(buf_done) struct buf patched = {0};
    if (!is_etch(rq, form, SENML_PATCH) || !patch_find(rq, &m) ||
        (m != NULL && !is_target(rq, form, m))) {
        return;
    }
    struct slice target = m != NULL ? m->payload : (struct slice){0};
    enum err err = senml_patch(form->form, target, rq->m->payload, &patched);
    if (err != OK) {
        refuse_patch(rq, err);
        return;
    }
    if (m == NULL && senml_is_empty(form->form, buf_slice(&patched))) {
        (void)answer_text(&rq->asker, COAP_NOT_FOUND, "no value is retained: nothing to remove");
        return; /* SPEC: RFC8132 3.4 */
    }
    request_publish(rq, true, buf_slice(&patched), &pack, COAP_CHANGED);
}

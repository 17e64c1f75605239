/* Commands on their way to a device: one after the other on its association, as CoAP requests. */
#include <assert.h>

#include "base/mem.h"
#include "core/flow.h"
#include "engine/coap_block_client.h"
#include "service/broker/command.h"
#include "service/gateway/door_private.h"
#include "wire/coap/uri.h"
#include "wire/mqtt/props.h"

enum {
    OPTIONS_BYTES = 1024,
    ECHO_MAX = 40,   /* SPEC: RFC9175 2.2.1 */
    FETCH_MS = 30000 /* for the links of a device that registers, blocks and all */
};

struct errand {
    struct list_node node; /* in the association's sidework, in the order they came */
    struct association *a;
    struct command_note *note; /* owned: what the desk sent */
    struct command_ask ask;    /* borrows from note->msg */
    bool is_for_links;         /* ours: what it registers with; the note has only a deadline */
    bool is_under_way;         /* as `request` of the endpoint */
    bool was_sent;
    uint32_t request;
    uint8_t echo_n; /* the device asked for it back */
    uint8_t echo[ECHO_MAX];
    struct coap_transfer transfer;
    uint8_t options[OPTIONS_BYTES];
};

static_assert(sizeof(struct errand) + sizeof(struct command_note) <= COMMAND_AT_DOOR_BYTES,
              "the desk charges as much");

/* ---- how one ends ---- */

static void errand_free(struct errand *e)
{
    list_unlink(&e->node);
    if (e->is_under_way) {
        talk_forget(e->a, e->request);
    }
    coap_transfer_done(&e->transfer);
    command_note_free(e->note);
    mem_free(e);
}

/* A device that registers has answered, or not. */
static void links_end(struct errand *e, const struct command_note *how, struct slice payload)
{
    struct association *a = e->a;
    const struct errand_fetched said = {
        .code = how->code, .format = how->format, .why = how->why, .links = payload};
    errand_free(e);
    if (!a->is_gone) {
        enrol_fetched(a, &said);
    }
}

/* Says to the desk how it ended, and ends it. Without memory the desk finds out by the clock. */
static void errand_end(struct errand *e, const struct command_note *how, struct slice payload)
{
    struct coap_door *d = e->a->door;
    struct command_note *n = NULL;
    if (e->is_for_links) {
        links_end(e, how, payload);
        return;
    }
    if (command_note_new(how->step, payload, &n) != OK) {
        count_add(&d->setup.counters->dropped_memory, 1);
        errand_free(e);
        return;
    }
    n->device = e->note->device;
    n->id = e->note->id;
    n->desk = e->note->desk;
    n->worker = e->note->worker;
    n->door = e->note->door;
    n->association = e->note->association;
    n->is_by_device = how->is_by_device;
    n->code = how->code;
    n->format = how->format;
    n->segment = e->a->account->segment;
    n->why = how->why;
    errand_free(e);
    worker_command_done(d->setup.worker, n);
}

static void end_ours(struct errand *e, uint8_t code, const char *why)
{
    const struct command_note how = {
        .step = COMMAND_ANSWER, .code = code, .format = UINT16_MAX, .why = why};
    errand_end(e, &how, (struct slice){0});
}

static void end_answered(struct errand *e)
{
    const struct command_note how = {.step = COMMAND_ANSWER,
                                     .is_by_device = true,
                                     .code = e->transfer.code,
                                     .format = e->transfer.format};
    struct buf body = e->transfer.body; /* outlives the errand until it is copied */
    e->transfer.body = (struct buf){0};
    errand_end(e, &how, buf_slice(&body));
    buf_done(&body);
}

static void give_back(struct errand *e)
{
    const struct command_note how = {.step = COMMAND_BACK};
    errand_end(e, &how, (struct slice){0});
}

/* ---- on its way ---- */

static enum err write_options(struct errand *e, struct slice *ret)
{
    const struct msg *m = e->note->msg;
    struct coap_option_writer o = coap_option_writer_into(e->options, OPTIONS_BYTES);
    struct slice path = e->ask.path;
    bool has_more = path.n > 0;
    while (has_more) {
        coap_option_add(&o, COAP_OPTION_URI_PATH, slice_cut(&path, '/', &has_more));
    }
    uint16_t format = m->payload.n > 0 ? value_format(m) : UINT16_MAX;
    if (format != UINT16_MAX) {
        coap_option_add_uint(&o, COAP_OPTION_CONTENT_FORMAT, format);
    }
    struct mqtt_props_iter it = mqtt_props_each(m->props);
    struct mqtt_prop p;
    while (mqtt_props_next(&it, &p)) {
        if (p.id == MQTT_PROP_USER && slice_is(p.key, "coap-query")) {
            coap_option_add(&o, COAP_OPTION_URI_QUERY, p.text);
        }
    }
    if (e->echo_n > 0) {
        coap_option_add(&o, COAP_OPTION_ECHO, slice_of(e->echo, e->echo_n));
    }
    return coap_option_writer_done(&o, ret);
}

/* The next message of it. On an error it has ended. */
static enum err go_on(struct errand *e)
{
    struct association *a = e->a;
    struct coap_request request;
    enum err err = coap_transfer_next(&e->transfer, &request);
    if (err == OK) {
        err = talk_request(a, &request, &e->request);
    }
    e->is_under_way = err == OK;
    e->was_sent = e->was_sent || err == OK;
    if (err == ERR_TOO_LARGE) {
        end_ours(e, COAP_REQUEST_TOO_LARGE, "path, queries or payload are too large for CoAP");
    } else if (err != OK) {
        end_ours(e, COAP_UNAVAILABLE, "there is no room for it now; ask again later");
    }
    return err;
}

static enum err start_links(struct errand *e)
{
    struct coap_door *d = e->a->door;
    struct coap_request request = {.confirmable = true, .code = COAP_GET};
    struct coap_option_writer o = coap_option_writer_into(e->options, OPTIONS_BYTES);
    coap_uri_path_options(slice_text("/.well-known/core"), &o);
    coap_option_add_uint(&o, COAP_OPTION_ACCEPT, COAP_FORMAT_LINK);
    if (e->echo_n > 0) {
        coap_option_add(&o, COAP_OPTION_ECHO, slice_of(e->echo, e->echo_n));
    }
    if (coap_option_writer_done(&o, &request.options) != OK) {
        end_ours(e, COAP_UNAVAILABLE, "there is no room for it now; ask again later");
        return ERR_SPACE;
    }
    coap_transfer_done(&e->transfer);
    coap_transfer_init(&e->transfer, &request, UINT8_MAX, random_u64(&d->setup.random),
                       d->setup.limits->registration_bytes);
    return go_on(e);
}

/* false: the device cannot be told as much; that is said. */
static bool begin_transfer(struct errand *e, const struct coap_request *request)
{
    const struct association *a = e->a;
    const struct coap_door *d = a->door;
    uint8_t szx = talk_szx_max(a);
    coap_transfer_init(&e->transfer, request, szx < COAP_BLOCK_SZX_MAX ? szx : UINT8_MAX,
                       random_u64(&d->setup.random), d->setup.limits->packet_bytes - BODY_MARGIN);
    if (a->stream == NULL) {
        return true;
    }
    coap_transfer_reliable(&e->transfer, talk_whole_max(a));
    if (e->transfer.is_blockwise && !coap_channel_takes_blocks(talk_channel(a))) {
        end_ours(e, COAP_REQUEST_TOO_LARGE,
                 "the payload is over the Max-Message-Size of the device, and it knows no blocks");
        return false;
    }
    return true;
}

static enum err start(struct errand *e)
{
    if (e->is_for_links) {
        return start_links(e);
    }
    struct coap_door *d = e->a->door;
    const struct msg *m = e->note->msg;
    struct coap_request request = {
        .confirmable = true, .code = e->ask.method, .payload = m->payload};
    if (!worker_may_hear(d->setup.worker, e->a->account, m)) {
        end_ours(e, COAP_FORBIDDEN,
                 "no flow of the policy brings this command to the segment of the device");
        return ERR_DENIED;
    }
    if (!policy_lets_flow(grants_policy(&e->a->account->grants), e->a->account->segment, m->segment,
                          e->ask.response_topic)) {
        end_ours(e, COAP_FORBIDDEN,
                 "no flow of the policy brings the answer of the device back; it was not asked");
        return ERR_DENIED;
    }
    if (write_options(e, &request.options) != OK) {
        end_ours(e, COAP_REQUEST_TOO_LARGE, "path and queries are too large for CoAP");
        return ERR_TOO_LARGE;
    }
    coap_transfer_done(&e->transfer);
    return begin_transfer(e, &request) ? go_on(e) : ERR_TOO_LARGE;
}

static struct errand *first_of(const struct association *a)
{
    struct list_node *n = a->side != NULL ? list_first(&a->side->errands) : NULL;
    return n != NULL ? LIST_ENTRY(n, struct errand, node) : NULL;
}

/* One at a time, so that they come in order; a device that did not acknowledge the last one is
 * asleep, and gets the next when it is heard. */
static void errands_run(struct association *a)
{
    struct errand *e;
    while (!a->is_gone && !a->is_quiet && (e = first_of(a)) != NULL && !e->is_under_way) {
        if (start(e) == OK) {
            break;
        }
    }
}

/* ---- what the endpoint says ---- */

/* The device wants to see that it is asked now: once more, with what it gave. SPEC: RFC9175 2.3 */
static bool takes_echo(struct errand *e, const struct coap_message *m)
{
    struct slice value;
    if (m->code != COAP_UNAUTHORIZED || e->echo_n > 0 ||
        !coap_options_find(m->options, COAP_OPTION_ECHO, &value) || value.n == 0 ||
        value.n > ECHO_MAX) {
        return false;
    }
    slice_copy(e->echo, value);
    e->echo_n = (uint8_t)value.n;
    return true;
}

static void take_response(struct errand *e, const struct coap_message *m)
{
    if (takes_echo(e, m)) {
        return; /* errands_run begins it anew */
    }
    enum coap_transfer_step step = COAP_TRANSFER_DONE;
    enum err err = coap_transfer_take(&e->transfer, m, &step);
    if (err == OK && step == COAP_TRANSFER_SEND) {
        (void)go_on(e);
    } else if (err == OK) {
        end_answered(e);
    } else {
        end_ours(e, COAP_BAD_GATEWAY,
                 err == ERR_TOO_LARGE ? "the answer of the device is larger than packet_bytes, or "
                                        "registration_bytes"
                 : err == ERR_NOMEM   ? "there was no memory for the answer of the device"
                                      : "the blocks of the device's answer do not fit together");
    }
}

/* Nobody acknowledged. What may be asked twice waits until the device is heard. */
static void take_silence(struct errand *e)
{
    e->a->is_quiet = true;
    if (e->is_for_links || !command_may_repeat(e->ask.method)) {
        end_ours(e, COAP_GATEWAY_TIMEOUT,
                 "the device did not acknowledge it; whether it did it is not known");
    }
}

void errand_event(struct association *a, const struct coap_event *ev)
{
    struct errand *e = first_of(a);
    if (ev->about != COAP_ABOUT_REQUEST || e == NULL || !e->is_under_way || e->request != ev->id) {
        return;
    }
    e->is_under_way = false;
    if (ev->kind == COAP_EVENT_RESPONSE) {
        take_response(e, &ev->m);
    } else if (ev->kind == COAP_EVENT_RESET) {
        end_ours(e, COAP_BAD_GATEWAY, "the device refused the message (RST)");
    } else {
        take_silence(e);
    }
    errands_run(a);
}

/* ---- where the device is ---- */

static void announce(struct association *a)
{
    struct coap_door *d = a->door;
    if (worker_device_there(d->setup.worker, a->account->principal, d->setup.index, a->id, true) ==
        OK) {
        a->announced_at_s = (uint32_t)(d->now_ms / 1000);
        a->is_announced = true;
    } else {
        count_add(&d->setup.counters->dropped_memory, 1); /* it is said again when it is heard */
    }
}

/* Links are fetched in datagrams, and without OSCORE. */
bool errand_can_be_asked(const struct association *a)
{
    return !a->is_gone && a->endpoint != NULL && !a->door->setup.entrance->is_oscore &&
           !a->account->principal->is_late;
}

void errands_heard(struct association *a)
{
    const struct coap_door *d = a->door;
    if (a->is_gone || a->account->principal->is_late || plain_is(a)) {
        return;
    }
    if (!a->is_announced || d->now_ms >= (uint64_t)a->announced_at_s * 1000 + COMMAND_ANNOUNCE_MS) {
        announce(a);
    }
    a->is_quiet = false;
    if (first_of(a) != NULL) {
        talk_hurry(a);
        errands_run(a);
    }
}

void errands_close(struct association *a)
{
    struct coap_door *d = a->door;
    struct errand *e;
    while (d->setup.event == NULL && (e = first_of(a)) != NULL) {
        errand_free(e); /* the worker ends with its door: nobody hears of it */
    }
    if (d->setup.event != NULL && a->is_announced &&
        worker_device_there(d->setup.worker, a->account->principal, d->setup.index, a->id, false) !=
            OK) {
        count_add(&d->setup.counters->dropped_memory, 1); /* the first command comes back */
    }
    while ((e = first_of(a)) != NULL) {
        if (!e->was_sent || command_may_repeat(e->ask.method)) {
            give_back(e);
        } else {
            end_ours(e, COAP_GATEWAY_TIMEOUT,
                     "the association ended before the answer; whether the device did it is not "
                     "known");
        }
    }
}

/* ---- time ---- */

uint64_t errands_deadline(const struct association *a)
{
    uint64_t at = UINT64_MAX;
    if (a->side == NULL) {
        return at;
    }
    list_for_each (n, &a->side->errands) {
        const struct errand *e = LIST_ENTRY(n, struct errand, node);
        at = e->note->deadline_ms < at ? e->note->deadline_ms : at;
    }
    return at;
}

void errands_expire(struct association *a)
{
    if (a->side == NULL) {
        return;
    }
    list_for_each_safe (n, next, &a->side->errands) {
        struct errand *e = LIST_ENTRY(n, struct errand, node);
        if (a->door->now_ms >= e->note->deadline_ms) {
            end_ours(e, COAP_GATEWAY_TIMEOUT,
                     e->was_sent
                         ? "the device did not answer in time; whether it did it is not known"
                         : "the device was not heard in time; it was not asked");
        }
    }
    errands_run(a);
}

/* ---- what the desk says ---- */

static void refuse_note(struct coap_door *d, struct command_note *n)
{
    n->step = COMMAND_BACK;
    n->msg = msg_unref(n->msg);
    worker_command_done(d->setup.worker, n);
}

enum err errand_fetch_links(struct association *a)
{
    struct sidework *side = association_side(a);
    struct errand *e = side != NULL ? mem_zalloc(sizeof(*e)) : NULL;
    if (e == NULL || command_note_new(COMMAND_SEND, (struct slice){0}, &e->note) != OK) {
        mem_free(e);
        return ERR_NOMEM;
    }
    e->a = a;
    e->is_for_links = true;
    e->note->deadline_ms = a->door->now_ms + FETCH_MS;
    list_append(&side->errands, &e->node);
    return OK;
}

/* Takes n. */
static void errand_add(struct association *a, struct command_note *n)
{
    const char *why;
    struct sidework *side = association_side(a);
    struct errand *e = side != NULL ? mem_zalloc(sizeof(*e)) : NULL;
    if (e == NULL || command_read(n->msg->topic, n->msg->props, &e->ask, &why) != OK) {
        count_add(&a->door->setup.counters->dropped_memory, 1); /* the desk answers in time */
        mem_free(e);
        command_note_free(n);
        return;
    }
    e->a = a;
    e->note = n;
    list_append(&side->errands, &e->node);
    errands_run(a);
}

static void recall(struct association *a, uint64_t id)
{
    if (a->side == NULL) {
        return;
    }
    list_for_each_safe (node, next, &a->side->errands) {
        struct errand *e = LIST_ENTRY(node, struct errand, node);
        if (!e->is_for_links && e->note->id == id &&
            (!e->was_sent || command_may_repeat(e->ask.method))) {
            give_back(e);
        }
    }
    errands_run(a);
}

void errands_turn(struct coap_door *d)
{
    struct command_note *n;
    while ((n = worker_next_command(d->setup.worker, d->setup.index)) != NULL) {
        struct association *a = association_find(d, n->association);
        if (n->step == COMMAND_RECALL) {
            if (a != NULL) {
                recall(a, n->id);
            }
            command_note_free(n);
        } else if (a == NULL) {
            refuse_note(d, n);
        } else {
            errand_add(a, n);
        }
        if (a != NULL) {
            association_serve(a);
        }
    }
}

/* The desk: commands for devices whose home is here, until each is answered. docs/ORDER.md rule 16.
 */
#include "base/mem.h"
#include "base/utf8.h"
#include "core/flow.h"
#include "service/broker/login_private.h"
#include "service/broker/outbox_private.h"
#include "service/broker/route_private.h"
#include "service/broker/worker_private.h"
#include "wire/coap/code.h"
#include "wire/mqtt/props.h"

/* What waits for a device. */
struct post {
    uint64_t device;
    struct list commands; /* oldest first */
    size_t n;
};

struct asker {
    uint64_t principal;
    size_t n;
};

struct command {
    uint64_t id;
    struct list_node in_post;
    struct timer timer;
    struct post *post;
    struct asker *asker;
    const struct msg *msg; /* owned reference */
    uint64_t deadline_ms;
    bool is_sent; /* to where: */
    unsigned worker, door;
    uint64_t association;
};

/* How a command ends. */
struct outcome {
    uint8_t code;
    uint16_t format;
    uint32_t segment;
    bool is_by_device;
    const char *why;
    struct slice payload;
};

static struct slice post_key(const void *value)
{
    const struct post *p = value;
    return slice_of(&p->device, sizeof(p->device));
}

static struct slice asker_key(const void *value)
{
    const struct asker *a = value;
    return slice_of(&a->principal, sizeof(a->principal));
}

static struct slice command_key(const void *value)
{
    const struct command *c = value;
    return slice_of(&c->id, sizeof(c->id));
}

void desk_init(struct desk *d, const struct siphash_key *key, uint64_t now_ms)
{
    spots_init(&d->spots, key);
    map_init(&d->posts, key, post_key);
    map_init(&d->askers, key, asker_key);
    map_init(&d->commands, key, command_key);
    wheel_init(&d->wheel, now_ms);
    list_init(&d->for_doors);
}

/* ---- notes ---- */

MUST_USE enum err command_note_new(enum command_step step, struct slice payload,
                                   struct command_note **ret)
{
    struct command_note *n = mem_zalloc(sizeof(*n) + payload.n);
    if (n == NULL) {
        return ERR_NOMEM;
    }
    n->step = step;
    n->format = UINT16_MAX;
    n->n = payload.n;
    slice_copy(n->payload, payload);
    *ret = n;
    return OK;
}

struct command_note *command_note_free(struct command_note *n)
{
    if (n != NULL) {
        list_unlink(&n->node);
        msg_unref(n->msg);
        mem_free(n);
    }
    return NULL;
}

/* Takes n. */
static enum err pass_note(struct worker *w, unsigned to, struct command_note *n)
{
    if (to == w->setup.index) {
        desk_take(w, n);
        return OK;
    }
    struct wmsg out = {.kind = WMSG_COMMAND, .note = n};
    enum err err = outbox_push(w, to, &out);
    if (err != OK) {
        count_add(&counts(w)->dropped_memory, 1);
        command_note_free(n);
    }
    return err;
}

/* ---- records ---- */

static struct post *post_find(const struct worker *w, uint64_t device)
{
    return map_find(&w->desk.posts, slice_of(&device, sizeof(device)));
}

static struct post *post_of(struct worker *w, uint64_t device)
{
    struct post *p = post_find(w, device);
    if (p != NULL) {
        return p;
    }
    p = mem_zalloc(sizeof(*p));
    if (p == NULL) {
        return NULL;
    }
    p->device = device;
    list_init(&p->commands);
    return map_add(&w->desk.posts, p) == OK ? p : mem_free(p);
}

static void post_fit(struct worker *w, struct post *p)
{
    if (p->n == 0) {
        (void)map_remove(&w->desk.posts, post_key(p));
        map_fit(&w->desk.posts);
        mem_free(p);
    }
}

static struct asker *asker_of(struct worker *w, uint64_t principal)
{
    struct asker *a = map_find(&w->desk.askers, slice_of(&principal, sizeof(principal)));
    if (a != NULL) {
        return a;
    }
    a = mem_zalloc(sizeof(*a));
    if (a == NULL) {
        return NULL;
    }
    a->principal = principal;
    return map_add(&w->desk.askers, a) == OK ? a : mem_free(a);
}

static void asker_fit(struct worker *w, struct asker *a)
{
    if (a->n == 0) {
        (void)map_remove(&w->desk.askers, asker_key(a));
        mem_free(a);
    }
}

static size_t command_cost(const struct msg *m)
{
    return sizeof(struct command) + COMMAND_AT_DOOR_BYTES + msg_cost(m);
}

static void command_free(struct worker *w, struct command *c)
{
    list_unlink(&c->in_post);
    wheel_cancel(&w->desk.wheel, &c->timer);
    (void)map_remove(&w->desk.commands, command_key(c));
    w->desk.bytes -= command_cost(c->msg);
    count_sub(&counts(w)->commands_waiting, 1);
    c->post->n--;
    post_fit(w, c->post);
    c->asker->n--;
    asker_fit(w, c->asker);
    msg_unref(c->msg);
    mem_free(c);
}

void desk_done(struct worker *w)
{
    struct desk *d = &w->desk;
    struct list_node *n;
    struct command *c;
    size_t at = 0;
    while ((c = map_next(&d->commands, &at)) != NULL) {
        command_free(w, c);
        at = 0;
    }
    while (d->for_doors.head.next != NULL && (n = list_first(&d->for_doors)) != NULL) {
        command_note_free(LIST_ENTRY(n, struct command_note, node));
    }
    spots_done(&d->spots);
    map_done(&d->posts);
    map_done(&d->askers);
    map_done(&d->commands);
}

/* ---- answers ---- */

static struct event event_about(struct worker *w, enum event_category category, const struct msg *m)
{
    struct event e = event_of(w, category, NULL);
    const struct directory_entry *entry = directory_find_id(w->realm->directory, m->publisher);
    EVENT_TEXT(&e, target, m->topic);
    if (entry != NULL) {
        EVENT_TEXT(&e, principal, slice_text(entry->principal->name));
    }
    return e;
}

/* Under the realm of now; false: it has lost a right that it needs, and that is said. */
static bool is_allowed(struct worker *w, const struct msg *m, const struct command_ask *ask)
{
    struct decision why = {.rule = "whoever asked is not active any more"};
    const struct grants *g = publisher_grants(w, m->publisher);
    if (g != NULL && command_allowed(g, ask, &why) == OK) {
        if (grants_publish(g, m->topic, m->qos, m->retain, &why) == OK) {
            return true;
        }
    }
    struct event e = event_about(w, EVENT_acl_deny, m);
    event_reason(&e, "a command: %s", why.rule);
    count_add(&counts(w)->commands_refused, 1);
    worker_report(w, &e);
    return false;
}

static void write_user(struct wr *w, const char *key, const char *value)
{
    mqtt_prop_write_user(w, slice_text(key), slice_text(value));
}

static bool is_text(const struct outcome *o)
{
    return (o->format == COAP_FORMAT_TEXT || o->format == COAP_FORMAT_JSON) &&
           utf8_check(o->payload, UTF8_MQTT, NULL) == OK;
}

static void write_props(const struct command_ask *ask, const struct outcome *o, struct wr *w)
{
    char text[16];
    const char *type = o->format != UINT16_MAX ? coap_format_name(o->format) : NULL;
    if (is_text(o)) {
        mqtt_prop_write_number(w, MQTT_PROP_PAYLOAD_FORMAT, 1);
    }
    if (type != NULL) {
        mqtt_prop_write_text(w, MQTT_PROP_CONTENT_TYPE, slice_text(type));
    }
    if (ask->correlation.n > 0) {
        mqtt_prop_write_text(w, MQTT_PROP_CORRELATION_DATA, ask->correlation);
    }
    snprintf(text, sizeof(text), "%u.%02u", o->code >> 5U & 7U, o->code & 31U);
    write_user(w, "coap-code", text);
    if (type == NULL && o->format != UINT16_MAX) {
        snprintf(text, sizeof(text), "%u", (unsigned)o->format);
        write_user(w, "coap-format", text);
    }
    if (o->why != NULL) {
        write_user(w, "coap-reason", o->why);
    }
}

static enum err make_answer(const struct command_ask *ask, const struct outcome *o,
                            struct msg **ret)
{
    enum { PROPS_BYTES = 512, PROPS_MAX = 128 * 1024 };
    AUTO(buf_done) struct buf props = {0};
    uint8_t *dst;
    size_t room = PROPS_BYTES + ask->correlation.n;
    TRY(buf_room(&props, room, PROPS_MAX, &dst));
    struct wr w = wr_into(dst, room);
    write_props(ask, o, &w);
    TRY(wr_done(&w, &props.n));
    return msg_new(ask->response_topic, buf_slice(&props), o->payload, ret);
}

/* An act on a device leaves a trace, whatever came of it. */
static void report_act(struct worker *w, const struct msg *m, const struct command_ask *ask,
                       const struct outcome *o)
{
    if (!command_changes(ask->method)) {
        return;
    }
    struct event e = event_about(w, EVENT_allow, m);
    event_reason(&e, "a command to %.*s: %u.%02u%s%s", SLICE_ARG(ask->device), o->code >> 5U & 7U,
                 o->code & 31U, o->why != NULL ? ", " : "", o->why != NULL ? o->why : "");
    worker_report(w, &e);
}

/* In the name of whoever asked, who may do so itself; in the segment of the device, when it was the
 * device that said it. */
static void answer(struct worker *w, const struct msg *m, const struct outcome *o)
{
    struct command_ask ask;
    struct route r = {.m = NULL};
    const char *why;
    if (command_read(m->topic, m->props, &ask, &why) != OK || !is_allowed(w, m, &ask)) {
        return;
    }
    report_act(w, m, &ask, o);
    count_add(o->is_by_device                   ? &counts(w)->commands_answered
              : o->code == COAP_GATEWAY_TIMEOUT ? &counts(w)->commands_timeout
                                                : &counts(w)->commands_failed,
              1);
    enum err err = make_answer(&ask, o, &r.m);
    if (err == OK) {
        r.m->qos = m->qos > 0 ? 1 : 0;
        r.m->is_utf8 = is_text(o);
        r.m->content_format = o->format;
        r.m->publisher = m->publisher;
        r.m->segment = o->is_by_device ? o->segment : m->segment;
        r.m->epoch = w->realm->epoch;
        err = publish_route(w, &r);
    }
    if (err == ERR_SPACE || err == ERR_IO) {
        report_store(w, NULL, ask.response_topic, err, "the answer of a command");
    } else if (err != OK) {
        count_add(&counts(w)->dropped_memory, 1);
    }
}

static void answer_ours(struct worker *w, const struct msg *m, uint8_t code, const char *why)
{
    struct outcome o = {.code = code, .format = UINT16_MAX, .why = why};
    answer(w, m, &o);
}

/* A bound was reached. */
static void refuse(struct worker *w, const struct msg *m, uint8_t code, const char *why)
{
    struct event e = event_about(w, EVENT_quota, m);
    event_reason(&e, "a command: %s", why);
    count_add(&counts(w)->refused_quota, 1);
    worker_report(w, &e);
    answer_ours(w, m, code, why);
}

/* ---- to the door ---- */

static enum err send_note(struct worker *w, const struct command *c, enum command_step step)
{
    struct command_note *n = NULL;
    TRY(command_note_new(step, (struct slice){0}, &n));
    n->device = c->post->device;
    n->id = c->id;
    n->desk = w->setup.index;
    n->worker = c->worker;
    n->door = c->door;
    n->association = c->association;
    n->deadline_ms = c->deadline_ms;
    n->msg = step == COMMAND_SEND ? msg_ref(c->msg) : NULL;
    return pass_note(w, c->worker, n);
}

static void end(struct worker *w, struct command *c, const struct outcome *o)
{
    const struct msg *m = msg_ref(c->msg);
    command_free(w, c); /* before its answer: the next one has its place */
    answer(w, m, o);
    msg_unref(m);
}

static void end_ours(struct worker *w, struct command *c, uint8_t code, const char *why)
{
    struct outcome o = {.code = code, .format = UINT16_MAX, .why = why};
    end(w, c, &o);
}

/* What waits goes to where the device is now; who asked must still have the right. */
static void send(struct worker *w, struct command *c, const struct spot *p)
{
    struct command_ask ask;
    const char *why;
    if (command_read(c->msg->topic, c->msg->props, &ask, &why) != OK ||
        !is_allowed(w, c->msg, &ask)) {
        command_free(w, c);
        return;
    }
    c->worker = p->worker;
    c->door = p->door;
    c->association = p->association;
    c->is_sent = true;
    if (send_note(w, c, COMMAND_SEND) != OK) {
        end_ours(w, c, COAP_UNAVAILABLE, "there is no memory for it now; ask again later");
    }
}

/* ---- what comes to the desk ---- */

static const char *bound_reached(struct worker *w, const struct post *p, const struct asker *a,
                                 const struct msg *m, uint8_t *ret_code)
{
    const struct limits *l = w->setup.limits;
    *ret_code = COAP_UNAVAILABLE;
    if (a->n >= l->commands_per_asker) {
        *ret_code = COAP_TOO_MANY_REQUESTS;
        count_limit(counts(w), LIMIT_commands_per_asker);
        return "too many of your commands wait for their answers (commands_per_asker)";
    }
    if (p->n >= l->commands_per_device) {
        count_limit(counts(w), LIMIT_commands_per_device);
        return "too many commands wait for this device (commands_per_device)";
    }
    if (w->desk.bytes + command_cost(m) > l->command_bytes / w->setup.n_workers) {
        count_limit(counts(w), LIMIT_command_bytes);
        return "the server keeps all commands that it may (command_bytes)";
    }
    return NULL;
}

static struct command *command_new(struct worker *w, struct post *p, struct asker *a,
                                   const struct msg *m)
{
    uint64_t longest_ms = (uint64_t)w->setup.limits->command_seconds * 1000;
    struct command *c = mem_zalloc(sizeof(*c));
    if (c == NULL) {
        return NULL;
    }
    c->id = ++w->desk.next_id;
    if (map_add(&w->desk.commands, c) != OK) {
        return mem_free(c);
    }
    c->post = p;
    c->asker = a;
    c->msg = msg_ref(m);
    c->deadline_ms = w->now_ms + longest_ms;
    if (m->expires_at_ms < c->deadline_ms) {
        c->deadline_ms = m->expires_at_ms;
    }
    list_append(&p->commands, &c->in_post);
    p->n++;
    a->n++;
    w->desk.bytes += command_cost(m);
    count_add(&counts(w)->commands_waiting, 1);
    wheel_arm(&w->desk.wheel, &c->timer, c->deadline_ms);
    return c;
}

static void take_ask(struct worker *w, const struct command_note *n)
{
    struct post *p = post_of(w, n->device);
    struct asker *a = p != NULL ? asker_of(w, n->msg->publisher) : NULL;
    uint8_t code = COAP_UNAVAILABLE;
    const char *why = a != NULL ? bound_reached(w, p, a, n->msg, &code) : NULL;
    struct command *c = a != NULL && why == NULL ? command_new(w, p, a, n->msg) : NULL;
    const struct spot *spot = spot_find(&w->desk.spots, n->device);
    if (c != NULL && spot != NULL) {
        send(w, c, spot);
    }
    if (c != NULL) {
        return;
    }
    if (a != NULL) {
        asker_fit(w, a);
    }
    if (p != NULL) {
        post_fit(w, p);
    }
    if (why != NULL) {
        refuse(w, n->msg, code, why);
    } else {
        count_add(&counts(w)->dropped_memory, 1);
    }
}

static bool is_at(const struct spot *p, const struct command_note *n)
{
    return p != NULL && p->worker == n->worker && p->door == n->door &&
           p->association == n->association;
}

/* What was not sent is sent; what is elsewhere comes back, where that is safe, and follows. */
static void take_there(struct worker *w, const struct command_note *n)
{
    const struct post *waiting = post_find(w, n->device);
    bool is_new = !is_at(spot_find(&w->desk.spots, n->device), n);
    struct spot *p = spot_of(&w->desk.spots, n->device);
    if (p == NULL) {
        count_add(&counts(w)->dropped_memory, 1); /* it is said again in a minute */
        return;
    }
    p->worker = (uint16_t)n->worker;
    p->door = (uint16_t)n->door;
    p->association = n->association;
    size_t left = waiting != NULL ? waiting->n : 0; /* with the last one its post goes */
    struct list_node *node = left > 0 ? list_first(&waiting->commands) : NULL;
    for (struct list_node *next; left > 0; left--, node = next) {
        next = node->next;
        struct command *c = LIST_ENTRY(node, struct command, in_post);
        if (!c->is_sent) {
            send(w, c, p);
        } else if (is_new && send_note(w, c, COMMAND_RECALL) != OK) {
            count_add(&counts(w)->dropped_memory, 1); /* it ends where it is */
        }
    }
}

static void take_gone(struct worker *w, const struct command_note *n)
{
    struct spot *p = spot_find(&w->desk.spots, n->device);
    if (is_at(p, n)) {
        spot_drop(&w->desk.spots, p);
    }
}

static void take_back(struct worker *w, struct command *c, const struct command_note *n)
{
    struct spot *p = spot_find(&w->desk.spots, c->post->device);
    c->is_sent = false;
    if (is_at(p, n)) {
        spot_drop(&w->desk.spots, p); /* it came back from there: there is nobody */
    } else if (p != NULL) {
        send(w, c, p);
    }
}

void desk_take(struct worker *w, struct command_note *n)
{
    struct command *c = map_find(&w->desk.commands, slice_of(&n->id, sizeof(n->id)));
    switch (n->step) {
    case COMMAND_ASK:
        take_ask(w, n);
        break;
    case COMMAND_THERE:
        take_there(w, n);
        break;
    case COMMAND_GONE:
        take_gone(w, n);
        break;
    case COMMAND_BACK:
        if (c != NULL) {
            take_back(w, c, n);
        }
        break;
    case COMMAND_ANSWER:
        if (c != NULL) {
            struct outcome o = {.code = n->code,
                                .format = n->format,
                                .segment = n->segment,
                                .is_by_device = n->is_by_device,
                                .why = n->why,
                                .payload = slice_of(n->payload, n->n)};
            end(w, c, &o);
        }
        break;
    case COMMAND_SEND:
    case COMMAND_RECALL:
        list_append(&w->desk.for_doors, &n->node);
        return; /* its door frees it */
    }
    command_note_free(n);
}

/* ---- time ---- */

static void command_due(struct worker *w, struct command *c)
{
    if (c->is_sent && w->now_ms < c->deadline_ms + COMMAND_GRACE_MS) {
        wheel_arm(&w->desk.wheel, &c->timer, c->deadline_ms + COMMAND_GRACE_MS);
    } else if (c->is_sent) {
        end_ours(w, c, COAP_GATEWAY_TIMEOUT,
                 "the device did not answer in time; whether it did it is not known");
    } else {
        end_ours(w, c, COAP_GATEWAY_TIMEOUT,
                 "the device is not connected by CoAP, and did not come in time; it was "
                 "not asked");
    }
}

void desk_turn(struct worker *w)
{
    struct timer *t;
    wheel_advance(&w->desk.wheel, w->now_ms);
    while ((t = wheel_next(&w->desk.wheel)) != NULL) {
        command_due(w, CONTAINER_OF(t, struct command, timer));
    }
}

uint64_t desk_deadline(const struct worker *w)
{
    return list_is_empty(&w->desk.for_doors) ? wheel_deadline(&w->desk.wheel) : w->now_ms;
}

/* ---- from who asks ---- */

MUST_USE enum err desk_check(const struct account *a, struct slice topic, struct slice props,
                             bool retain, struct decision *ret)
{
    if (!command_is(topic)) {
        return OK;
    }
    struct command_ask ask;
    const char *why = NULL;
    if (a->principal->id >> 63 != 0) {
        why = "a command is asked by somebody with a name: log in";
    } else if (retain) {
        why = "a command is not retained: it would be given once, and shown for ever";
    } else if (command_read(topic, props, &ask, &why) == OK) {
        return command_allowed(&a->grants, &ask, ret);
    }
    ret->err = ERR_DENIED;
    snprintf(ret->rule, sizeof(ret->rule), "%s", why);
    return ERR_DENIED;
}

void desk_offer(struct worker *w, const struct msg *m)
{
    if (!command_is(m->topic)) {
        return;
    }
    struct command_ask ask;
    const char *why = NULL;
    struct command_note *n = NULL;
    if (m->retain || command_read(m->topic, m->props, &ask, &why) != OK) {
        struct event e = event_about(w, EVENT_acl_deny, m); /* a will: others were told before */
        event_reason(&e, "%s",
                     why != NULL ? why : "a command is not retained: publish it without retain");
        worker_report(w, &e);
        return;
    }
    const struct directory_entry *entry = directory_find(w->realm->directory, ask.device);
    if (entry == NULL || entry->principal->status != PRINCIPAL_ACTIVE) {
        answer_ours(w, m, COAP_NOT_FOUND, "no device in force has this name");
        return;
    }
    if (command_note_new(COMMAND_ASK, (struct slice){0}, &n) != OK) {
        count_add(&counts(w)->dropped_memory, 1);
        return;
    }
    n->device = entry->principal->id;
    n->msg = msg_ref(m);
    (void)pass_note(w, home_of(w, entry->principal, (struct slice){0}, false), n);
}

/* ---- for doors ---- */

MUST_USE enum err worker_device_there(struct worker *w, const struct principal *device,
                                      unsigned door, uint64_t association, bool is_there)
{
    struct command_note *n = NULL;
    TRY(command_note_new(is_there ? COMMAND_THERE : COMMAND_GONE, (struct slice){0}, &n));
    n->device = device->id;
    n->worker = w->setup.index;
    n->door = door;
    n->association = association;
    return pass_note(w, home_of(w, device, (struct slice){0}, false), n);
}

struct command_note *worker_next_command(struct worker *w, unsigned door)
{
    list_for_each (node, &w->desk.for_doors) {
        struct command_note *n = LIST_ENTRY(node, struct command_note, node);
        if (n->door == door) {
            list_unlink(node);
            return n;
        }
    }
    return NULL;
}

void worker_command_done(struct worker *w, struct command_note *n)
{
    (void)pass_note(w, n->desk, n);
}

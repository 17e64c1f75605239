/* The turns of a worker thread. */
#include "service/broker/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/held_port.h"
#include "service/broker/driver_private.h"
#include "service/broker/enrolment.h"

/* ---- listeners ---- */

static void accepted(void *ctx, int fd, const struct net_peer *peer)
{
    struct door *door = ctx;
    if (!perimeter_admits(&door->post, peer, door->driver->now_ms)) {
        (void)close(fd);
        return;
    }
    admit_come(door->driver, door->entrance, fd, peer);
}

/* This worker's socket of an entrance. */
static int own_fd(const struct driver *d, const struct driver_entrance *e)
{
    return e->fds[d->index < e->n_fds ? d->index : 0];
}

static enum err door_open(struct door *door)
{
    struct driver *d = door->driver;
    int fd = fcntl(own_fd(d, door->entrance), F_DUPFD_CLOEXEC, 3);
    if (fd < 0) {
        return ERR_IO;
    }
    struct listener_handler handler = {.ctx = door, .accepted = accepted};
    return listener_new(fd, d->loop, &d->setup.clock, &handler, &door->listener);
}

/* A plain port is held and closed; it listens only while an exception names it. One driver
 * serves those. */
static void door_follow_exceptions(struct door *door)
{
    struct driver *d = door->driver;
    const struct entrance *e = &door->entrance->entrance;
    if (!e->is_plain || d->index != 0) {
        return;
    }
    int64_t wall_ms = d->setup.clock.wall_ms(d->setup.clock.ctx);
    bool open = directory_exception_find(worker_realm(d->worker)->directory, slice_text(e->name),
                                         DIRECTORY_ALLOW_PLAINTEXT, wall_ms) != NULL;
    if (open && door->listener == NULL) {
        if (held_port_open(own_fd(d, door->entrance)) != OK || door_open(door) != OK) {
            door->listener = NULL; /* the next change of the realm tries again */
        }
    } else if (!open && door->listener != NULL) {
        door->listener = listener_free(door->listener);
        held_port_close(own_fd(d, door->entrance));
    }
}

static void hear_others(struct driver *d);

/* ---- datagrams ---- */

static void port_ready(struct loop_source *s, uint32_t events)
{
    struct port *p = (struct port *)(void *)s;
    const struct udp_datagram *datagrams;
    size_t n = 0;
    (void)events;
    count_add(&p->driver->counters->reads, 1);
    if (udp_recv(p->udp, &datagrams, &n) != OK) {
        return;
    }
    hear_others(p->driver);
    for (size_t i = 0; i < n; i++) {
        const struct udp_datagram *d = &datagrams[i];
        if (!perimeter_admits(&p->post, &d->peer, p->driver->now_ms)) {
            continue;
        }
        if (d->is_for_group) {
            coap_door_group(p->door, &d->peer, d->bytes, p->driver->now_ms);
        } else {
            coap_door_datagram(p->door, &d->peer, d->bytes, p->driver->now_ms);
        }
    }
}

static void port_transmit(void *ctx, const struct net_peer *to, struct slice datagram)
{
    struct port *p = ctx;
    enum err ignored = udp_send(p->udp, to, datagram); /* lost, as on any network */
    (void)ignored;
}

static void on_event(void *ctx, const struct event *e)
{
    struct driver *d = ctx;
    d->setup.event(d->setup.ctx, d->index, e);
}

static bool on_sample(void *ctx, const struct detect_sample *s)
{
    struct driver *d = ctx;
    return d->setup.sample(d->setup.ctx, d->index, s);
}

static void port_event(void *ctx, const struct event *e)
{
    struct port *p = ctx;
    on_event(p->driver, e);
}

static enum err port_dtls(void *ctx, const struct dtls_handler *handler, struct dtls **ret)
{
    struct port *p = ctx;
    char text[TLS_TEXT_BYTES];
    return dtls_server_openssl(p->entrance->dtls, handler, text, ret);
}

static bool port_admit(void *ctx, const struct net_peer *peer)
{
    struct port *p = ctx;
    return admit_knock_dtls(p->driver, p->entrance, peer);
}

static void port_known(void *ctx, const struct net_peer *peer)
{
    struct port *p = ctx;
    admit_known_dtls(p->driver, peer);
}

static void asking_ready(struct loop_source *s, uint32_t events)
{
    struct port *p = CONTAINER_OF(s, struct port, asking_source);
    const struct udp_datagram *datagrams;
    size_t n = 0;
    (void)events;
    count_add(&p->driver->counters->reads, 1);
    if (udp_recv(p->asking, &datagrams, &n) != OK) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        coap_door_upstream(p->door, &datagrams[i].peer, datagrams[i].bytes, p->driver->now_ms);
    }
}

static void port_ask(void *ctx, const struct net_peer *to, struct slice datagram)
{
    struct port *p = ctx;
    enum err ignored = udp_send(p->asking, to, datagram); /* lost, as on any network */
    (void)ignored;
}

/* The socket for other servers, where there is one. */
static enum err asking_open(struct port *p)
{
    const struct driver *d = p->driver;
    if (p->entrance->ask_fds == NULL) {
        return OK;
    }
    int fd = fcntl(p->entrance->ask_fds[d->index], F_DUPFD_CLOEXEC, 3);
    if (fd < 0) {
        return ERR_IO;
    }
    TRY(udp_new(fd, &p->asking));
    p->asking_source.fd = udp_fd(p->asking);
    p->asking_source.ready = asking_ready;
    return loop_add(d->loop, &p->asking_source, EPOLLIN);
}

static enum err port_enrol(void *ctx, struct enrolment *e)
{
    const struct port *p = ctx;
    const struct driver *d = p->driver;
    if (d->setup.enrol == NULL) {
        enrolment_free(e);
        return ERR_UNSUPPORTED;
    }
    return d->setup.enrol(d->setup.ctx, e);
}

static enum err port_open_door(struct port *p, const struct worker_setup *worker)
{
    struct driver *d = p->driver;
    struct coap_door_setup setup = {.worker = d->worker,
                                    .index = (unsigned)(p - d->ports),
                                    .entrance = &p->entrance->entrance,
                                    .limits = worker->limits,
                                    .key = worker->key,
                                    .random = worker->random,
                                    .counters = d->counters,
                                    .ctx = p,
                                    .open = port_dtls,
                                    .transmit = port_transmit,
                                    .admit = port_admit,
                                    .known = port_known,
                                    .event = port_event,
                                    .ask = p->asking != NULL ? port_ask : NULL,
                                    .enrol = port_enrol,
                                    .certificate = link_certificate,
                                    .proxy = p->entrance->proxy};
    return coap_door_new(&setup, d->now_ms, d->setup.clock.wall_ms(d->setup.clock.ctx), &p->door);
}

static enum err port_open(struct port *p, const struct worker_setup *worker)
{
    struct driver *d = p->driver;
    int fd = fcntl(own_fd(d, p->entrance), F_DUPFD_CLOEXEC, 3);
    if (fd < 0) {
        return ERR_IO;
    }
    TRY(udp_new(fd, &p->udp));
    if (p->entrance->entrance.hears_groups) {
        udp_hear_groups(p->udp);
    }
    TRY(asking_open(p));
    TRY(port_open_door(p, worker));
    p->source.fd = udp_fd(p->udp);
    p->source.ready = port_ready;
    return loop_add(d->loop, &p->source, EPOLLIN);
}

/* ---- life ---- */

static enum err on_verify(void *ctx, struct verified *v)
{
    struct driver *d = ctx;
    return d->setup.verify(d->setup.ctx, v);
}

static enum err on_read(void *ctx, struct reading *r)
{
    struct driver *d = ctx;
    return d->setup.read(d->setup.ctx, r);
}

static enum err on_renew(void *ctx, struct renewal *r)
{
    struct driver *d = ctx;
    return d->setup.renew(d->setup.ctx, r);
}

static struct perimeter_post post_at(struct driver *d, const struct driver_entrance *e)
{
    return (struct perimeter_post){.perimeter = e->perimeter,
                                   .entrance = &e->entrance,
                                   .counters = d->counters,
                                   .ctx = d,
                                   .event = on_event};
}

/* What was counted and said is the listener's, whatever its networks are. */
static void post_follow(struct perimeter_post *post, const struct driver_entrance *e)
{
    post->perimeter = e->perimeter;
    post->entrance = &e->entrance;
}

const struct driver_entrance *driver_entrance_at(const struct driver *d, unsigned index)
{
    return d->edition != NULL ? &d->edition->entrances[index] : &d->setup.entrances[index];
}

bool door_admits(struct driver *d, unsigned index, const struct net_peer *peer)
{
    for (size_t i = 0; i < d->n_doors; i++) {
        if (d->doors[i].entrance->entrance.index == index) {
            return perimeter_admits(&d->doors[i].post, peer, d->now_ms);
        }
    }
    return false;
}

static enum err open_entrances(struct driver *d, const struct worker_setup *worker)
{
    d->doors = mem_array(d->setup.n_entrances, sizeof(*d->doors));
    d->ports = mem_array(d->setup.n_entrances, sizeof(*d->ports));
    if (d->doors == NULL || d->ports == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < d->setup.n_entrances; i++) {
        const struct driver_entrance *e = &d->setup.entrances[i];
        if (e->is_udp || e->entrance.is_stream) {
            struct port *p = &d->ports[d->n_ports++];
            p->driver = d;
            p->entrance = e;
            p->post = post_at(d, e);
            TRY(e->is_udp ? port_open(p, worker) : port_open_door(p, worker));
        }
        if (!e->is_udp) {
            struct door *door = &d->doors[d->n_doors++];
            *door = (struct door){.driver = d, .entrance = e, .post = post_at(d, e)};
            if (!e->entrance.is_plain) {
                TRY(door_open(door));
            } else if (d->index == 0) {
                held_port_close(own_fd(d, e)); /* a broker that died may have left it open */
            }
            door_follow_exceptions(door);
        }
    }
    return http_ports_open(d, worker);
}

static enum err driver_init(struct driver *d, const struct worker_setup *setup)
{
    struct worker_setup own = *setup;
    own.driver = (struct worker_driver){.ctx = d,
                                        .depart = link_depart,
                                        .arrive = link_arrive,
                                        .discard = link_discard,
                                        .verify = on_verify,
                                        .read = d->setup.read != NULL ? on_read : NULL,
                                        .renew = d->setup.renew != NULL ? on_renew : NULL,
                                        .certificate = link_certificate,
                                        .event = on_event,
                                        .sample = d->setup.sample != NULL ? on_sample : NULL};
    d->index = setup->index;
    d->journal = setup->journal;
    d->counters = setup->counters;
    d->is_paced = setup->n_workers > 1;
    d->now_ms = d->setup.clock.mono_ms(d->setup.clock.ctx);
    d->seen_epoch = setup->realm->epoch;
    d->lending.least = LENDING_LEAST;
    list_init(&d->lingering);
    tickets_init(d);
    TRY(loop_new(&d->loop));
    TRY(stream_io_new(&d->io));
    TRY(admit_init(d, setup));
    TRY(worker_new(&own, d->now_ms, d->setup.clock.wall_ms(d->setup.clock.ctx), &d->worker));
    return open_entrances(d, setup);
}

MUST_USE enum err driver_new(const struct driver_setup *setup, const struct worker_setup *worker,
                             struct driver **ret)
{
    struct driver *d = mem_zalloc(sizeof(*d));
    if (d == NULL) {
        return ERR_NOMEM;
    }
    d->setup = *setup;
    d->edition = edition_ref(setup->edition);
    atomic_init(&d->edition_number, d->edition != NULL ? d->edition->number : 0);
    enum err err = driver_init(d, worker);
    if (err != OK) {
        driver_free(d);
        return err;
    }
    *ret = d;
    return OK;
}

static void links_free(struct driver *d)
{
    uint64_t at = 0, conn;
    while (d->worker != NULL && (conn = worker_next_conn(d->worker, &at)) != 0) {
        struct link *l = worker_transport(d->worker, conn);
        worker_gone(d->worker, conn, "the server stopped", d->now_ms);
        link_free(l);
    }
    struct coap_stream *s;
    for (size_t i = 0; i < d->n_ports; i++) {
        struct coap_door *door = d->ports[i].door;
        while (door != NULL && (s = coap_door_any_stream(door)) != NULL) {
            struct link *l = coap_stream_transport(s);
            party_gone(l, "the server stopped");
            link_free(l);
        }
    }
    http_ports_free(d);
    struct list_node *n;
    while (d->lingering.head.next != NULL && (n = list_first(&d->lingering)) != NULL) {
        link_free(LIST_ENTRY(n, struct link, waiting));
    }
}

struct driver *driver_free(struct driver *d)
{
    if (d == NULL) {
        return NULL;
    }
    links_free(d);
    if (d->worker != NULL) {
        journal_handover(d->journal, true); /* that they sleep now */
    }
    for (size_t i = 0; i < d->n_doors; i++) {
        listener_free(d->doors[i].listener);
    }
    for (size_t i = 0; i < d->n_ports; i++) {
        if (d->ports[i].source.ready != NULL) {
            loop_remove(d->loop, &d->ports[i].source);
        }
        if (d->ports[i].asking_source.ready != NULL) {
            loop_remove(d->loop, &d->ports[i].asking_source);
        }
        coap_door_free(d->ports[i].door);
        udp_free(d->ports[i].udp);
        udp_free(d->ports[i].asking);
    }
    worker_free(d->worker);
    admit_done(d);
    stream_io_free(d->io);
    loop_free(d->loop);
    edition_unref(d->edition);
    mem_free(d->doors);
    mem_free(d->ports);
    mem_free(d);
    return NULL;
}

/* ---- turns ---- */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t driver_deadline(const struct driver *d)
{
    uint64_t at = least(worker_deadline(d->worker), admit_deadline(d));
    at = d->follow_at_ms != 0 ? least(at, d->follow_at_ms) : at;
    at = least(at, tickets_deadline(d));
    for (size_t i = 0; i < d->n_doors; i++) {
        if (d->doors[i].listener != NULL) {
            at = least(at, listener_deadline(d->doors[i].listener));
        }
    }
    for (size_t i = 0; i < d->n_ports; i++) {
        at = least(at, coap_door_deadline(d->ports[i].door));
    }
    at = least(at, http_ports_deadline(d));
    if (!list_is_empty(&d->lingering)) {
        at = least(at, LIST_ENTRY(list_first(&d->lingering), struct link, waiting)->waiting_to_ms);
    }
    return at;
}

static void follow_realm(struct driver *d)
{
    if (worker_realm(d->worker)->epoch == d->seen_epoch) {
        return;
    }
    d->seen_epoch = worker_realm(d->worker)->epoch;
    for (size_t i = 0; i < d->n_doors; i++) {
        door_follow_exceptions(&d->doors[i]);
    }
}

/* All of it was tried before it came: it is memory. */
static void tell_not_followed(struct driver *d, enum err err)
{
    struct event e = event_make(EVENT_config_reject);
    e.severity = SEVERITY_ALERT;
    e.wall_ms = d->setup.clock.wall_ms(d->setup.clock.ctx);
    event_reason(&e,
                 "worker %u cannot take what was reloaded (%s): it lets clients in as before and "
                 "tries again by itself. Look at `sallyport status` for what fills the memory",
                 d->index, err_name(err));
    d->setup.event(d->setup.ctx, d->index, &e);
}

/* What may fail, before anything else is changed. */
static enum err follow_first(struct driver *d, const struct edition *now)
{
    TRY(admit_follow(d, &now->limits));
    for (size_t i = 0; i < d->n_ports; i++) {
        const struct driver_entrance *e = &now->entrances[d->ports[i].entrance->entrance.index];
        if (e->dtls != NULL) { /* else it is OSCORE's */
            TRY(coap_door_renew(d->ports[i].door, &e->entrance, e->dtls));
        }
    }
    return OK;
}

/* Doors and ports are of the edition's entrances in order, each at its index. What was let in by
 * the old ones keeps them. */
static void follow_edition(struct driver *d)
{
    const struct edition *now = worker_edition(d->worker);
    if (now == NULL || now == d->edition || d->now_ms < d->follow_at_ms) {
        return;
    }
    enum err err = follow_first(d, now);
    if (err != OK) {
        if (d->follow_at_ms == 0) {
            tell_not_followed(d, err);
        }
        d->follow_at_ms = d->now_ms + FOLLOW_AGAIN_MS;
        return;
    }
    d->follow_at_ms = 0;
    for (size_t i = 0; i < d->n_doors; i++) {
        struct door *door = &d->doors[i];
        door->entrance = &now->entrances[door->entrance->entrance.index];
        post_follow(&door->post, door->entrance);
    }
    for (size_t i = 0; i < d->n_ports; i++) {
        struct port *p = &d->ports[i];
        p->entrance = &now->entrances[p->entrance->entrance.index];
        post_follow(&p->post, p->entrance);
        coap_door_follow(p->door, &p->entrance->entrance, &now->limits, p->entrance->proxy);
    }
    http_ports_follow(d, now);
    edition_unref(d->edition);
    d->edition = edition_ref(now);
    atomic_store_explicit(&d->edition_number, now->number, memory_order_release);
}

/* What others have sent is taken before what was read: who asks here behind an answer of another
 * worker finds what that answer said. A realm or edition among it is in force at once. */
static void hear_others(struct driver *d)
{
    worker_hear(d->worker);
    follow_realm(d);
    follow_edition(d);
}

/* Until then nothing is written but what needs no dirty pass. */
static bool is_resting(struct driver *d)
{
    bool may_rest = d->is_paced && worker_is_light(d->worker) && !worker_is_draining(d->worker);
    uint64_t until = may_rest ? pace_rest(&d->pace, d->now_ms, worker_n_wide(d->worker)) : 0;
    worker_rest(d->worker, until);
    return until > d->now_ms;
}

/* Of a large fan-out a part, as long as little comes: what comes meanwhile joins in one send what
 * the rest still waits for, and who was first is behind the last again. */
static void pump_links(struct driver *d, unsigned most)
{
    uint64_t conn = 0;
    for (unsigned n = 0; (n < most && !is_resting(d)) || !worker_is_light(d->worker); n++) {
        conn = worker_next_dirty(d->worker);
        if (conn == 0) {
            break;
        }
        link_pump(worker_transport(d->worker, conn));
    }
}

static void pump_dirty(struct driver *d)
{
    pump_links(d, PUMP_TURN);
    struct coap_stream *s;
    for (size_t i = 0; i < d->n_ports; i++) {
        while ((s = coap_door_next_dirty(d->ports[i].door)) != NULL) {
            link_pump(coap_stream_transport(s));
        }
    }
    http_ports_pump(d);
}

/* DTLS has no close that a client must see; draining the door closes its associations. */
static void drain_ports(struct driver *d)
{
    for (size_t i = 0; worker_is_draining(d->worker) && i < d->n_ports; i++) {
        coap_door_drain(d->ports[i].door, d->now_ms);
    }
}

static void wake_others(struct driver *d)
{
    uint64_t wakes = worker_take_wakes(d->worker);
    if (wakes != 0) {
        d->setup.wake(d->setup.ctx, wakes);
    }
}

/* Large messages leave before more of them are read. What came alone leaves at once: the rest of
 * the turn has nothing that could join it, unless its journal or others have news. */
static void serve(struct driver *d)
{
    d->is_lone = loop_is_lone(d->loop) && worker_is_calm(d->worker);
    while (loop_serve_one(d->loop)) {
        if (worker_is_full(d->worker)) {
            wake_others(d);
            pump_dirty(d);
        }
    }
    if (d->is_lone) {
        worker_handover(d->worker);
        wake_others(d);
        pump_links(d, PUMP_LONE);
        d->is_lone = false;
    }
    if (d->glanced != NULL) {
        stream_settle(link_stream(d->glanced));
        d->glanced = NULL;
    }
}

static void driver_turn(struct driver *d)
{
    if (loop_wait(d->loop, loop_timeout(d->ended_ms, driver_deadline(d))) != OK) {
        return;
    }
    uint64_t start_us = d->setup.clock.mono_us(d->setup.clock.ctx);
    d->now_ms = clock_ms(start_us);
    stream_io_now(d->io, d->now_ms);
    int64_t wall_ms = d->setup.clock.wall_ms(d->setup.clock.ctx);
    worker_set_time(d->worker, d->now_ms, wall_ms);
    for (size_t i = 0; i < d->n_ports; i++) {
        coap_door_set_time(d->ports[i].door, wall_ms);
    }
    hear_others(d);
    serve(d);
    worker_turn(d->worker, d->now_ms, wall_ms);
    wake_others(d); /* they work while this one writes to its sockets */
    follow_realm(d);
    follow_edition(d);
    drain_ports(d);
    for (size_t i = 0; i < d->n_ports; i++) {
        coap_door_turn(d->ports[i].door, d->now_ms, wall_ms);
    }
    http_ports_turn(d, wall_ms);
    pump_dirty(d);
    for (size_t i = 0; i < d->n_ports; i++) {
        if (d->ports[i].udp != NULL) {
            udp_flush(d->ports[i].udp);
        }
        if (d->ports[i].asking != NULL) {
            udp_flush(d->ports[i].asking);
        }
    }
    worker_handover(d->worker); /* what sending and closing recorded */
    wake_others(d);
    admit_turn(d); /* live connections never wait for strangers */
    pump_dirty(d);
    tickets_turn(d);
    for (size_t i = 0; i < d->n_doors; i++) {
        if (d->doors[i].listener != NULL) {
            listener_tick(d->doors[i].listener, d->now_ms);
        }
    }
    link_lingering_tick(d);
    worker_handover(d->worker);
    wake_others(d);
    atomic_store_explicit(&d->is_drained, worker_is_drained(d->worker), memory_order_release);
    uint64_t end_us = d->setup.clock.mono_us(d->setup.clock.ctx);
    uint64_t turn_us = end_us - start_us;
    d->ended_ms = clock_ms(end_us);
    admit_measured(d, turn_us);
    count_add(&d->counters->turn_us, turn_us);
    turn_time_add(&d->counters->turn_time, turn_us);
}

void driver_run(struct driver *d)
{
    const struct ceiling *c = d->setup.ceiling;
    d->ended_ms = d->setup.clock.mono_ms(d->setup.clock.ctx);
    while (!atomic_load_explicit(&d->is_stopping, memory_order_acquire)) {
        mem_limit(c != NULL ? ceiling_heap_most(c) : 0); /* a reload may have moved it */
        driver_turn(d);
    }
    mem_limit(0);
}

void driver_wake(struct driver *d)
{
    loop_wake(d->loop);
}

void driver_stop(struct driver *d)
{
    atomic_store_explicit(&d->is_stopping, true, memory_order_release);
    loop_wake(d->loop);
}

bool driver_is_drained(const struct driver *d)
{
    return atomic_load_explicit(&d->is_drained, memory_order_acquire);
}

struct worker *driver_worker(struct driver *d)
{
    return d->worker;
}

uint64_t driver_realm_epoch(const struct driver *d)
{
    return worker_realm_epoch(d->worker);
}

uint64_t driver_edition(const struct driver *d)
{
    return atomic_load_explicit(&d->edition_number, memory_order_acquire);
}

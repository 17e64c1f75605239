/* Birth and end of a simulated broker: directory on a disk in memory, realm, rings, workers. */
#include "base/mem.h"
#include "security/password/password.h"
#include "sim.h"
#include "sim_disk.h"

static enum err must(struct sim *s, enum err err, const char *what)
{
    if (err != OK) {
        sim_fail(s, "-", "cannot set up: %s: %s", what, err_name(err));
    }
    return err;
}

/* ---- what a worker asks of its driver ---- */

static void driver_depart(void *ctx, void *transport)
{
    struct sim_worker *w = ctx;
    struct sim_link *l = transport;
    sim_say(w->sim, "worker", "%u: hands link %u over", w->index, l->id);
    l->worker = -1;
}

static enum err driver_arrive(void *ctx, void *transport, uint64_t conn)
{
    struct sim_worker *w = ctx;
    struct sim_link *l = transport;
    sim_say(w->sim, "worker", "%u: takes link %u", w->index, l->id);
    l->worker = (int)w->index;
    l->conn = conn;
    return OK;
}

static void driver_discard(void *ctx, void *transport)
{
    struct sim_worker *w = ctx;
    struct sim_link *l = transport;
    sim_say(w->sim, "worker", "%u: discards link %u", w->index, l->id);
    l->worker = -1;
    l->is_over = true;
}

static enum err driver_verify(void *ctx, struct verified *v)
{
    struct sim *s = ((struct sim_worker *)ctx)->sim;
    if (s->n_questions == SIM_QUESTIONS_MAX) {
        verified_free(v);
        return ERR_AGAIN;
    }
    s->questions[s->n_questions++] = v;
    return OK;
}

static void driver_event(void *ctx, const struct event *e)
{
    struct sim_worker *w = ctx;
    sim_say(w->sim, "event", "%u: %s %s/%s %s: %.90s", w->index, event_category_name(e->category),
            e->principal, e->client_id, e->target, e->reason);
    model_event(w->sim, w->index, e);
}

/* ---- the service thread's things ---- */

static enum err add_principals(struct sim *s)
{
    static const char *const roles[SIM_ROLES] = {"r0", "r1", "r2"};
    password_generate(&s->random, s->password);
    for (unsigned i = 0; i < s->knobs.n_principals; i++) {
        char name[16];
        uint64_t id;
        (void)snprintf(name, sizeof(name), "p%u", i);
        s->roles[i] = sim_below(s, SIM_ROLES);
        struct directory_secret secret = {.kind = CREDENTIAL_X509,
                                          .expires_wall_ms = CREDENTIAL_NEVER};
        memset(secret.spki.bytes, (int)i + 1, sizeof(secret.spki.bytes));
        if (i == 1) {
            secret.kind = CREDENTIAL_PASSWORD;
            secret.password = slice_text(s->password);
        }
        struct directory_order order = {.name = slice_text(name),
                                        .role = slice_text(roles[s->roles[i]]),
                                        .secrets = &secret,
                                        .n_secrets = 1};
        TRY(directory_add(s->directory, &order, s->wall_ms, &id, NULL));
    }
    return OK;
}

static struct role_limits role_limits_of(const struct sim_knobs *k)
{
    struct role_limits l = ROLE_LIMITS_DEFAULT;
    l.connect_rate = 1000;
    l.connect_burst = 1000;
    l.publish_rate = k->slow_publish ? 50 : 10000;
    l.publish_burst = k->slow_publish ? 3 : 10000;
    l.queue_messages = k->small_queue ? 6 : 1000;
    l.inflight = k->small_window ? 2 : 20;
    return l;
}

static enum err make_directory(struct sim *s)
{
    static const uint8_t master[32] = {7};
    struct directory_setup setup = {
        .disk = s->disk, .master = slice_of(master, sizeof(master)), .random = s->random};
    struct role_limits limits = role_limits_of(&s->knobs);
    TRY(directory_create(&setup, &s->directory));
    directory_begin(s->directory);
    TRY(add_principals(s));
    TRY(directory_commit(s->directory));
    for (unsigned i = 0; i < SIM_POLICIES; i++) {
        sim_policy_make(&s->policies[i], i, &s->random);
        s->built[i] = sim_policy_build(&s->policies[i], &limits);
        if (s->built[i] == NULL) {
            return ERR_NOMEM;
        }
    }
    return OK;
}

static enum err make_rings(struct sim *s)
{
    unsigned n = s->knobs.n_workers;
    for (unsigned from = 0; from < n + 2; from++) {
        for (unsigned to = 0; to < n; to++) {
            if (from == to) {
                continue;
            }
            size_t capacity = from < n ? s->knobs.ring_capacity : 64;
            TRY(ring_init(&s->rings[from][to], sizeof(struct wmsg), capacity));
            s->from[to][from] = &s->rings[from][to];
            if (from < n) {
                s->to[from][to] = &s->rings[from][to];
            }
        }
    }
    return OK;
}

struct worker_driver sim_driver(struct sim_worker *w)
{
    return (struct worker_driver){.ctx = w,
                                  .depart = driver_depart,
                                  .arrive = driver_arrive,
                                  .discard = driver_discard,
                                  .verify = driver_verify,
                                  .event = driver_event};
}

static int name_of(const void *ctx, struct slice payload)
{
    return sim_pub_of(ctx, payload);
}

static enum err make_workers(struct sim *s)
{
    unsigned n = s->knobs.n_workers;
    s->log = sim_log_new(n, name_of, s);
    if (s->log == NULL) {
        return ERR_NOMEM;
    }
    struct siphash_key key = {.k0 = random_u64(&s->random), .k1 = random_u64(&s->random)};
    for (unsigned i = 0; i < n; i++) {
        s->ctx[i] = (struct sim_worker){.sim = s, .index = i};
        struct worker_setup setup = {.index = i,
                                     .n_workers = n,
                                     .limits = &s->limits,
                                     .key = key,
                                     .random = s->random,
                                     .journal = sim_log_writer(s->log, i),
                                     .to = s->to[i],
                                     .from = s->from[i],
                                     .n_from = n + 2,
                                     .retained_counter = &s->retained_counter,
                                     .counters = &s->counters[i],
                                     .realm = s->realm,
                                     .driver = sim_driver(&s->ctx[i])};
        TRY(worker_new(&setup, s->now_ms, s->wall_ms, &s->workers[i]));
    }
    return OK;
}

static void make_clients(struct sim *s)
{
    static const char *const ids[] = {"x", "y"};
    for (unsigned i = 0; i < s->knobs.n_clients; i++) {
        struct sim_client *c = &s->clients[i];
        c->index = (uint8_t)i;
        c->principal = (uint8_t)(i % s->knobs.n_principals);
        c->uses_password = c->principal == 1;
        (void)snprintf(c->id, sizeof(c->id), "%s", ids[i / s->knobs.n_principals]);
        c->version = sim_chance(s, 50) ? MQTT_V5 : MQTT_V311;
        c->next_packet_id = 1;
    }
}

static void choose_knobs(struct sim *s)
{
    struct sim_knobs *k = &s->knobs;
    k->n_workers = sim_chance(s, 70) ? 2 : (sim_chance(s, 70) ? 3 : 1);
    k->n_principals = 2 + sim_below(s, SIM_PRINCIPALS_MAX - 1);
    k->n_clients = k->n_principals + sim_below(s, k->n_principals + 1);
    k->n_clients = k->n_clients < SIM_CLIENTS_MAX ? k->n_clients : SIM_CLIENTS_MAX;
    k->n_steps = 300 + sim_below(s, 1500);
    k->ring_capacity = sim_chance(s, 40) ? 4 : 1024;
    k->small_queue = sim_chance(s, 15);
    k->small_window = sim_chance(s, 20);
    k->slow_publish = sim_chance(s, 10);
    k->has_policy_changes = sim_chance(s, 60);
}

void sim_setup(struct sim *s)
{
    s->random = random_seeded(&s->random_state);
    s->random_state = s->seed * 0x9e3779b97f4a7c15u + 1;
    s->now_ms = 1000;
    s->wall_ms = 1700000000000;
    s->limits = (struct limits)LIMITS_DEFAULT;
    s->entrance = (struct entrance){.name = "mqtts",
                                    .protocol = EVENT_PROTOCOL_mqtt,
                                    .auth_x509 = true,
                                    .auth_password = true};
    memset(s->model.sessions, 0, sizeof(s->model.sessions));
    choose_knobs(s);
    s->disk = sim_disk_new();
    if (s->disk == NULL) {
        sim_fail(s, "-", "no memory");
        return;
    }
    if (must(s, make_directory(s), "directory") != OK) {
        return;
    }
    sim_state_push(s, 0);
    if (must(s, make_rings(s), "rings") != OK || must(s, make_workers(s), "workers") != OK) {
        return;
    }
    s->n_untold = 0;
    make_clients(s);
    sim_say(s, "sim", "seed %llu: %u workers, %u principals, %u clients, %u steps, rings of %u%s%s%s",
            (unsigned long long)s->seed, s->knobs.n_workers, s->knobs.n_principals,
            s->knobs.n_clients, s->knobs.n_steps, s->knobs.ring_capacity,
            s->knobs.small_queue ? ", small queues" : "",
            s->knobs.small_window ? ", small windows" : "",
            s->knobs.slow_publish ? ", slow publishers" : "");
}

static void empty_rings(struct sim *s)
{
    for (unsigned from = 0; from < s->knobs.n_workers + 2; from++) {
        for (unsigned to = 0; to < s->knobs.n_workers; to++) {
            struct wmsg m;
            struct ring *r = &s->rings[from][to];
            while (r->items != NULL && ring_pop(r, &m)) {
                wmsg_done(&m);
            }
            ring_done(r);
        }
    }
}

/* Whatever is under way is released by its owner; what is not shows in the leak check. */
void sim_teardown(struct sim *s)
{
    for (unsigned i = 0; i < s->n_links; i++) {
        struct sim_link *l = s->links[i];
        if (!l->is_over && l->worker >= 0) {
            worker_gone(s->workers[l->worker], l->conn, "the end of the simulation", s->now_ms);
        }
    }
    for (unsigned i = 0; i < SIM_WORKERS_MAX; i++) {
        s->workers[i] = worker_free(s->workers[i]);
    }
    empty_rings(s);
    for (size_t i = 0; i < s->n_questions; i++) {
        verified_free(s->questions[i]);
    }
    for (unsigned i = 0; i < s->n_links; i++) {
        sim_link_free(s->links[i]);
    }
    realm_unref(s->realm);
    for (unsigned i = 0; i < SIM_POLICIES; i++) {
        policy_unref(s->built[i]);
    }
    directory_free(s->directory);
    sim_log_free(s->log);
    if (s->disk != NULL) {
        s->disk->ops->free(s->disk);
    }
}

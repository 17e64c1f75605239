/* Birth and end of a simulated broker: directory on a disk in memory, realm, rings, workers. */
#include "base/mem.h"
#include "security/password/password.h"
#include "sim.h"
#include "sim_disk.h"

enum { LAG_BYTES = 2500 }; /* of a log that has little room */

/* ---- the service thread's things ---- */

static enum err add_principals(struct sim *s)
{
    static const char *const roles[SIM_ROLES] = {"r0", "r1", "r2"};
    password_generate(&s->random, s->password);
    for (unsigned i = 0; i < s->knobs.n_principals; i++) {
        char name[16];
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
        TRY(directory_add(s->directory, &order, s->wall_ms, &s->principal_ids[i], NULL));
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
    l.queue_messages = k->small_queue ? SIM_SMALL_QUEUE : 1000;
    l.inflight = k->small_window ? 2 : 20;
    l.replay_rate = k->small_window ? 2 : l.replay_rate; /* most of a replay waits */
    return l;
}

static enum err make_policies(struct sim *s)
{
    struct role_limits limits = role_limits_of(&s->knobs);
    for (unsigned i = 0; i < SIM_POLICIES; i++) {
        sim_policy_make(&s->policies[i], i, &s->random);
        s->built[i] = sim_policy_build(&s->policies[i], &limits);
        if (s->built[i] == NULL) {
            return ERR_NOMEM;
        }
    }
    return OK;
}

enum err sim_open_directory(struct sim *s)
{
    struct directory_setup setup = {.log = s->store, .keyring = s->keyring, .random = s->random};
    if (s->n_lives > 0) {
        return directory_open(&setup, &s->directory);
    }
    TRY(directory_create(&setup, &s->directory));
    directory_begin(s->directory);
    TRY(add_principals(s));
    return directory_commit(s->directory);
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
        /* Every eighth seed has clients of MQTT 3.1, without a draw: the others stay what they
         * were. */
        bool is_old = s->seed % 8 == 6 && (s->seed / 8 + i) % 2 == 0;
        bool is_v5 = sim_chance(s, s->knobs.has_groups ? 85 : 50);
        c->version = is_v5 ? MQTT_V5 : (is_old ? MQTT_V31 : MQTT_V311);
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
    k->has_expiry = sim_chance(s, 30);
    k->has_laggard = sim_chance(s, 30);
    k->has_groups = sim_chance(s, 60);
    k->has_will_delay = sim_chance(s, 60);
    k->crashes = sim_chance(s, 60) ? 5 + sim_below(s, 40) : 0;
    k->troubles = sim_chance(s, 30) ? 10 + sim_below(s, 60) : 0;
    k->segment_bytes = (uint64_t)(16 + sim_below(s, 48)) * 1024;
    k->keep_bytes = k->segment_bytes * (2 + sim_below(s, 6));
    /* Every third seed, without a draw, so that the others stay what they were. */
    k->has_spill = s->seed % 3 == 1;
    /* The same; and a log with little room, so that a disk that stands still leaves none soon. */
    k->has_stalls = s->seed % 7 == 3;
    k->lag_bytes = k->has_stalls ? LAG_BYTES : 0;
}

static uint64_t heap_used(void *ctx)
{
    const struct sim *s = ctx;
    return s->ceiling.bytes / 100 * (PRESSURE_SPILL_PERCENT + 1);
}

void sim_setup(struct sim *s)
{
    s->random = random_seeded(&s->random_state);
    s->random_state = s->seed * 0x9e3779b97f4a7c15u + 1;
    s->now_ms = 1000;
    s->wall_ms = 1700000000000;
    s->limits = (struct limits)LIMITS_DEFAULT;
    s->limits.topic_aliases = sim_below(s, SIM_ALIASES + 2);
    s->entrance = (struct entrance){.name = "mqtts",
                                    .protocol = EVENT_PROTOCOL_mqtt,
                                    .auth_x509 = true,
                                    .auth_password = true,
                                    .takes_v31 = true};
    for (unsigned i = 0; i < SIM_CLIENTS_MAX; i++) {
        s->model.sessions[i].will = -1;
    }
    choose_knobs(s);
    if (s->knobs.has_spill) { /* memory is always so short that all leaves it that may */
        s->ceiling.bytes = 1000000;
        s->ceiling.spill_bytes = s->ceiling.spill_near = 1;
        s->ceiling.heap = heap_used;
        s->ceiling.ctx = s;
    }
    s->disk = sim_disk_new(s->random);
    s->log = s->disk != NULL ? sim_log_new(s) : NULL;
    s->nonces = s->log != NULL ? sim_nonces_new(s) : NULL;
    if (s->nonces == NULL || make_policies(s) != OK) {
        sim_fail(s, "-", "no memory");
        return;
    }
    make_clients(s);
    sim_say(s, "sim",
            "seed %llu: %u workers, %u principals, %u clients, %u steps, rings of %u, segments of "
            "%llu%s%s%s",
            (unsigned long long)s->seed, s->knobs.n_workers, s->knobs.n_principals,
            s->knobs.n_clients, s->knobs.n_steps, s->knobs.ring_capacity,
            (unsigned long long)s->knobs.segment_bytes,
            s->knobs.small_queue ? ", small queues" : "",
            s->knobs.small_window ? ", small windows" : "",
            s->knobs.slow_publish ? ", slow publishers" : "");
    sim_start(s);
}

/* Whatever is under way is released by its owner; what is not shows in the leak check. */
void sim_teardown(struct sim *s)
{
    if (s->log != NULL) {
        sim_end(s, SIM_STOPPED);
    }
    for (unsigned i = 0; i < s->n_links; i++) {
        sim_link_free(s->links[i]);
    }
    realm_unref(s->realm);
    for (unsigned i = 0; i < SIM_POLICIES; i++) {
        policy_unref(s->built[i]);
    }
    sim_log_free(s->log);
    sim_nonces_free(s->nonces);
    if (s->disk != NULL) {
        s->disk->ops->free(s->disk);
    }
}

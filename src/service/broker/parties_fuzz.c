/*
 * parties_fuzz - the input is a script: three principals, all with client id "c", on three
 * connections and two workers connect, take over, subscribe, publish and go away, while workers
 * turn, the journal commits, policy changes and time passes. A small model is asked at every packet
 * that a client reads, and at the end, when everybody has come back and read everything.
 *
 * What it knows: an acknowledged QoS 1 or 2 reaches every session that had subscribed and lasts;
 * QoS 2 is accepted once; a group's message by one member, unless a session ended; nobody gets what
 * he did not subscribe to or may not hear; a will that DISCONNECT forgot never comes; an alias
 * stands for the topic it was given for; no client has two connections.
 */
#include "base/rd.h"
#include "service/broker/worker_bench_test.h"
#include "wire/mqtt/connack.h"
#include "wire/mqtt/suback.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum {
    WHO = 3,
    TOPICS = 4,
    FILTERS = 4,
    PUBS = 200,
    FLIGHTS = 8,
    SHARED = 3,
    ALIASES = 2,
    DELAY_MS = 5000
};

static const char *const topics[TOPICS] = {"t/abc", "t/b", "w/abc", "t/long/name"};
static const char *const filters[FILTERS] = {"t/#", "t/abc", "w/#", "$share/g/t/#"};
static const uint8_t matching[FILTERS] = {1 | 2 | 8, 1, 4, 1 | 2 | 8}; /* topics, as bits */

struct sent {
    uint8_t who, topic, qos;
    bool is_will, is_forgotten; /* DISCONNECT forgot it */
    bool is_denied;             /* or may have been, since it was sent */
    uint8_t n_sent;
    uint8_t owed;  /* sessions that had subscribed when it was sent, as bits */
    bool is_acked; /* so it must reach them */
    bool is_retained;
    uint8_t owed_group;  /* members that had subscribed and last, as bits */
    unsigned n_by_share; /* accepted by members of the group, without DUP */
    bool has_share;
    unsigned ends; /* sessions that had ended when it was sent */
};

/* A client: what it remembers of its session. */
struct who {
    const char *device;
    struct party *at;              /* its newest connection; NULL: none */
    bool is_on, lasts, must_clean; /* it has forgotten its half of the session */
    uint8_t sure, asked;           /* filters, as bits; asked in this session */
    uint8_t suback_of[64];
    uint16_t next_id;
    struct {
        uint16_t id, pub;
        bool is_released;
    } flights[FLIGHTS];
    size_t n_flights;
    uint16_t open_ids[512]; /* QoS 2: message + 1 between PUBLISH and PUBREL, by packet id */
    uint8_t got[PUBS], fresh[PUBS], twice[PUBS]; /* all; without DUP; accepted with QoS 2 */
    int will, waiting; /* of this connection; with a delay, of the one before; -1: none */
    bool has_delay;
    uint64_t waits_since_ms;
    uint8_t said[ALIASES], given[ALIASES]; /* topic + 1 */
};

struct script {
    struct bench *b;
    struct who who[WHO];
    struct sent pubs[PUBS];
    unsigned n_pubs, n_ends;
    uint8_t owner[PARTIES]; /* who is at it */
    bool is_narrow, is_over;
};

#define CHECK(holds, ...)                                                                          \
    do {                                                                                           \
        if (!(holds)) {                                                                            \
            fprintf(stderr, "parties_fuzz: " __VA_ARGS__);                                         \
            fprintf(stderr, "\n");                                                                 \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static uint8_t bit(unsigned i)
{
    return (uint8_t)(1u << i);
}

/* ---- clients speak ---- */

static int pub_new(struct script *s, unsigned who, unsigned topic, uint8_t qos)
{
    if (s->n_pubs == PUBS) {
        return -1;
    }
    struct sent *m = &s->pubs[s->n_pubs];
    *m = (struct sent){.who = (uint8_t)who,
                       .topic = (uint8_t)topic,
                       .qos = qos,
                       .is_denied = s->is_narrow,
                       .ends = s->n_ends};
    for (unsigned i = 0; i < WHO; i++) {
        for (unsigned f = 0; f < FILTERS; f++) {
            bool has = (s->who[i].sure & bit(f)) != 0 && (matching[f] & bit(topic)) != 0;
            m->owed |= has && f != SHARED && s->who[i].lasts ? bit(i) : 0;
            m->owed_group |= has && f == SHARED && s->who[i].lasts ? bit(i) : 0;
        }
    }
    return (int)s->n_pubs++;
}

static struct slice payload_of(unsigned pub, char dst[8])
{
    (void)snprintf(dst, 8, "m%03u", pub);
    return slice_text(dst);
}

/* A number that the server knows stands for the topic, or is given to it. */
static void by_alias(struct who *c, struct mqtt_publish *m, unsigned topic, unsigned which)
{
    unsigned alias = which % (ALIASES + 1);
    if (alias == 0) {
        return;
    }
    if (c->said[alias - 1] == topic + 1) {
        m->topic = (struct slice){0};
    }
    c->said[alias - 1] = (uint8_t)(topic + 1);
    mqtt_props_set_number(&m->props, MQTT_PROP_TOPIC_ALIAS, alias);
}

static void send_pub(struct script *s, struct who *c, unsigned pub, uint16_t id, unsigned alias)
{
    char text[8];
    uint8_t bytes[128];
    struct wr w = wr_into(bytes, sizeof(bytes));
    struct sent *sent = &s->pubs[pub];
    struct mqtt_publish m = {.topic = slice_text(topics[sent->topic]),
                             .payload = payload_of(pub, text),
                             .qos = sent->qos,
                             .packet_id = id,
                             .retain = sent->is_retained,
                             .dup = sent->n_sent > 0 && sent->qos > 0};
    by_alias(c, &m, sent->topic, alias);
    must(mqtt_publish_encode(&m, MQTT_V5, &w));
    sent->n_sent++;
    give_wr(s->b, c->at, &w);
}

static void publish(struct script *s, unsigned who, uint8_t argument, bool retain)
{
    struct who *c = &s->who[who];
    if (!c->is_on || c->n_flights == FLIGHTS) {
        return;
    }
    int pub = pub_new(s, who, argument >> 2 & 3, argument % 3);
    if (pub < 0) {
        return;
    }
    uint16_t id = 0;
    s->pubs[pub].is_retained = retain;
    if (s->pubs[pub].qos > 0) {
        id = c->next_id = (uint16_t)(c->next_id % 500 + 1);
        c->flights[c->n_flights].id = id;
        c->flights[c->n_flights].pub = (uint16_t)pub;
        c->flights[c->n_flights++].is_released = false;
    }
    send_pub(s, c, (unsigned)pub, id, argument >> 4);
}

static void subscribe(struct script *s, struct who *c, uint8_t argument)
{
    uint8_t bytes[128], list[64], f = argument & 3;
    struct wr w = wr_into(bytes, sizeof(bytes)), l = wr_into(list, sizeof(list));
    if (!c->is_on) {
        return;
    }
    struct mqtt_subscription sub = {.whole = slice_text(filters[f]),
                                    .filter = slice_text(filters[f]),
                                    .qos = 1 + (argument >> 2 & 1)};
    mqtt_subscription_write(&l, &sub, MQTT_V5);
    uint16_t id = (uint16_t)(1000 + argument % COUNT_OF(c->suback_of));
    struct mqtt_subscribe m = {.packet_id = id, .list = wr_slice(&l), .n_filters = 1};
    if (f == SHARED) {
        mqtt_props_set_number(&m.props, MQTT_PROP_SUBSCRIPTION_ID, SHARED);
    }
    must(mqtt_subscribe_encode(&m, MQTT_V5, &w));
    c->suback_of[id - 1000] = f;
    c->asked |= bit(f);
    give_wr(s->b, c->at, &w);
}

/* What it had is not to be relied upon any more: its session may end, or has. */
static void may_end(struct script *s, unsigned who)
{
    s->who[who].sure = 0;
    s->who[who].lasts = false;
    s->n_ends++;
    for (unsigned i = 0; i < s->n_pubs; i++) {
        s->pubs[i].owed &= (uint8_t)~bit(who);
        s->pubs[i].owed_group &= (uint8_t)~bit(who);
    }
}

static void off(struct script *s, struct who *c)
{
    s->n_ends += c->at != NULL && !c->lasts;
    bool is_known = c->at != NULL && c->at->conn != 0 && c->is_on && c->lasts && c->has_delay;
    c->waiting = is_known ? c->will : -1;
    c->waits_since_ms = s->b->now_ms;
    c->at = NULL;
    c->is_on = false;
}

/* A connection on its way to its home has no number that could be cut. */
static void land(struct script *s)
{
    for (unsigned i = 0; i < 16; i++) {
        turn(s->b, i % WORKERS);
    }
}

static void leave(struct script *s, unsigned who, bool by_disconnect)
{
    struct who *c = &s->who[who];
    if (c->at == NULL) {
        return;
    }
    if (by_disconnect && c->is_on) {
        static const uint8_t bye[] = {0xe0, 0};
        bool was_there =
            c->at->conn != 0 && worker_wants_input(s->b->workers[c->at->worker], c->at->conn);
        give(s->b, c->at, slice_of(bye, sizeof(bye)));
        if (was_there && c->will >= 0) {
            s->pubs[c->will].is_forgotten = true;
        }
    }
    if (c->at->conn == 0) {
        land(s);
    }
    is_cut(s->b, c->at);
    off(s, c);
}

static void connect_as(struct script *s, struct party *p, unsigned who, uint8_t argument)
{
    struct bench *b = s->b;
    struct who *c = &s->who[who];
    char text[8];
    uint8_t bytes[256];
    struct wr w = wr_into(bytes, sizeof(bytes));
    bool lasts = (argument & 3) != 0 || s->is_over;
    c->must_clean = c->must_clean || !c->lasts || ((argument & 12) == 12 && !s->is_over);
    if (p->conn == 0 || (c->at != NULL && !c->is_on)) {
        land(s);
    }
    for (unsigned i = 0; i < WHO; i++) {
        if (s->who[i].at == p) {
            off(s, &s->who[i]);
        }
    }
    if (c->at != NULL) { /* another party's: taken over */
        off(s, c);
    }
    is_cut(b, p);
    s->owner[p - b->parties] = (uint8_t)who;
    if (c->must_clean || !lasts) {
        may_end(s, who);
    }
    c->n_flights = c->must_clean ? 0 : c->n_flights;
    struct mqtt_connect m = {
        .version = MQTT_V5, .clean_start = c->must_clean, .client_id = slice_text("c")};
    mqtt_props_set_number(&m.props, MQTT_PROP_SESSION_EXPIRY, lasts ? 100000 : 0);
    mqtt_props_set_number(&m.props, MQTT_PROP_TOPIC_ALIAS_MAXIMUM, ALIASES);
    c->will = (argument & 0x10) != 0 && !s->is_over ? pub_new(s, who, 0, 1) : -1;
    if (c->will >= 0) {
        s->pubs[c->will].is_will = m.has_will = true;
        m.will = (struct mqtt_will){.topic = slice_text(topics[0]),
                                    .payload = payload_of((unsigned)c->will, text),
                                    .qos = 1};
        c->has_delay = (argument & 0x20) != 0;
        if (c->has_delay) {
            mqtt_props_set_number(&m.will.props, MQTT_PROP_WILL_DELAY, DELAY_MS / 1000);
        }
    }
    must(mqtt_connect_encode(&m, &w));
    p->version = MQTT_V5;
    c->at = p;
    c->is_on = false;
    c->lasts = lasts;
    memset(c->said, 0, sizeof(c->said));
    memset(c->given, 0, sizeof(c->given));
    if (arrives(b, p, argument >> 7, c->device)) {
        give_wr(b, p, &w);
    } else {
        off(s, c);
    }
}

/* ---- clients read ---- */

static void on_connack(struct script *s, struct who *c, const struct mqtt_connack *m)
{
    CHECK(m->code == 0, "%s is refused: %02x", c->device, m->code);
    c->is_on = true;
    c->must_clean = false;
    if (m->session_present && c->waiting >= 0 && s->b->now_ms < c->waits_since_ms + DELAY_MS) {
        s->pubs[c->waiting].is_forgotten = true; /* it is back in time */
    }
    c->waiting = -1;
    if (!m->session_present) {
        CHECK(c->sure == 0, "%s has lost its session", c->device);
        c->asked = 0;
        c->n_flights = 0;
        memset(c->open_ids, 0, sizeof(c->open_ids));
        memset(c->got, 0, sizeof(c->got));
        memset(c->fresh, 0, sizeof(c->fresh));
        memset(c->twice, 0, sizeof(c->twice));
    }
    for (size_t i = 0; i < c->n_flights; i++) {
        if (c->flights[i].is_released) {
            acks(s->b, c->at, MQTT_PUBREL, c->flights[i].id);
        } else {
            send_pub(s, c, c->flights[i].pub, c->flights[i].id, 0);
        }
    }
}

static void on_ack(struct script *s, struct who *c, enum mqtt_type type, const struct mqtt_ack *m)
{
    size_t i = 0;
    while (i < c->n_flights && c->flights[i].id != m->packet_id) {
        i++;
    }
    CHECK(i < c->n_flights, "%s: acknowledgement %d of id %u, which is not open", c->device, type,
          m->packet_id);
    bool is_ok = m->reason < 0x80;
    if (type != MQTT_PUBCOMP) {
        s->pubs[c->flights[i].pub].is_acked |= is_ok;
    }
    if (type == MQTT_PUBREC && is_ok) {
        c->flights[i].is_released = true;
        acks(s->b, c->at, MQTT_PUBREL, m->packet_id);
        return;
    }
    c->n_flights--;
    memmove(&c->flights[i], &c->flights[i + 1], (c->n_flights - i) * sizeof(c->flights[0]));
}

static unsigned topic_of(struct who *c, const struct mqtt_publish *m)
{
    uint32_t alias = mqtt_props_number(&m->props, MQTT_PROP_TOPIC_ALIAS, 0);
    CHECK(alias <= ALIASES, "%s gets alias %u", c->device, alias);
    unsigned topic = 0;
    while (topic < TOPICS && !slice_is(m->topic, topics[topic])) {
        topic++;
    }
    if (m->topic.n == 0) {
        CHECK(alias > 0 && c->given[alias - 1] > 0, "alias %u stands for nothing", alias);
        return c->given[alias - 1] - 1u;
    }
    if (alias > 0) {
        c->given[alias - 1] = (uint8_t)(topic + 1);
    }
    return topic;
}

/* False: QoS 2 that it has accepted already. */
static bool accepts(struct who *c, const struct mqtt_publish *m, unsigned pub)
{
    uint16_t *open = &c->open_ids[m->packet_id % COUNT_OF(c->open_ids)];
    if (m->qos < 2) {
        return true;
    }
    bool is_new = *open == 0;
    CHECK(is_new || *open == pub + 1, "%s: packet id %u is m%u's and now m%u's", c->device,
          m->packet_id, *open - 1u, pub);
    *open = (uint16_t)(pub + 1);
    return is_new;
}

static void on_publish(struct script *s, struct who *c, const struct mqtt_publish *m)
{
    unsigned pub = 0, topic = topic_of(c, m);
    bool by_share = mqtt_props_number(&m->props, MQTT_PROP_SUBSCRIPTION_ID, 0) == SHARED;
    uint8_t wanted = 0;
    CHECK(m->payload.n == 4, "%s gets what nobody said", c->device);
    for (unsigned i = 1; i < 4; i++) {
        pub = pub * 10 + (m->payload.p[i] - '0');
    }
    CHECK(pub < s->n_pubs, "%s gets m%u, which nobody said", c->device, pub);
    struct sent *sent = &s->pubs[pub];
    for (unsigned f = 0; f < FILTERS; f++) {
        wanted |= (c->asked & bit(f)) != 0 && (f == SHARED) == by_share ? matching[f] : 0;
    }
    CHECK(topic == sent->topic, "m%u arrives with another topic", pub);
    CHECK((wanted & bit(topic)) != 0, "%s gets m%u without a subscription", c->device, pub);
    CHECK(!s->is_narrow || topic != 2, "%s gets m%u, which policy denies", c->device, pub);
    CHECK(!sent->is_forgotten, "%s gets the will m%u, which was to be forgotten", c->device, pub);
    CHECK(m->qos <= sent->qos, "m%u arrives with QoS %u", pub, m->qos);
    CHECK(!m->retain || (sent->is_retained && !by_share), "m%u is said to be retained", pub);
    if (accepts(c, m, pub) && !m->retain) {
        unsigned most = sent->is_will || sent->qos == 2 ? 1 : sent->n_sent;
        c->got[pub] += c->got[pub] < UINT8_MAX;
        if (by_share) {
            sent->has_share = true;
            sent->n_by_share += !m->dup;
            CHECK(sent->n_by_share <= most + s->n_ends - sent->ends, "the group has m%u %u times",
                  pub, sent->n_by_share);
        } else {
            c->fresh[pub] = (uint8_t)(c->fresh[pub] + !m->dup);
            c->twice[pub] = (uint8_t)(c->twice[pub] + (m->qos == 2));
            CHECK(c->fresh[pub] <= most && c->twice[pub] <= 1, "%s has m%u %u times (QoS 2: %u)",
                  c->device, pub, c->fresh[pub], c->twice[pub]);
        }
    }
    if (m->qos > 0) {
        acks(s->b, c->at, m->qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, m->packet_id);
    }
}

static void on_suback(struct who *c, const struct mqtt_suback *m)
{
    uint8_t f = c->suback_of[(m->packet_id - 1000u) % COUNT_OF(c->suback_of)];
    if (f < FILTERS && m->codes.n == 1 && m->codes.p[0] < 0x80) {
        c->sure |= bit(f);
    }
}

static void take(struct script *s, struct who *c, const struct mqtt_fixed *f, struct slice body)
{
    struct mqtt_wire_limits limits = mqtt_wire_limits_max();
    struct mqtt_input in = {.body = body,
                            .flags = f->flags,
                            .version = MQTT_V5,
                            .sender = MQTT_FROM_SERVER,
                            .limits = &limits};
    struct mqtt_connack connack;
    struct mqtt_publish publish_in;
    struct mqtt_suback suback;
    struct mqtt_ack ack = {.packet_id = body.n > 1 ? (uint16_t)(body.p[0] << 8 | body.p[1]) : 0,
                           .reason = body.n > 2 ? body.p[2] : 0};
    if (f->type == MQTT_CONNACK) {
        must(mqtt_connack_decode(&in, NULL, &connack));
        on_connack(s, c, &connack);
    } else if (f->type == MQTT_PUBLISH) {
        must(mqtt_publish_decode(&in, NULL, &publish_in));
        on_publish(s, c, &publish_in);
    } else if (f->type == MQTT_SUBACK) {
        must(mqtt_suback_decode(&in, NULL, &suback));
        on_suback(c, &suback);
    } else if (f->type == MQTT_PUBREL) {
        c->open_ids[ack.packet_id % COUNT_OF(c->open_ids)] = 0;
        acks(s->b, c->at, MQTT_PUBCOMP, ack.packet_id);
    } else if (f->type == MQTT_DISCONNECT) {
        CHECK(body.n > 0 && body.p[0] == 0x8e, "%s is sent away: %02x", c->device,
              body.n > 0 ? body.p[0] : 0);
    } else {
        on_ack(s, c, f->type, &ack);
    }
}

/* Everything that has arrived; what it answers may bring more, which is for the next time. What
 * came on a connection that a client has given up is lost. */
static bool reads(struct script *s, unsigned who)
{
    struct who *c = &s->who[who];
    struct party *p = c->at;
    if (p == NULL || p->n == 0) {
        return false;
    }
    size_t n = p->n;
    uint8_t *bytes = mem_alloc(n);
    memcpy(bytes, p->bytes, n);
    p->n = 0;
    struct slice in = slice_of(bytes, n), body;
    struct mqtt_fixed f;
    while (in.n > 0) {
        must(mqtt_packet_cut(&in, OUT, NULL, &f, &body));
        take(s, c, &f, body);
    }
    mem_free(bytes);
    return true;
}

/* ---- the script ---- */

static void change_policy(struct script *s, bool is_narrow)
{
    uint64_t epoch;
    for (unsigned i = 0; i < WHO; i++) { /* what it answers brings more of what is allowed now */
        while (reads(s, i)) {
        }
    }
    bench_policy(s->b, is_narrow);
    must(directory_policy_changed(s->b->directory, &epoch));
    s->is_narrow = is_narrow;
    for (unsigned i = 0; is_narrow && i < s->n_pubs; i++) {
        s->pubs[i].is_denied = true;
    }
    for (unsigned i = 0; is_narrow && i < WHO; i++) {
        s->who[i].sure &= (uint8_t)~bit(2);
        for (unsigned k = 0; k < COUNT_OF(s->who[i].suback_of); k++) {
            uint8_t *f = &s->who[i].suback_of[k];
            *f = *f == 2 ? FILTERS : *f; /* granted before, it has ended since */
        }
    }
    realm_changes(s->b);
}

static void step(struct script *s, uint8_t what, uint8_t argument)
{
    unsigned who = (what >> 4) % WHO;
    struct who *c = &s->who[who];
    switch (what & 15) {
    case 0:
    case 1:
        connect_as(s, &s->b->parties[(what >> 6) % WHO], who, argument);
        break;
    case 2:
    case 3:
    case 4:
        publish(s, who, argument, (what & 15) == 4);
        break;
    case 5:
    case 6:
        subscribe(s, c, argument);
        break;
    case 7:
        leave(s, who, (argument & 1) != 0);
        break;
    case 8:
    case 9:
        (void)reads(s, who);
        break;
    case 10:
    case 11:
        turn(s->b, argument & 1);
        break;
    case 12:
        keeper_commit(s->b->log);
        break;
    case 13:
        s->b->now_ms += argument * 8u;
        break;
    case 14:
        change_policy(s, (argument & 1) != 0);
        break;
    default:
        settle(s->b);
        break;
    }
}

/* ---- the end ---- */

static void quiet(struct script *s)
{
    unsigned rounds = 0;
    for (bool busy = true; busy; rounds++) {
        CHECK(rounds < 1000, "it does not come to rest");
        settle(s->b);
        busy = false;
        for (unsigned i = 0; i < WHO; i++) {
            busy = reads(s, i) || busy;
        }
    }
}

/* Before they come back: of each client the newest connection is there, or none. */
static void check_takeovers(const struct script *s)
{
    for (unsigned i = 0; i < WHO; i++) {
        unsigned n = 0;
        for (unsigned k = 0; k < WHO; k++) {
            n += s->b->parties[k].conn != 0 && s->owner[k] == i;
        }
        CHECK(n <= 1, "%s has %u connections", s->who[i].device, n);
    }
}

static void check_connections(const struct script *s)
{
    for (unsigned i = 0; i < WHO; i++) {
        CHECK(s->who[i].at != NULL && s->who[i].at->conn != 0 && s->who[i].is_on,
              "%s cannot come back", s->who[i].device);
        CHECK(s->who[i].n_flights == 0, "%s: m%u is never acknowledged", s->who[i].device,
              s->who[i].flights[0].pub);
    }
}

static void check_duties(const struct script *s)
{
    for (unsigned i = 0; i < s->n_pubs; i++) {
        const struct sent *m = &s->pubs[i];
        for (unsigned who = 0; who < WHO && m->is_acked; who++) {
            bool is_owed = (m->owed & bit(who)) != 0 && !(m->is_denied && m->topic == 2);
            CHECK(!is_owed || s->who[who].got[i] > 0, "m%u was acknowledged and never reached %s",
                  i, s->who[who].device);
        }
        /* With QoS 2 it dies with the member that it was sent to. */
        CHECK(!m->is_acked || m->owed_group == 0 || m->qos == 2 || m->has_share,
              "m%u was acknowledged and never reached the group", i);
    }
}

static void finish(struct script *s)
{
    if (s->is_narrow) {
        change_policy(s, false);
    }
    quiet(s);
    check_takeovers(s);
    s->is_over = true;
    for (unsigned i = 0; i < WHO; i++) {
        connect_as(s, &s->b->parties[i], i, 0);
        quiet(s);
    }
    for (unsigned i = 0; i < WHO; i++) { /* a party that another one had used is back now */
        if (s->who[i].at == NULL || s->who[i].at->conn == 0) {
            connect_as(s, &s->b->parties[i], i, 0);
        }
    }
    quiet(s);
    check_connections(s);
    check_duties(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct rd r = rd_from(slice_of(data, n < 800 ? n : 800));
    struct script s = {.b = bench_open()};
    for (unsigned i = 0; i < WHO; i++) {
        s.who[i].device = device_at(s.b, i % 2, i / 2);
        s.who[i].will = s.who[i].waiting = -1;
    }
    while (rd_left(&r) > 1) {
        uint8_t what = rd_u8(&r);
        step(&s, what, rd_u8(&r));
    }
    finish(&s);
    bench_close(s.b);
    return 0;
}

/* Who is let in, and how hard it is to be somebody else. */
#include <stdlib.h>

#include "base/mem.h"
#include "service/doctor/rules_private.h"

enum { PSK_BITS_LEAST = 128, PSK_DEVICES_MOST = 50 };

static enum err anonymous(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_listeners; i++) {
        const struct facts_listener *l = &f->listeners[i];
        if (l->anonymous.is_known && l->anonymous.n != 0) {
            TRY(findings_add(ret, self, l->anonymous.at.line != 0 ? l->anonymous.at : l->at,
                             listener_word(l), "listener %s takes clients without a name%s",
                             listener_word(l), l->is_loopback ? ", from this machine" : ""));
        }
    }
    for (size_t i = 0; i < f->n_permits; i++) {
        const struct facts_permit *p = &f->permits[i];
        if (p->is_anonymous) {
            TRY(findings_add(ret, self, (struct facts_place){0}, p->listener,
                             "exception %s lets clients without a name in at %s until %s", p->id,
                             p->listener, p->ends));
        }
    }
    return OK;
}

static enum err empty_client_id(const struct rule *self, const struct facts *f,
                                struct findings *ret)
{
    for (size_t i = 0; i < f->n_listeners; i++) {
        const struct facts_listener *l = &f->listeners[i];
        if (l->empty_client_id.is_known && l->empty_client_id.n != 0) {
            TRY(findings_add(ret, self, l->empty_client_id.at, listener_word(l),
                             "listener %s invents a client id for who has none%s", listener_word(l),
                             l->empty_client_id.at.line == 0 ? " (the default)" : ""));
        }
    }
    return OK;
}

static enum err client_id_unbound(const struct rule *self, const struct facts *f,
                                  struct findings *ret)
{
    if (number_is(f, FACTS_CLIENT_ID_BOUND, 0)) {
        return findings_add(ret, self, f->numbers[FACTS_CLIENT_ID_BOUND].at, "client ids",
                            "any client id is taken from any client");
    }
    return OK;
}

static enum err default_credential(const struct rule *self, const struct facts *f,
                                   struct findings *ret)
{
    for (size_t i = 0; i < f->n_accounts; i++) {
        const struct facts_account *a = &f->accounts[i];
        if (a->is_default) {
            TRY(findings_add(ret, self, a->at, a->name,
                             "%s of %s is the one of the manual, or is easily guessed",
                             a->kind == FACTS_SECRET_PSK ? "the key" : "the password", a->name));
        }
    }
    return OK;
}

static enum err password_clear(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_accounts; i++) {
        const struct facts_account *a = &f->accounts[i];
        if (a->kind == FACTS_SECRET_CLEAR && !a->is_management) {
            TRY(findings_add(ret, self, a->at, a->name, "the password of %s stands there as it is",
                             a->name));
        }
    }
    return OK;
}

static enum err password_fast(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_accounts; i++) {
        const struct facts_account *a = &f->accounts[i];
        if (a->kind == FACTS_SECRET_FAST) {
            TRY(findings_add(ret, self, a->at, a->name,
                             "the password of %s is kept by one round of a fast hash", a->name));
        }
    }
    return OK;
}

static enum err psk_weak(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_accounts; i++) {
        const struct facts_account *a = &f->accounts[i];
        if (a->kind == FACTS_SECRET_PSK && a->bits > 0 && a->bits < PSK_BITS_LEAST) {
            TRY(findings_add(ret, self, a->at, a->name, "the key of %s has %u bits", a->name,
                             a->bits));
        }
    }
    return OK;
}

static int by_likeness(const void *a, const void *b)
{
    const struct facts_account *const *x = a, *const *y = b;
    if ((*x)->likeness != (*y)->likeness) {
        return (*x)->likeness < (*y)->likeness ? -1 : 1;
    }
    return (*x)->at.line < (*y)->at.line ? -1 : (*x)->at.line > (*y)->at.line;
}

static void list_release(const struct facts_account ***list)
{
    mem_free(*list);
}

static enum err shared_accounts(const struct rule *self, const struct facts *f,
                                struct findings *ret)
{
    if (f->n_accounts == 0) {
        return OK;
    }
    AUTO(list_release)
    const struct facts_account **sorted = mem_array(f->n_accounts, sizeof(void *));
    if (sorted == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < f->n_accounts; i++) {
        sorted[i] = &f->accounts[i];
    }
    qsort(sorted, f->n_accounts, sizeof sorted[0], by_likeness);
    for (size_t i = 1; i < f->n_accounts; i++) {
        const struct facts_account *one = sorted[i - 1], *other = sorted[i];
        if (other->likeness != 0 && one->likeness == other->likeness) {
            TRY(findings_add(ret, self, other->at, other->name, "%s and %s have the same secret",
                             one->name, other->name));
        }
    }
    return OK;
}

static enum err shared_secret(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_pairs; i++) {
        const struct facts_pair *p = &f->pairs[i];
        TRY(findings_add(ret, self, (struct facts_place){0}, p->other, "%s and %s have the same %s",
                         p->one, p->other, p->what));
    }
    return shared_accounts(self, f, ret);
}

static enum err psk_fleet(const struct rule *self, const struct facts *f, struct findings *ret)
{
    const struct facts_value *v = &f->numbers[FACTS_PSK_DEVICES];
    int64_t n = v->is_known ? v->n : 0;
    struct facts_place at = v->at;
    for (size_t i = 0; i < f->n_accounts; i++) {
        n += f->accounts[i].kind == FACTS_SECRET_PSK;
        at = f->accounts[i].kind == FACTS_SECRET_PSK ? f->accounts[i].at : at;
    }
    if (n <= PSK_DEVICES_MOST) {
        return OK;
    }
    return findings_add(ret, self, (struct facts_place){at.file, 0}, "devices",
                        "%lld devices have pre-shared keys, more than %d", (long long)n,
                        PSK_DEVICES_MOST);
}

const struct rule identity_rules[] = {
    {"anonymous",
     SEVERITY_CRITICAL,
     "clients without a name",
     "Nobody can tell who did what, and nobody can be shut out.",
     {"b d", "5.1 5.6", "id access", "I1 I9"},
     {"sallyport exception end ID",
      "allow_anonymous false\npassword_file /etc/mosquitto/passwd\n"
      "# mosquitto_passwd /etc/mosquitto/passwd NAME",
      "authentication = [ { mechanism = password_based, backend = built_in_database,\n"
      "  password_hash_algorithm { name = pbkdf2, mac_fun = sha256, iterations = 600000 } } ]",
      "auth.allow_anonymous = false"},
     anonymous},
    {"empty-client-id",
     SEVERITY_LOW,
     "clients without a client id",
     "What such a client does cannot be told from what another one does.",
     {"d l", "5.6", "id", "I8"},
     {NULL, "allow_zero_length_clientid false", NULL, NULL},
     empty_client_id},
    {"client-id-unbound",
     SEVERITY_HIGH,
     "client ids that anybody may take",
     "Whoever connects with the id of another ends its session and inherits its queue.",
     {"d f", "5.5 5.6", "id access", "I3"},
     {NULL, "use_username_as_clientid true",
      "mqtt.peer_cert_as_clientid = cn    # or mqtt.use_username_as_clientid = true", NULL},
     client_id_unbound},
    {"default-credential",
     SEVERITY_CRITICAL,
     "a password of the manual",
     "It is the first that every scanner tries.",
     {"b d", "5.1", "access conf", "I1 I9"},
     {NULL, "mosquitto_passwd /etc/mosquitto/passwd {}",
      "dashboard.default_password = \"file:///etc/emqx/dashboard-password\"\n"
      "node.cookie = \"file:///etc/emqx/cookie\"    # openssl rand -base64 24",
      "http_server.password = \"...\"    # openssl rand -base64 24"},
     default_credential},
    {"password-clear",
     SEVERITY_HIGH,
     "passwords as they are",
     "Whoever reads the file, or a backup of it, is every device in it.",
     {"e", "5.4", "data", "I1 I7"},
     {NULL, "mosquitto_passwd -U /etc/mosquitto/passwd",
      "# in authentication, at password_hash_algorithm:\n"
      "name = pbkdf2, mac_fun = sha256, iterations = 600000",
      "# keep passwords in a database with hashes: auth.http_auth, and remove the file"},
     password_clear},
    {"password-fast-hash",
     SEVERITY_MEDIUM,
     "passwords under a fast hash",
     "A stolen file gives most passwords up within hours.",
     {"e", "5.4 5.5", "data", "I1"},
     {NULL, "mosquitto_passwd /etc/mosquitto/passwd {}    # each once, by mosquitto 2.0 or later",
      "authentication = [ { mechanism = password_based, backend = built_in_database,\n"
      "  password_hash_algorithm { name = pbkdf2, mac_fun = sha256, iterations = 600000 } } ]",
      NULL},
     password_fast},
    {"psk-weak",
     SEVERITY_HIGH,
     "a pre-shared key of less than 128 bits",
     "A short key is found from one recorded handshake.",
     {"e", "5.5", "data", "I1 I7"},
     {NULL, "{}:$(openssl rand -hex 32)    # a line of psk_file", NULL, NULL},
     psk_weak},
    {"shared-secret",
     SEVERITY_CRITICAL,
     "one secret in two hands",
     "One opened device opens the others, and no event says which of them it was.",
     {"d e", "5.1 5.4", "id access", "I1"},
     {"sallyport device list --duplicates\nsallyport device rotate {} --out BUNDLE",
      "mosquitto_passwd /etc/mosquitto/passwd {}    # a password of its own for each", NULL,
      "# a password of its own for each line of the file"},
     shared_secret},
    {"psk-fleet",
     SEVERITY_MEDIUM,
     "many devices with pre-shared keys",
     "A key that the server knows, too, is lost with the server; a certificate's is not.",
     {"d e", "5.4 5.5", "id access", "I1 I8"},
     {"sallyport device rotate --where role=ROLE --credential x509 --out DIR",
      "require_certificate true\nuse_identity_as_username true", NULL, NULL},
     psk_fleet},
    {.id = NULL}};

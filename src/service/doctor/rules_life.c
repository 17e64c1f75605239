/* What ends, and what has grown old. */
#include "base/clock.h"
#include "service/doctor/rules_private.h"

static const int64_t DAY_MS = INT64_C(86400000);
enum { ENDING_DAYS = 14, AUTHORITY_DAYS = 90, CRL_LEFT_LEAST_S = 3600 };
enum { SECRET_DAYS = 366, BITS_LEAST = 112 };

static enum err judge_end(const struct rule *self, const struct facts *f, struct findings *ret,
                          bool is_authority, int64_t days)
{
    for (size_t i = 0; i < f->n_certificates; i++) {
        const struct facts_certificate *c = &f->certificates[i];
        int64_t left = c->ends_wall_ms - f->now_wall_ms;
        if (c->is_authority == is_authority && left > 0 && left < days * DAY_MS) {
            char text[CLOCK_ISO8601_BYTES];
            clock_iso8601(c->ends_wall_ms, text);
            TRY(findings_add(ret, self, c->at, c->name, "%s ends on %.10s, in %lld days", c->name,
                             text, (long long)(left / DAY_MS)));
        }
    }
    return OK;
}

static enum err ending(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return judge_end(self, f, ret, false, ENDING_DAYS);
}

static enum err authority_ending(const struct rule *self, const struct facts *f,
                                 struct findings *ret)
{
    const struct facts_value *life = &f->numbers[FACTS_DEVICE_LIFE_S];
    int64_t days = life->is_known ? life->n / 86400 : AUTHORITY_DAYS;
    return judge_end(self, f, ret, true, days > AUTHORITY_DAYS ? days : AUTHORITY_DAYS);
}

static enum err ended(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_certificates; i++) {
        const struct facts_certificate *c = &f->certificates[i];
        if (c->ends_wall_ms <= f->now_wall_ms) {
            char text[CLOCK_ISO8601_BYTES];
            clock_iso8601(c->ends_wall_ms, text);
            TRY(findings_add(ret, self, c->at, c->name, "%s ended on %.10s", c->name, text));
        }
    }
    return OK;
}

static enum err weak(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_certificates; i++) {
        const struct facts_certificate *c = &f->certificates[i];
        if (c->bits > 0 && c->bits < BITS_LEAST) {
            TRY(findings_add(ret, self, c->at, c->name,
                             "key or signature of %s resist as a key of %u bits, not of %d",
                             c->name, c->bits, BITS_LEAST));
        }
    }
    return OK;
}

/* A number of devices that is not 0. */
static enum err judge_count(const struct rule *self, const struct facts *f, struct findings *ret,
                            enum facts_number which, const char *what)
{
    const struct facts_value *v = &f->numbers[which];
    return !v->is_known || v->n <= 0
               ? OK
               : findings_add(ret, self, v->at, "devices", "%lld %s", (long long)v->n, what);
}

static enum err aged(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return judge_count(self, f, ret, FACTS_AGED, "secrets are past their age");
}

static enum err over(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return judge_count(self, f, ret, FACTS_OVER, "credentials of active devices have ended");
}

static enum err silent(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return judge_count(self, f, ret, FACTS_SILENT,
                       "devices were silent for longer than they have to renew");
}

static enum err cliff(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return judge_count(self, f, ret, FACTS_CLIFF, "credentials end on one day");
}

/* A file with secrets that nobody has changed, or an age past which nobody is told. */
static enum err no_rotation(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_files; i++) {
        const struct facts_file *file = &f->files[i];
        int64_t days = (f->now_wall_ms - file->changed_wall_ms) / DAY_MS;
        bool is_store = file->is_found && file->is_secret && !file->is_key && !file->is_directory;
        if (f->product != FACTS_SALLYPORT && is_store && days > SECRET_DAYS) {
            TRY(findings_add(ret, self, (struct facts_place){(uint32_t)i, 0}, file->path,
                             "no secret in it was changed for %lld days", (long long)days));
        }
    }
    const struct facts_value *v = &f->numbers[FACTS_SECRET_AGE_S];
    return !v->is_known || (v->n > 0 && v->n <= SECRET_DAYS * INT64_C(86400))
               ? OK
               : findings_add(ret, self, v->at, "secrets",
                              v->n == 0 ? "shared secrets of some kind never grow old"
                                        : "nobody is told before a shared secret is %lld days old",
                              (long long)(v->n / 86400));
}

static enum err crl_stale(const struct rule *self, const struct facts *f, struct findings *ret)
{
    const struct facts_value *v = &f->numbers[FACTS_CRL_LEFT_S];
    return !v->is_known || v->n >= CRL_LEFT_LEAST_S
               ? OK
               : findings_add(ret, self, v->at, "revocation list", "%s",
                              v->n <= 0 ? "it is stale" : "it is stale within an hour");
}

static enum err chain_revoked(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_certificates; i++) {
        const struct facts_certificate *c = &f->certificates[i];
        if (c->is_revoked) {
            TRY(findings_add(ret, self, c->at, c->name, "%s%s is on a revocation list",
                             c->is_authority ? "an authority, in the file of: " : "", c->name));
        }
    }
    return OK;
}

const struct rule life_rules[] = {
    {"certificate-ended",
     SEVERITY_CRITICAL,
     "a certificate that has ended",
     "Clients that verify refuse it; the quick fix that people find is not to verify.",
     {"d h", "5.5 5.9", "id", "I8"},
     {"sallyport certs renew    # an authority: sallyport certs roll prepare",
      "# a new certificate in the place of certfile, then\nkill -HUP $(pidof mosquitto)",
      "# a new certificate in the place of certfile",
      "# a new certificate in the place of certfile"},
     ended},
    {"certificate-ending",
     SEVERITY_HIGH,
     "a certificate that ends within two weeks",
     "On that day every client stays out at once.",
     {"h", "5.9", "id", "I8"},
     {"sallyport certs renew",
      "# a new certificate in the place of certfile, then\nkill -HUP $(pidof mosquitto)",
      "# a new certificate in the place of certfile",
      "# a new certificate in the place of certfile"},
     ending},
    {"certificate-weak",
     SEVERITY_CRITICAL,
     "a certificate with a short key, or signed by SHA-1",
     "Who computes another one of the same value is the server for all devices.",
     {"b e", "5.5", "data", "I7"},
     {NULL,
      "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout server.key"
      " -out server.csr    # and have it signed",
      "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout key.pem -out "
      "server.csr",
      "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout key.pem -out "
      "server.csr"},
     weak},
    {"authority-ending",
     SEVERITY_HIGH,
     "an authority that ends before what it signs",
     "Devices that sleep longer than that are shut out, and nobody can renew for them.",
     {"h", "5.5 5.9", "id", "I8"},
     {"sallyport certs roll prepare\nsallyport certs roll switch    # when devices have the new "
      "root",
      "# a second authority in cafile, beside the one that ends, before devices get its "
      "certificates",
      NULL, NULL},
     authority_ending},
    {"secret-aged",
     SEVERITY_MEDIUM,
     "a shared secret past its age",
     "The longer it is used, the more copies, backups and people know it.",
     {"d e", "5.4 5.5", "id", "I1 I8"},
     {"sallyport certs list --state aged\n"
      "sallyport device rotate NAME --credential psk --overlap 24h --out BUNDLE",
      NULL, NULL, NULL},
     aged},
    {"no-rotation",
     SEVERITY_MEDIUM,
     "secrets that are never changed",
     "Who has left, and every old copy and backup, can still log in.",
     {"d e", "5.4 5.5", "id conf", "I1 I8"},
     {"limits: { psk_age: 365d, oscore_age: 365d, password_age: 365d }"
      "    # in sallyport.yaml",
      "mosquitto_passwd /etc/mosquitto/passwd NAME    # a new one for each, once a year at least",
      "# a new password for each user of the file, once a year at least",
      "# a new password for each line of the file, once a year at least"},
     no_rotation},
    {"credential-ended",
     SEVERITY_MEDIUM,
     "devices whose credential has ended",
     "They can do nothing but renew, and after the grace not even that.",
     {"h", "5.9", "id", "I8"},
     {"sallyport certs list --state expired\nsallyport device rotate NAME --out BUNDLE", NULL, NULL,
      NULL},
     over},
    {"renewal-silent",
     SEVERITY_LOW,
     "devices that sleep longer than they have to renew",
     "They wake with a certificate that has ended.",
     {"h", "5.9", "id state", "I8"},
     {"limits: { certificate_life: 365d }    # in sallyport.yaml, for those; then device rotate",
      NULL, NULL, NULL},
     silent},
    {"expiry-cliff",
     SEVERITY_LOW,
     "many credentials that end on one day",
     "If renewal fails that day, the fleet is dark at once.",
     {"h", "5.9", "id", "I8"},
     {"sallyport certs plan\nsallyport device rotate --where site=SITE --out DIR    # one part a "
      "day",
      NULL, NULL, NULL},
     cliff},
    {"crl-stale",
     SEVERITY_MEDIUM,
     "a revocation list that is stale",
     "Strict peers refuse every certificate then, others take the revoked ones.",
     {"d", "5.5", "access", "I3 I8"},
     {"sallyport certs crl    # who runs the daemon sees in its log why it was not made anew", NULL,
      NULL, NULL},
     crl_stale},
    {"chain-revoked",
     SEVERITY_CRITICAL,
     "a certificate in use that its authority has taken back",
     "Who holds the key that was given up can be the server, or sign for any device.",
     {"d", "5.5", "id access", "I3 I8"},
     {"sallyport certs renew    # the server's; an authority's:\n"
      "sallyport certs roll switch    # of a root: certs roll prepare before it\n"
      "sallyport certs roll finish    # ends all that it signed",
      NULL, NULL, NULL},
     chain_revoked},
    {.id = NULL}};

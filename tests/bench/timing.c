/*
 * timing - does the time of a refusal tell who exists? By hand, on a quiet machine:
 *
 *   ninja -C build tests/bench/timing && build/tests/bench/timing [SAMPLES] [CHOSEN_SAMPLES]
 *
 * For each way in, SAMPLES (10,000) refusals in random order, half of them for somebody unknown and
 * half with a wrong secret of somebody known, in this process, on the functions that decide. Prints
 * the medians and Welch's t; 4.5 and more is a difference, and the program ends with 1. Beside it
 * the t of the 95 % that were fastest, for who looks for causes: without the machine's noise it
 * sees single cache lines, nanoseconds that no network carries. "known and known" is what it sees
 * of nothing. A chosen
 * password takes a quarter of a second: CHOSEN_SAMPLES, 200.
 */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/mem.h"
#include "security/crypto/sign_test.h"
#include "security/token/trust.h"
#include "service/directory/directory_place_test.h"

enum {
    SAMPLES = 10000,
    CHOSEN_SAMPLES = 200,
    DEVICES = 64,
    WARM_UP = 32,
    NOW_S = 1800000000,
    TOKEN_BYTES = 4096
};

static const double T_MAX = 4.5;
static const double KEPT = 0.95;

/* What the ways in share. */
struct stage {
    struct test_place place;
    const struct directory_version *version;
    const struct trust *trust;
    /* [1]: of an unknown kid; many, because signatures take longer or shorter by themselves */
    char token[SIGKEY_ALGS][2][DEVICES][TOKEN_BYTES];
    struct random_source random;
};

/* One refusal; unknown says for whom. */
typedef void refusal(struct stage *s, unsigned n, bool unknown);

/* ---- the ways in ---- */

static struct slice name_of(char name[16], unsigned n, bool unknown)
{
    (void)snprintf(name, 16, unknown ? "other-%02u" : "meter-%02u", n % DEVICES);
    return slice_text(name);
}

static void by_password(struct stage *s, unsigned n, bool unknown, const char *password)
{
    char name[16];
    const struct directory_entry *entry;
    const struct credential *credential;
    enum err err = directory_login_password(s->version, name_of(name, n, unknown),
                                            slice_text(password), TEST_NOW, &entry, &credential);
    assert(err == ERR_AUTH);
}

static void by_generated(struct stage *s, unsigned n, bool unknown)
{
    by_password(s, n, unknown, "sp1_aaaaaaaaaaaaaaaaaaaaaaaaaa");
}

static void by_chosen(struct stage *s, unsigned n, bool unknown)
{
    by_password(s, n, unknown, "correct horse battery");
}

/* As service/gateway/association.c asks for the key of a handshake. */
static void by_psk(struct stage *s, unsigned n, bool unknown)
{
    char name[16];
    uint8_t key[PSK_KEY_MAX];
    size_t key_n = 0;
    struct directory_live live =
        directory_live(s->version, name_of(name, n, unknown), CREDENTIAL_PSK, TEST_NOW);
    enum err err = credential_psk(live.credentials[0], key, &key_n);
    assert(err == OK && (key_n == 0) == unknown);
    mem_wipe(key, sizeof key);
}

/* What the clock and the places of things in memory make of no difference at all: one half of those
 * who are known against the other. */
static void by_psk_known(struct stage *s, unsigned n, bool unknown)
{
    by_psk(s, n / 2 + (unknown ? DEVICES / 2 : 0), false);
}

static void by_scram(struct stage *s, unsigned n, bool unknown)
{
    static const char server[] = "0123456789abcdef01234567";
    char name[16];
    char first[64];
    char last[256];
    uint8_t answer[SCRAM_ANSWER_MAX];
    struct wr out = wr_into(answer, sizeof answer);
    struct directory_scram d;
    struct scram *scram = NULL;
    (void)name_of(name, n, unknown);
    (void)snprintf(first, sizeof first, "n,,n=%s,r=abcdefgh", name);
    (void)snprintf(last, sizeof last,
                   "c=biws,r=abcdefgh%s,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", server);
    enum err err = scram_new(slice_text(first), &scram);
    assert(err == OK);
    err = directory_scram(s->version, slice_text(name), TEST_NOW, &d);
    assert(err == OK && (d.n == 0) == unknown);
    err = scram_challenge(scram, &d.salt, d.keys, d.n, slice_text(server), &out);
    assert(err == OK);
    err = scram_finish(scram, slice_text(last), NULL, &out);
    assert(err == ERR_AUTH);
    scram_free(scram);
}

static void by_token(struct stage *s, enum sigkey_alg alg, unsigned n, bool unknown)
{
    struct why why;
    struct jwt_claims claims;
    const char *token = s->token[alg][unknown ? 1 : 0][n % DEVICES];
    enum err err = trust_verify(s->trust, slice_text(token), (int64_t)NOW_S * 1000, &why, &claims);
    assert(err == (unknown ? ERR_NOT_FOUND : ERR_AUTH));
}

static void by_rs256(struct stage *s, unsigned n, bool unknown)
{
    by_token(s, SIGKEY_RS256, n, unknown);
}

static void by_es256(struct stage *s, unsigned n, bool unknown)
{
    by_token(s, SIGKEY_ES256, n, unknown);
}

static void by_eddsa(struct stage *s, unsigned n, bool unknown)
{
    by_token(s, SIGKEY_EDDSA, n, unknown);
}

/* ---- the stage ---- */

static void make_devices(struct stage *s)
{
    for (unsigned n = 0; n < DEVICES; n++) {
        char name[16];
        char text[3][64];
        uint64_t id;
        struct why why = {""};
        struct directory_secret secrets[] = {test_secret(CREDENTIAL_PASSWORD, n, text[0]),
                                             test_secret(CREDENTIAL_PSK, n, text[1]),
                                             test_secret(CREDENTIAL_SCRAM, n + DEVICES, text[2])};
        struct directory_order o = {.name = name_of(name, n, false),
                                    .role = slice_text("sensor"),
                                    .secrets = secrets,
                                    .n_secrets = COUNT_OF(secrets)};
        enum err err = directory_add(s->place.d, &o, TEST_NOW, &id, &why);
        if (err != OK) {
            (void)fprintf(stderr, "%s: %s %s\n", name, err_name(err), why.text);
            exit(2);
        }
    }
    s->version = directory_current(s->place.d);
}

static void make_tokens(struct stage *s)
{
    static char set[8192];
    size_t at = (size_t)snprintf(set, sizeof set, "{\"keys\":[");
    for (enum sigkey_alg a = SIGKEY_RS256; a < SIGKEY_ALGS; a++) {
        struct signer right = signer_new(a, 2048);
        struct signer wrong = signer_new(a, 2048);
        char header[128];
        char claims[256];
        char more[32];
        for (unsigned i = 0; i < 2 * DEVICES; i++) {
            bool unknown = i % 2 == 1;
            (void)snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"%s%u\"}",
                           sigkey_alg_name(a), unknown ? "other" : "known", (unsigned)a);
            (void)snprintf(claims, sizeof claims,
                           "{\"iss\":\"https://id\",\"aud\":\"sallyport\",\"sub\":\"pump-%03u\","
                           "\"exp\":1800000100}",
                           i);
            signer_token(&wrong, header, claims, s->token[a][unknown ? 1 : 0][i / 2], TOKEN_BYTES);
        }
        (void)snprintf(more, sizeof more, ",\"kid\":\"known%u\"", (unsigned)a);
        signer_jwk(&right, more, set + at, sizeof set - at);
        at += strlen(set + at);
        at += (size_t)snprintf(set + at, sizeof set - at, a + 1 < SIGKEY_ALGS ? "," : "]}");
        signer_done(&right);
        signer_done(&wrong);
    }
    struct trust_order o = {.keys = slice_text(set),
                            .issuer = slice_text("https://id"),
                            .audience = slice_text("sallyport"),
                            .skew_s = 60};
    enum err err = trust_new(&o, 1, NULL, NULL, &s->trust);
    assert(err == OK);
}

/* ---- samples ---- */

struct sample {
    double ns;
    bool unknown;
};

static double now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_time(const void *a, const void *b)
{
    const struct sample *x = a;
    const struct sample *y = b;
    return (x->ns > y->ns) - (x->ns < y->ns);
}

/* Of the n fastest. */
static double welch(const struct sample *samples, size_t n)
{
    double count[2] = {0};
    double mean[2] = {0};
    double squares[2] = {0};
    for (size_t i = 0; i < n; i++) {
        unsigned k = samples[i].unknown ? 1 : 0;
        double off = samples[i].ns - mean[k];
        count[k]++;
        mean[k] += off / count[k];
        squares[k] += off * (samples[i].ns - mean[k]);
    }
    double error = 0;
    for (unsigned k = 0; k < 2; k++) {
        error += squares[k] / (count[k] - 1) / count[k];
    }
    return fabs(mean[0] - mean[1]) / sqrt(error);
}

/* Sorted by time; of one kind. */
static double median(const struct sample *samples, size_t n, bool unknown)
{
    size_t all = 0;
    size_t seen = 0;
    for (size_t i = 0; i < n; i++) {
        all += samples[i].unknown == unknown ? 1 : 0;
    }
    for (size_t i = 0; i < n; i++) {
        seen += samples[i].unknown == unknown ? 1 : 0;
        if (seen > all / 2) {
            return samples[i].ns;
        }
    }
    return 0;
}

static bool measure(struct stage *s, const char *name, refusal *refuse, size_t n)
{
    struct sample *samples = mem_array(n, sizeof *samples);
    assert(samples != NULL);
    for (unsigned i = 0; i < WARM_UP; i++) {
        refuse(s, i, i % 2 == 0);
    }
    for (size_t i = 0; i < n; i++) {
        /* Which one and who is drawn before the clock starts. */
        bool unknown = random_below(&s->random, 2) == 0;
        unsigned who = (unsigned)random_below(&s->random, DEVICES);
        double begin = now_ns();
        refuse(s, who, unknown);
        samples[i] = (struct sample){now_ns() - begin, unknown};
    }
    double all = welch(samples, n);
    qsort(samples, n, sizeof *samples, by_time);
    double kept = welch(samples, (size_t)((double)n * KEPT));
    (void)printf("%-20s %6zu samples  wrong %9.0f ns  unknown %9.0f ns  t %5.2f%s (95 %%: %.2f)\n",
                 name, n, median(samples, n, false), median(samples, n, true), all,
                 all < T_MAX ? "" : " A DIFFERENCE", kept);
    (void)fflush(stdout);
    mem_free(samples);
    return all < T_MAX;
}

int main(int argc, char **argv)
{
    static struct stage stage;
    static const struct {
        const char *name;
        refusal *refuse;
        bool is_slow;
    } ways[] = {{"generated password", by_generated, false},
                {"PSK identity", by_psk, false},
                {"  known and known", by_psk_known, false},
                {"SCRAM", by_scram, false},
                {"token RS256", by_rs256, false},
                {"token ES256", by_es256, false},
                {"token EdDSA", by_eddsa, false},
                {"chosen password", by_chosen, true}};
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : SAMPLES;
    size_t n_slow = argc > 2 ? strtoul(argv[2], NULL, 10) : CHOSEN_SAMPLES;
    bool good = true;
    stage.random = random_system();
    test_place_open(&stage.place);
    make_devices(&stage);
    make_tokens(&stage);
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        size_t some = ways[i].is_slow ? n_slow : n;
        good = (some < 2 * WARM_UP || measure(&stage, ways[i].name, ways[i].refuse, some)) && good;
    }
    stage.trust = trust_unref(stage.trust);
    stage.version = directory_version_unref(stage.version);
    test_place_close(&stage.place);
    return good ? 0 : 1;
}

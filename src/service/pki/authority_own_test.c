#include "security/identity/identity.h"
#include "service/pki/authority_case_test.h"

#define TEXT slice_text

struct asked {
    struct authority_certificate cert;
    struct why why;
};

static void asked_done(struct asked *a)
{
    authority_certificate_done(&a->cert);
}

static enum err ask(struct authority_case *c, const struct authority_order *o, int64_t now,
                    struct asked *ret)
{
    asked_done(ret);
    return authority_issue(c->a, o, now, &ret->cert, &ret->why);
}

static void verifies(const struct authority_case *c, const struct authority_certificate *cert,
                     enum x509_kind kind, int64_t at, enum err want)
{
    AUTO(x509_autofree) struct x509 *leaf = NULL;
    struct slice ca = pki_ca_pem(c->pki);
    assert_int_equal(x509_from_der(buf_slice(&cert->leaf_der), &leaf), OK);
    assert_int_equal(x509_verify(leaf, buf_slice(&cert->chain_pem), ca, kind, at, NULL), want);
}

static void by_operator(void **state)
{
    struct authority_case *c = *state;
    AUTO(asked_done) struct asked a = {0};
    struct authority_order o = {.name = TEXT("meter-1")};
    assert_int_equal(ask(c, &o, case_now, &a), ERR_NOT_FOUND);
    assert_non_null(strstr(a.why.text, "device add meter-1"));
    assert_int_equal(case_enrol(c, "meter-1"), OK);
    assert_int_equal(ask(c, &o, case_now, &a), OK);
    verifies(c, &a.cert, X509_KIND_CLIENT, case_now, OK);
    verifies(c, &a.cert, X509_KIND_SERVER, case_now, ERR_AUTH);
    assert_int_equal(a.cert.not_after_wall_ms, case_now + 90 * CASE_DAY_MS);
    assert_true(a.cert.key_pem.n > 0);
    AUTO(x509_autofree) struct x509 *leaf = NULL;
    char name[IDENTITY_NAME_BYTES];
    assert_int_equal(x509_from_der(buf_slice(&a.cert.leaf_der), &leaf), OK);
    assert_int_equal(identity_from_x509(leaf, IDENTITY_URI, name), OK);
    assert_string_equal(name, "meter-1");
    assert_non_null(register_issued_find(c->reg, &a.cert.serial));
    /* the word is used up; again for another */
    assert_int_equal(ask(c, &o, case_now, &a), ERR_AUTH);
    assert_int_equal(case_enrol(c, "meter-1"), OK);
    o.lifetime_ms = 3650 * CASE_DAY_MS; /* more than policy: cut */
    assert_int_equal(ask(c, &o, case_now, &a), OK);
    assert_int_equal(a.cert.not_after_wall_ms, case_now + 90 * CASE_DAY_MS);
    assert_int_equal(case_enrol(c, "meter-1"), OK);
    o.lifetime_ms = CASE_DAY_MS;
    assert_int_equal(ask(c, &o, case_now, &a), OK);
    assert_int_equal(a.cert.not_after_wall_ms, case_now + CASE_DAY_MS);
    /* revoked, removed */
    assert_int_equal(authority_revoke(c->a, TEXT("meter-1"), NULL, AUTHORITY_UNSPECIFIED, case_now),
                     OK);
    assert_int_equal(ask(c, &o, case_now, &a), ERR_DENIED);
    assert_int_equal(case_enrol(c, "meter-1"), ERR_DENIED);
    assert_int_equal(authority_forget(c->a, TEXT("meter-1"), case_now), OK);
    assert_int_equal(ask(c, &o, case_now, &a), ERR_NOT_FOUND);
    assert_int_equal(case_enrol(c, "a b"), ERR_MALFORMED);
    o.name = TEXT("../x");
    assert_int_equal(ask(c, &o, case_now, &a), ERR_MALFORMED);
}

static void requests(void **state)
{
    struct authority_case *c = *state;
    AUTO(asked_done) struct asked a = {0};
    AUTO(key_autofree) struct key *key = case_key();
    static const struct {
        const char *cn;
        struct x509_san san;
        enum err want;
    } cases[] = {
        {"meter-2", {X509_SAN_OTHER, {0}}, OK},
        {"meter-3", {X509_SAN_OTHER, {0}}, ERR_DENIED},
        {"meter-2", {X509_SAN_URI, {(const uint8_t *)"urn:sallyport:device:meter-2", 28}}, OK},
        {"meter-2",
         {X509_SAN_URI, {(const uint8_t *)"urn:sallyport:device:meter-3", 28}},
         ERR_DENIED},
        {"meter-2", {X509_SAN_DNS, {(const uint8_t *)"meter-2", 7}}, OK},
        {"meter-2", {X509_SAN_DNS, {(const uint8_t *)"broker.example", 14}}, ERR_DENIED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bool has_san = cases[i].san.kind != X509_SAN_OTHER;
        AUTO(buf_done) struct buf csr = case_csr(key, cases[i].cn, &cases[i].san, has_san ? 1 : 0);
        const struct authority_order o = {.name = TEXT("meter-2"), .csr_der = buf_slice(&csr)};
        assert_int_equal(case_enrol(c, "meter-2"), OK);
        enum err err = ask(c, &o, case_now, &a);
        if (err != cases[i].want) {
            fail_msg("case %zu: %s: %s", i, err_name(err), a.why.text);
        }
        assert_int_equal(a.cert.key_pem.n, 0);
    }
    /* one key, one device */
    AUTO(buf_done) struct buf csr = case_csr(key, "meter-4", NULL, 0);
    struct authority_order o = {.name = TEXT("meter-4"), .csr_der = buf_slice(&csr)};
    assert_int_equal(case_enrol(c, "meter-4"), OK);
    assert_int_equal(ask(c, &o, case_now, &a), ERR_DENIED);
    assert_non_null(strstr(a.why.text, "meter-2"));
    o.csr_der = TEXT("no request");
    assert_int_equal(ask(c, &o, case_now, &a), ERR_MALFORMED);
    /* only the key that was approved */
    AUTO(key_autofree) struct key *approved = case_key();
    AUTO(buf_done) struct buf good = case_csr(approved, "meter-5", NULL, 0);
    AUTO(buf_done) struct buf bad = case_csr(key, "meter-5", NULL, 0);
    struct digest spki;
    assert_int_equal(key_spki_sha256(approved, &spki), OK);
    assert_int_equal(authority_enrol(c->a, TEXT("meter-5"), &spki, case_now, NULL), OK);
    struct authority_order p = {
        .name = TEXT("meter-5"), .csr_der = buf_slice(&bad), .proof = AUTHORITY_BY_APPROVAL};
    assert_int_equal(ask(c, &p, case_now, &a), ERR_AUTH);
    p.csr_der = (struct slice){0};
    assert_int_equal(ask(c, &p, case_now, &a), ERR_AUTH);
    p.csr_der = buf_slice(&good);
    assert_int_equal(ask(c, &p, case_now, &a), OK);
    p.name = TEXT("meter-4"); /* enrolled, but nothing was approved */
    AUTO(buf_done) struct buf other = case_csr(approved, "meter-4", NULL, 0);
    p.csr_der = buf_slice(&other);
    assert_int_equal(ask(c, &p, case_now, &a), ERR_AUTH);
}

static void renewals(void **state)
{
    struct authority_case *c = *state;
    AUTO(asked_done) struct asked first = {0};
    AUTO(asked_done) struct asked a = {0};
    AUTO(key_autofree) struct key *key = case_key();
    AUTO(buf_done) struct buf csr = case_csr(key, "meter-1", NULL, 0);
    const struct authority_order o = {.name = TEXT("meter-1")};
    assert_int_equal(case_enrol(c, "meter-1"), OK);
    assert_int_equal(ask(c, &o, case_now, &first), OK);
    struct authority_order r = {.name = TEXT("meter-1"),
                                .csr_der = buf_slice(&csr),
                                .proof = AUTHORITY_BY_RENEWAL,
                                .current_der = buf_slice(&first.cert.leaf_der)};
    int64_t end = first.cert.not_after_wall_ms;
    assert_int_equal(ask(c, &r, end - 30 * CASE_DAY_MS, &a), OK);
    assert_int_equal(ask(c, &r, end + 30 * CASE_DAY_MS, &a), OK); /* the last moment of grace */
    assert_int_equal(ask(c, &r, end + 30 * CASE_DAY_MS + 1, &a), ERR_EXPIRED);
    r.name = TEXT("meter-2");
    assert_int_equal(ask(c, &r, end, &a), ERR_DENIED); /* the request names meter-1 */
    r.csr_der = (struct slice){0};
    assert_int_equal(ask(c, &r, end, &a), ERR_AUTH);
    r.name = TEXT("meter-1");
    r.current_der = TEXT("none");
    assert_int_equal(ask(c, &r, end, &a), ERR_AUTH);
    struct slice chain = pki_server_chain_pem(c->server);
    AUTO(x509_autofree) struct x509 *server = NULL;
    AUTO(buf_done) struct buf server_der = {0};
    assert_int_equal(x509_next_pem(&chain, &server), OK);
    assert_int_equal(x509_to_der(server, &server_der), OK);
    r.current_der = buf_slice(&server_der);
    assert_int_equal(ask(c, &r, end, &a), ERR_AUTH);
    /* that one is revoked */
    assert_int_equal(
        authority_revoke(c->a, TEXT("x"), &first.cert.serial, AUTHORITY_SUPERSEDED, case_now), OK);
    r.current_der = buf_slice(&first.cert.leaf_der);
    assert_int_equal(ask(c, &r, end, &a), ERR_DENIED);
}

/* Certificates from before there was a register: of names that came from then. */
static void renewals_from_before(void **state)
{
    struct authority_case *c = *state;
    static const struct {
        const char *name;
        int64_t made;
        enum err want;
    } cases[] = {{"old-1", -CASE_DAY_MS, OK},
                 {"old-1", 2 * CASE_DAY_MS, ERR_AUTH}, /* later, and not on record */
                 {"new-1", -CASE_DAY_MS, ERR_AUTH}};
    assert_int_equal(case_enrol(c, "new-1"), OK);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(key_autofree) struct key *key = case_key();
        AUTO(x509_autofree) struct x509 *x = NULL;
        AUTO(buf_done) struct buf chain = {0};
        AUTO(buf_done) struct buf der = {0};
        AUTO(asked_done) struct asked a = {0};
        char uri[64];
        (void)snprintf(uri, sizeof uri, IDENTITY_URI_PREFIX "%s", cases[i].name);
        const struct x509_san san = {X509_SAN_URI, TEXT(uri)};
        const struct pki_template t = {.kind = X509_KIND_CLIENT,
                                       .common_name = TEXT(cases[i].name),
                                       .sans = &san,
                                       .n_sans = 1,
                                       .subject = key};
        assert_int_equal(pki_sign(c->pki, &t, &c->random, case_now + cases[i].made, &x, &chain),
                         OK);
        assert_int_equal(x509_to_der(x, &der), OK);
        const struct authority_order r = {.name = TEXT(cases[i].name),
                                          .proof = AUTHORITY_BY_RENEWAL,
                                          .current_der = buf_slice(&der)};
        assert_int_equal(ask(c, &r, case_now + 3 * CASE_DAY_MS, &a), cases[i].want);
    }
}

static void tokens(void **state)
{
    struct authority_case *c = *state;
    AUTO(asked_done) struct asked a = {0};
    char fixed[AUTHORITY_TOKEN_BYTES], open[AUTHORITY_TOKEN_BYTES];
    struct why why = {""};
    const struct authority_claim one = {.name = TEXT("meter-1"),
                                        .role = TEXT("sensor"),
                                        .attrs_json = TEXT("{\"site\":\"lab\"}"),
                                        .expires_wall_ms = case_now + CASE_DAY_MS,
                                        .uses = 1};
    struct authority_claim many = {.pattern = TEXT("meter-*"),
                                   .role = TEXT("sensor"),
                                   .expires_wall_ms = case_now + CASE_DAY_MS,
                                   .uses = 5};
    assert_int_equal(authority_token_make(c->a, &one, case_now, fixed, &why), OK);
    assert_int_equal(authority_token_make(c->a, &many, case_now, open, &why), OK);
    assert_int_equal(strlen(fixed), 23);
    AUTO(buf_done) struct buf json = {0};
    assert_int_equal(authority_token_ask(c->a, TEXT(fixed), case_now, &json), OK);
    assert_non_null(memmem(json.p, json.n, "\"site\":\"lab\"", 12));
    assert_int_equal(authority_token_ask(c->a, TEXT("AAAAA-AAAAA-AAAAA-AAAAA"), case_now, &json),
                     ERR_AUTH);
    assert_int_equal(authority_token_ask(c->a, TEXT(fixed), case_now + CASE_DAY_MS, &json),
                     ERR_AUTH);
    struct authority_order o = {
        .name = TEXT("meter-2"), .proof = AUTHORITY_BY_TOKEN, .token = TEXT(fixed)};
    assert_int_equal(ask(c, &o, case_now, &a), ERR_AUTH); /* another's */
    o.name = TEXT("meter-1");
    assert_int_equal(ask(c, &o, case_now + CASE_DAY_MS, &a), ERR_EXPIRED);
    /* as a person types it */
    char typed[AUTHORITY_TOKEN_BYTES];
    for (size_t i = 0; i < sizeof typed; i++) {
        typed[i] = (char)(fixed[i] >= 'A' && fixed[i] <= 'Z' ? fixed[i] + 32 : fixed[i]);
        typed[i] = (char)(typed[i] == '-' ? ' ' : typed[i] == '0' ? 'o' : typed[i]);
    }
    o.token = TEXT(typed);
    assert_int_equal(ask(c, &o, case_now, &a), OK);
    verifies(c, &a.cert, X509_KIND_CLIENT, case_now, OK);
    assert_int_equal(ask(c, &o, case_now, &a), ERR_AUTH); /* used up */
    /* a pattern opens no name that somebody has */
    o.token = TEXT(open);
    assert_int_equal(ask(c, &o, case_now, &a), ERR_DENIED);
    AUTO(key_autofree) struct key *key = case_key();
    AUTO(buf_done) struct buf csr = case_csr(key, "meter-3", NULL, 0);
    o.name = TEXT("meter-3");
    o.csr_der = buf_slice(&csr);
    assert_int_equal(ask(c, &o, case_now, &a), OK);
    assert_int_equal(ask(c, &o, case_now, &a), OK); /* the answer was lost; the same key asks */
    o.csr_der = (struct slice){0};
    o.name = TEXT("pump-3");
    assert_int_equal(ask(c, &o, case_now, &a), ERR_AUTH);
    /* none that are none */
    many.name = TEXT("meter-1");
    assert_int_equal(authority_token_make(c->a, &many, case_now, open, &why), ERR_MALFORMED);
    many.name = (struct slice){0};
    many.uses = 0;
    assert_int_equal(authority_token_make(c->a, &many, case_now, open, &why), ERR_MALFORMED);
    many.uses = 1;
    many.attrs_json = TEXT("[]");
    assert_int_equal(authority_token_make(c->a, &many, case_now, open, &why), ERR_MALFORMED);
}

static struct buf listed(struct authority_case *c, int64_t at)
{
    struct buf lines = {0};
    assert_int_equal(authority_tokens(c->a, at, &lines), OK);
    return lines;
}

static void tokens_taken_back(void **state)
{
    struct authority_case *c = *state;
    AUTO(asked_done) struct asked a = {0};
    char first[AUTHORITY_TOKEN_BYTES], second[AUTHORITY_TOKEN_BYTES], id[AUTHORITY_TOKEN_ID_BYTES];
    char again[AUTHORITY_TOKEN_ID_BYTES];
    struct why why = {""};
    AUTO(buf_done) struct buf none = listed(c, case_now);
    assert_int_equal(none.n, 0);
    struct authority_claim claim = {.name = TEXT("meter-1"),
                                    .role = TEXT("sensor"),
                                    .expires_wall_ms = case_now + CASE_DAY_MS,
                                    .uses = 2};
    assert_int_equal(authority_token_make(c->a, &claim, case_now, first, &why), OK);
    claim.name = (struct slice){0};
    claim.pattern = TEXT("pump-*");
    claim.uses = 7;
    assert_int_equal(authority_token_make(c->a, &claim, case_now, second, &why), OK);
    AUTO(buf_done) struct buf both = listed(c, case_now);
    assert_non_null(memmem(both.p, both.n, "\"name\":\"meter-1\"", 16));
    assert_non_null(memmem(both.p, both.n, "\"pattern\":\"pump-*\"", 18));
    assert_non_null(memmem(both.p, both.n, "\"uses\":7", 8));
    assert_null(memmem(both.p, both.n, first, strlen(first)));
    AUTO(buf_done) struct buf over = listed(c, case_now + CASE_DAY_MS);
    assert_int_equal(over.n, 0);
    /* by the token itself; then it opens nothing, is not listed, and is not cancelled twice */
    assert_int_equal(authority_token_cancel(c->a, TEXT(first), case_now, id, &why), OK);
    struct authority_order o = {
        .name = TEXT("meter-1"), .proof = AUTHORITY_BY_TOKEN, .token = TEXT(first)};
    assert_int_equal(ask(c, &o, case_now, &a), ERR_AUTH);
    assert_int_equal(authority_token_cancel(c->a, TEXT(first), case_now, again, &why),
                     ERR_NOT_FOUND);
    assert_int_equal(authority_token_cancel(c->a, TEXT(id), case_now, again, &why), ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "enrol tokens"));
    /* by its id, as it is listed */
    AUTO(buf_done) struct buf one = listed(c, case_now);
    assert_null(memmem(one.p, one.n, id, strlen(id)));
    assert_true(one.n > 23);
    assert_memory_equal(one.p, "{\"id\":\"", 7);
    assert_true(slice_to_text(slice_of(one.p + 7, sizeof id - 1), id, sizeof id));
    assert_int_equal(authority_token_cancel(c->a, TEXT(id), case_now + CASE_DAY_MS, again, &why),
                     ERR_NOT_FOUND);
    assert_int_equal(authority_token_cancel(c->a, TEXT(id), case_now, again, &why), OK);
    assert_string_equal(again, id);
    AUTO(buf_done) struct buf left = listed(c, case_now);
    assert_int_equal(left.n, 0);
    static const char *const wrong[] = {"", "0", "0123456789abcde", "0123456789abcdef0"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_int_equal(authority_token_cancel(c->a, TEXT(wrong[i]), case_now, again, &why),
                         ERR_NOT_FOUND);
    }
}

static void token_texts(void **state)
{
    (void)state;
    static const struct {
        const char *typed, *want;
    } cases[] = {{"0123456789abcdefghjk", "01234-56789-ABCDE-FGHJK"},
                 {"oOiIl 12345-AAAAA--ZZZZZ", "00111-12345-AAAAA-ZZZZZ"},
                 {"0123456789abcdefghj", NULL},
                 {"0123456789abcdefghjkm", NULL},
                 {"0123456789abcdefghju", NULL},
                 {"", NULL}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[AUTHORITY_TOKEN_BYTES];
        enum err err = authority_token_text(TEXT(cases[i].typed), text);
        assert_int_equal(err, cases[i].want != NULL ? OK : ERR_MALFORMED);
        if (cases[i].want != NULL) {
            assert_string_equal(text, cases[i].want);
        }
    }
    assert_true(authority_pattern_matches(TEXT("*"), TEXT("a")));
    assert_true(authority_pattern_matches(TEXT("m-*-x*"), TEXT("m-1-2-x")));
    assert_true(authority_pattern_matches(TEXT("a*b*c"), TEXT("aXbXbXc")));
    assert_false(authority_pattern_matches(TEXT("a*b*c"), TEXT("aXbX")));
    assert_false(authority_pattern_matches(TEXT("a"), TEXT("ab")));
    assert_false(authority_pattern_matches((struct slice){0}, TEXT("a")));
}

static void makers(void **state)
{
    struct authority_case *c = *state;
    struct authority_case factory = {0};
    case_open(&factory);
    AUTO(asked_done) struct asked a = {0};
    AUTO(asked_done) struct asked birth = {0};
    const struct authority_order of_factory = {.name = TEXT("gm-7")};
    assert_int_equal(case_enrol(&factory, "gm-7"), OK);
    assert_int_equal(ask(&factory, &of_factory, case_now, &birth), OK);
    struct authority_order o = {.name = TEXT("gm-7"),
                                .proof = AUTHORITY_BY_MAKER,
                                .current_der = buf_slice(&birth.cert.leaf_der),
                                .chain_pem = buf_slice(&birth.cert.chain_pem)};
    assert_int_equal(ask(c, &o, case_now, &a), ERR_AUTH);
    const struct authority_maker maker = {.roots_pem = pki_ca_pem(factory.pki),
                                          .pattern = TEXT("gm-*")};
    c->setup.makers = &maker;
    c->setup.n_makers = 1;
    c->a = authority_free(c->a);
    assert_int_equal(authority_own_new(&c->setup, &c->a), OK);
    assert_int_equal(ask(c, &o, case_now, &a), OK);
    verifies(c, &a.cert, X509_KIND_CLIENT, case_now, OK);
    o.name = TEXT("gm-8");
    assert_int_equal(ask(c, &o, case_now, &a), ERR_AUTH);
    /* who was removed comes back by an operator's word alone */
    o.name = TEXT("gm-7");
    assert_int_equal(authority_forget(c->a, o.name, case_now), OK);
    assert_int_equal(ask(c, &o, case_now, &a), ERR_NOT_FOUND);
    case_close(&factory);
}

static void servers(void **state)
{
    struct authority_case *c = *state;
    AUTO(key_autofree) struct key *key = case_key();
    AUTO(asked_done) struct asked a = {0};
    const uint8_t ip[4] = {192, 0, 2, 7};
    const struct x509_san own[] = {{X509_SAN_DNS, TEXT("broker.example")},
                                   {X509_SAN_IP, slice_of(ip, sizeof ip)}};
    const struct x509_san foreign[] = {own[0], {X509_SAN_DNS, TEXT("bank.example")}};
    AUTO(buf_done) struct buf good = case_csr(key, "broker.example", own, 2);
    AUTO(buf_done) struct buf bad = case_csr(key, "broker.example", foreign, 2);
    AUTO(buf_done) struct buf none = case_csr(key, "broker.example", NULL, 0);
    assert_int_equal(authority_issue_server(c->a, buf_slice(&bad), case_now, &a.cert, &a.why),
                     ERR_DENIED);
    assert_int_equal(authority_issue_server(c->a, buf_slice(&none), case_now, &a.cert, &a.why),
                     ERR_DENIED);
    assert_int_equal(authority_issue_server(c->a, buf_slice(&good), case_now, &a.cert, &a.why), OK);
    verifies(c, &a.cert, X509_KIND_SERVER, case_now, OK);
    verifies(c, &a.cert, X509_KIND_CLIENT, case_now, ERR_AUTH);
    /* and no device may have that key */
    AUTO(buf_done) struct buf csr = case_csr(key, "meter-1", NULL, 0);
    const struct authority_order o = {.name = TEXT("meter-1"), .csr_der = buf_slice(&csr)};
    assert_int_equal(case_enrol(c, "meter-1"), OK);
    assert_int_equal(ask(c, &o, case_now, &a), ERR_DENIED);
}

static void rates(void **state)
{
    struct authority_case *c = *state;
    AUTO(asked_done) struct asked a = {0};
    const struct authority_order o = {.name = TEXT("meter-1")};
    for (unsigned i = 0; i < 11; i++) {
        assert_int_equal(case_enrol(c, "meter-1"), OK);
        assert_int_equal(ask(c, &o, case_now, &a), i < 10 ? OK : ERR_LIMIT);
    }
    assert_non_null(strstr(a.why.text, "meter-1"));
    assert_int_equal(ask(c, &o, case_now + 60000, &a), OK);
    c->setup.policy = (struct authority_policy){.per_second = 1, .burst = 2};
    c->a = authority_free(c->a);
    assert_int_equal(authority_own_new(&c->setup, &c->a), OK);
    /* what an operator brings in by one command is as many as it is: strangers are counted */
    char token[AUTHORITY_TOKEN_BYTES];
    const struct authority_claim claim = {
        .pattern = TEXT("m-*"), .role = TEXT("meter"), .expires_wall_ms = INT64_MAX, .uses = 9};
    assert_int_equal(authority_token_make(c->a, &claim, case_now, token, &a.why), OK);
    for (unsigned i = 0; i < 6; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "m-%u", i);
        AUTO(key_autofree) struct key *key = case_key();
        AUTO(buf_done) struct buf csr = case_csr(key, name, NULL, 0);
        bool is_strange = i % 2 == 1;
        const struct authority_order other = {.name = TEXT(name),
                                              .proof = is_strange ? AUTHORITY_BY_TOKEN
                                                                  : AUTHORITY_BY_OPERATOR,
                                              .csr_der = buf_slice(&csr),
                                              .token = TEXT(token)};
        assert_int_equal(is_strange ? OK : case_enrol(c, name), OK);
        assert_int_equal(ask(c, &other, case_now + 120000, &a), i < 5 ? OK : ERR_LIMIT);
    }
}

/* A reload: from the next question on, and what was signed before it counts. */
static void another_policy(void **state)
{
    struct authority_case *c = *state;
    AUTO(asked_done) struct asked a = {0};
    AUTO(asked_done) struct asked renewed = {0};
    const struct authority_order o = {.name = TEXT("meter-1")};
    struct authority_policy policy = {.per_name_minute = 2};
    const enum err want[] = {OK, OK, ERR_LIMIT};
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        assert_int_equal(case_enrol(c, "meter-1"), OK);
        if (i == 1) {
            authority_own_set_policy(c->a, &policy);
        }
        assert_int_equal(ask(c, &o, case_now, &a), want[i]);
    }
    policy.per_name_minute = 3;
    authority_own_set_policy(c->a, &policy);
    assert_int_equal(ask(c, &o, case_now, &a), OK);
    assert_int_equal(case_enrol(c, "meter-1"), OK);
    assert_int_equal(ask(c, &o, case_now, &renewed), ERR_LIMIT);

    /* the grace, too */
    int64_t late = a.cert.not_after_wall_ms + 5 * CASE_DAY_MS;
    AUTO(key_autofree) struct key *key = case_key();
    AUTO(buf_done) struct buf csr = case_csr(key, "meter-1", NULL, 0);
    const struct authority_order again = {.name = o.name,
                                          .csr_der = buf_slice(&csr),
                                          .proof = AUTHORITY_BY_RENEWAL,
                                          .current_der = buf_slice(&a.cert.leaf_der)};
    policy.grace_ms = 4 * CASE_DAY_MS;
    authority_own_set_policy(c->a, &policy);
    assert_int_equal(ask(c, &again, late, &renewed), ERR_EXPIRED);
    policy.grace_ms = 6 * CASE_DAY_MS;
    authority_own_set_policy(c->a, &policy);
    assert_int_equal(ask(c, &again, late, &renewed), OK);
}

static void no_memory(void **state)
{
    struct authority_case *c = *state;
    const struct authority_order o = {.name = TEXT("meter-1")};
    assert_int_equal(case_enrol(c, "meter-1"), OK);
    for (long n = 0; n < 200; n++) {
        AUTO(asked_done) struct asked a = {0};
        (void)mem_fail_after(n);
        enum err err = ask(c, &o, case_now + n * 60000, &a);
        bool failed = mem_fail_after(-1) != 0;
        if (err == OK) {
            assert_true(n > 0 && !failed);
            return;
        }
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(by_operator, case_setup, case_teardown),
        cmocka_unit_test_setup_teardown(requests, case_setup, case_teardown),
        cmocka_unit_test_setup_teardown(renewals, case_setup, case_teardown),
        cmocka_unit_test_setup_teardown(renewals_from_before, case_setup, case_teardown),
        cmocka_unit_test_setup_teardown(tokens, case_setup, case_teardown),
        cmocka_unit_test_setup_teardown(tokens_taken_back, case_setup, case_teardown),
        cmocka_unit_test(token_texts),
        cmocka_unit_test_setup_teardown(makers, case_setup, case_teardown),
        cmocka_unit_test_setup_teardown(servers, case_setup, case_teardown),
        cmocka_unit_test_setup_teardown(rates, case_setup, case_teardown),
        cmocka_unit_test_setup_teardown(another_policy, case_setup, case_teardown),
        cmocka_unit_test_setup_teardown(no_memory, case_setup, case_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

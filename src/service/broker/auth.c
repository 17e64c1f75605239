/* Enhanced authentication (MQTT 5, 4.12): the methods, at CONNECT and again on an open connection.
 * docs/GLOSSARY.md: method. */
#include "service/broker/conn_private.h"
#include "service/broker/handshake.h"
#include "service/broker/login_private.h"
#include "service/broker/worker_private.h"

#define TOKEN_METHOD "OAUTH2-JWT"

static bool is_scram(struct slice method)
{
    return slice_is(method, SCRAM_METHOD);
}

/* ---- SCRAM-SHA-256 ---- */

/* Reads the client's first message and writes our challenge. ERR_AUTH: it is no such message. */
static enum err scram_begin(struct worker *w, struct conn *c, struct slice data, struct wr *ret)
{
    struct directory_scram d;
    uint8_t nonce[SCRAM_NONCE_CHARS];
    TRY(login_own(c));
    c->login->scram = scram_free(c->login->scram);
    TRY(scram_new(data, &c->login->scram));
    TRY(directory_scram(w->realm->directory, slice_text(scram_name(c->login->scram)), w->wall_ms,
                        &d));
    scram_nonce(&w->setup.random, nonce);
    return scram_challenge(c->login->scram, &d.salt, d.keys, d.n, slice_of(nonce, sizeof nonce),
                           ret);
}

/* Checks the proof against what the directory says now, which is what said the challenge unless the
 * credential was changed in between. */
static enum err scram_end(struct worker *w, struct conn *c, struct slice data, struct wr *ret,
                          const struct directory_entry **ret_entry)
{
    AUTO(scram_autofree) struct scram *s = TAKE(c->login->scram);
    struct directory_scram d;
    size_t at = 0;
    TRY(scram_finish(s, data, &at, ret));
    TRY(directory_scram(w->realm->directory, slice_text(scram_name(s)), w->wall_ms, &d));
    if (at >= d.n || d.entry == NULL) {
        return ERR_AUTH;
    }
    *ret_entry = d.entry;
    if (d.entry->principal->status == PRINCIPAL_ACTIVE) {
        c->credential = d.credentials[at]->id;
        credential_used(d.credentials[at], w->wall_ms);
    }
    return OK;
}

static void refuse_scram(struct worker *w, struct conn *c, const char *name, enum err err)
{
    struct event e = event_of(w, EVENT_auth_fail, c);
    report_claim(&e, slice_text(name));
    const struct directory_version *v = w->realm->directory;
    const struct directory_entry *entry = directory_find(v, slice_text(name));
    const struct credential *aged = directory_aged(v, entry, CREDENTIAL_SCRAM, w->wall_ms);
    if (err == ERR_AUTH && aged != NULL) {
        handshake_say_aged(&e, entry, aged);
    } else if (err == ERR_UNSUPPORTED) {
        event_reason(&e, "the client insists on channel binding, which is not there. Let it use "
                         "SCRAM-SHA-256, not SCRAM-SHA-256-PLUS");
    } else if (err == ERR_AUTH) {
        event_reason(&e,
                     "wrong name or password for '%s' by SCRAM. The password is in scram.txt of "
                     "its bundle; `sallyport device rotate NAME --credential scram` makes a new "
                     "one",
                     name);
    } else {
        event_reason(&e,
                     "what the client sent is no message of SCRAM-SHA-256 (%s). Let it use a "
                     "library that knows RFC 7677",
                     err_name(err));
    }
    login_refuse(w, c, err == ERR_NOMEM ? MQTT_SERVER_BUSY : MQTT_BAD_CREDENTIALS, &e);
}

static void refuse_too_large(struct worker *w, struct conn *c)
{
    struct event e = event_of(w, EVENT_quota, c);
    event_reason(&e, "the packets of the authentication method are larger than those that the "
                     "client accepts. Raise its maximum packet size, at least to 512");
    login_refuse(w, c, MQTT_PACKET_TOO_LARGE, &e);
}

/* ---- tokens ---- */

static bool is_jwt(struct slice method)
{
    return slice_is(method, TOKEN_METHOD);
}

const char *auth_method(struct slice name)
{
    return is_scram(name) ? SCRAM_METHOD : is_jwt(name) ? TOKEN_METHOD : NULL;
}

static bool takes_tokens(const struct worker *w, const struct conn *c)
{
    return c->entrance->auth_token && w->realm->trust != NULL;
}

/* ret->text is filled beside every error. */
static enum err check_token(const struct worker *w, const struct conn *c, struct slice token,
                            struct why *why, struct jwt_claims *ret)
{
    if (!takes_tokens(w, c)) {
        why_set(why, "no issuer is trusted here: set tokens in sallyport.yaml");
        return ERR_UNSUPPORTED;
    }
    why_set(why, "it could not be checked");
    return trust_verify(w->realm->trust, token, w->wall_ms, why, ret);
}

static void refuse_token(struct worker *w, struct conn *c, enum err err, const char *why)
{
    struct event e =
        event_of(w, err == ERR_EXPIRED ? EVENT_credential_expiring : EVENT_auth_fail, c);
    event_reason(&e, "a token was refused: %s", why);
    login_refuse(w, c, err == ERR_NOMEM ? MQTT_SERVER_BUSY : MQTT_NOT_AUTHORIZED, &e);
}

static void enter_by_token(struct worker *w, struct conn *c, struct slice token, struct slice user)
{
    struct why why = {""};
    struct jwt_claims claims;
    enum err err = check_token(w, c, token, &why, &claims);
    if (err == OK && user.n > 0 && !slice_is(user, claims.subject)) {
        why_set(&why, "its subject is %s, but the user name is another. Leave the user name empty",
                claims.subject);
        err = ERR_DENIED;
    }
    if (err != OK) {
        refuse_token(w, c, err, why.text);
        return;
    }
    const struct directory_entry *entry =
        directory_find(w->realm->directory, slice_text(claims.subject));
    if (entry == NULL) {
        why_set(
            &why,
            "it is good, but there is no device %s. `sallyport device add` makes one with a role",
            claims.subject);
        refuse_token(w, c, ERR_AUTH, why.text);
    } else if (entry->principal->status != PRINCIPAL_ACTIVE) {
        login_refuse_inactive(w, c, entry);
    } else if (login_own(c) != OK) {
        conn_close(w, c, MQTT_SERVER_BUSY);
    } else {
        c->login->token_wall_ms = claims.expires_wall_ms;
        login_go_home(w, c, entry->principal);
    }
}

void auth_token(struct worker *w, struct conn *c, const struct mqtt_connect *connect)
{
    enter_by_token(w, c, connect->password, connect->username);
}

void auth_token_begins(struct worker *w, struct conn *c)
{
    int64_t left = c->login->token_wall_ms - w->wall_ms;
    uint64_t until_ms =
        c->login->token_wall_ms == 0 ? UINT64_MAX : w->now_ms + (left > 0 ? (uint64_t)left : 0);
    if (c->login->token_until_ms != until_ms) { /* who has no login of its own has no end */
        c->login->token_until_ms = until_ms;
    }
}

bool auth_token_over(struct worker *w, struct conn *c)
{
    if (w->now_ms < c->login->token_until_ms) {
        return false;
    }
    if (c->login->token_wall_ms == 0) {
        lane_is_over(w, c);
        return true;
    }
    struct event e = event_of(w, EVENT_credential_expiring, c);
    event_reason(&e, "the token it came in with has ended, and no new one came; its connection was "
                     "closed. Let the client authenticate again (AUTH 0x19) before exp");
    worker_report(w, &e);
    conn_close(w, c, MQTT_NOT_AUTHORIZED);
    return true;
}

/* ---- at CONNECT ---- */

static void refuse_method(struct worker *w, struct conn *c)
{
    struct event e = event_of(w, EVENT_auth_fail, c);
    event_reason(&e,
                 "the client asks for an authentication method that this listener does not have. "
                 "Let it use %s",
                 login_ways_in(c->entrance));
    login_refuse(w, c, MQTT_BAD_AUTH_METHOD, &e); /* SPEC: MQTT5-4.12.0-1 */
}

void auth_begin(struct worker *w, struct conn *c)
{
    const struct mqtt_connect *connect = mqtt_gate_connect(c->gate);
    uint8_t challenge[SCRAM_ANSWER_MAX];
    struct wr out = wr_into(challenge, sizeof challenge);
    if (is_jwt(mqtt_gate_method(c->gate)) && takes_tokens(w, c)) {
        enter_by_token(w, c, mqtt_props_text(&connect->props, MQTT_PROP_AUTH_DATA),
                       (struct slice){0});
        return;
    }
    if (!is_scram(mqtt_gate_method(c->gate)) || !c->entrance->auth_password) {
        refuse_method(w, c);
        return;
    }
    enum err err = scram_begin(w, c, mqtt_props_text(&connect->props, MQTT_PROP_AUTH_DATA), &out);
    if (err != OK) {
        refuse_scram(w, c, "", err);
        return;
    }
    err = mqtt_gate_challenge(c->gate, wr_slice(&out));
    if (err == ERR_TOO_LARGE) {
        refuse_too_large(w, c);
    } else if (err != OK) {
        refuse_scram(w, c, "", err);
    } else {
        conn_mark_dirty(w, c);
    }
}

void auth_answered(struct worker *w, struct conn *c, struct slice data)
{
    char name[SCRAM_NAME_MAX + 1];
    uint8_t answer[SCRAM_ANSWER_MAX];
    struct wr out = wr_into(answer, sizeof answer);
    const struct directory_entry *entry = NULL;
    memcpy(name, scram_name(c->login->scram), sizeof name);
    enum err err = scram_end(w, c, data, &out, &entry);
    if (err == OK && entry->principal->status != PRINCIPAL_ACTIVE) {
        login_refuse_inactive(w, c, entry);
        return;
    }
    if (err == OK) {
        err = mqtt_gate_conclude(c->gate, wr_slice(&out));
    }
    if (err != OK) {
        refuse_scram(w, c, name, err);
        return;
    }
    login_go_home(w, c, entry->principal);
}

/* ---- again ---- */

static void refuse_again(struct worker *w, struct conn *c, enum mqtt_reason reason, const char *why)
{
    struct event e = event_of(w, EVENT_auth_fail, c);
    event_reason(&e, "%s failed to authenticate again: %s. Its connection was closed",
                 c->account->principal->name, why);
    login_refuse(w, c, reason, &e); /* SPEC: MQTT5-4.12.1-2 */
}

static void refresh_token(struct worker *w, struct conn *c, const struct mqtt_auth *m)
{
    struct why why = {""};
    struct jwt_claims claims;
    if (m->reason != MQTT_REAUTHENTICATE) {
        refuse_again(w, c, MQTT_PROTOCOL_ERROR, "an answer came that nobody had asked for");
        return;
    }
    enum err err =
        check_token(w, c, mqtt_props_text(&m->props, MQTT_PROP_AUTH_DATA), &why, &claims);
    if (err == OK && strcmp(claims.subject, c->account->principal->name) != 0) {
        why_set(&why, "the new token is for another subject, %s", claims.subject);
        err = ERR_DENIED;
    }
    if (err == OK) { /* no larger than CONNACK, which names the method, too */
        err = mqtt_server_auth(c->engine, MQTT_SUCCESS, (struct slice){0});
    }
    if (err != OK) {
        refuse_again(w, c, err == ERR_NOMEM ? MQTT_SERVER_BUSY : MQTT_NOT_AUTHORIZED, why.text);
        return;
    }
    c->login->token_wall_ms = claims.expires_wall_ms;
    auth_token_begins(w, c);
    conn_arm(w, c);
    conn_mark_dirty(w, c);
}

void reauth_event(struct worker *w, struct conn *c, const struct mqtt_auth *m)
{
    struct slice data = mqtt_props_text(&m->props, MQTT_PROP_AUTH_DATA);
    if (is_jwt(slice_text(mqtt_server_terms(c->engine)->auth_method))) {
        refresh_token(w, c, m);
        return;
    }
    uint8_t answer[SCRAM_ANSWER_MAX];
    struct wr out = wr_into(answer, sizeof answer);
    const struct directory_entry *entry = NULL;
    bool is_first = m->reason == MQTT_REAUTHENTICATE;
    if (!is_first && c->login->scram == NULL) {
        refuse_again(w, c, MQTT_PROTOCOL_ERROR, "an answer came that nobody had asked for");
        return;
    }
    uint64_t credential = c->credential;
    enum err err = is_first ? scram_begin(w, c, data, &out) : scram_end(w, c, data, &out, &entry);
    if (err == OK && is_first &&
        strcmp(scram_name(c->login->scram), c->account->principal->name) != 0) {
        err = ERR_DENIED; /* a connection is one principal's, from CONNACK to its end */
    }
    if (err == OK && !is_first &&
        (entry->principal->id != c->account->principal->id ||
         entry->principal->status != PRINCIPAL_ACTIVE)) {
        err = ERR_DENIED;
    }
    if (err == OK) {
        err = mqtt_server_auth(c->engine, is_first ? MQTT_CONTINUE_AUTHENTICATION : MQTT_SUCCESS,
                               wr_slice(&out));
        if (err == ERR_TOO_LARGE) {
            c->credential = credential;
            refuse_too_large(w, c);
            return;
        }
    }
    if (err != OK) {
        c->credential = credential;
        refuse_again(w, c, err == ERR_NOMEM ? MQTT_SERVER_BUSY : MQTT_NOT_AUTHORIZED,
                     err == ERR_DENIED ? "it gave another name than at CONNECT, or is not active"
                     : err == ERR_AUTH ? "the proof is wrong"
                                       : "what it sent is no message of SCRAM-SHA-256");
        return;
    }
    conn_mark_dirty(w, c);
}

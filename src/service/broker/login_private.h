/* login_private - who comes in on a connection, and whether; shared by the files of this folder
 * only. */
#ifndef SERVICE_BROKER_LOGIN_PRIVATE_H
#define SERVICE_BROKER_LOGIN_PRIVATE_H

#include "base/err.h"
#include "base/slice.h"
#include "wire/mqtt/auth.h"
#include "wire/mqtt/connect.h"
#include "wire/mqtt/reason.h"

struct conn;
struct conn_login;
struct directory_entry;
struct entrance;
struct event;
struct handover;
struct principal;
struct verified;
struct worker;

/* login.c */
void login_begin(struct worker *w, struct conn *c);
void login_verified(struct worker *w, struct verified *v);
extern const struct conn_login LOGIN_NONE;
/* login_own - c has a login of its own from here on, that may be written. ERR_NOMEM. login_take -
 * c's, for somebody else, who gives it to login_put or login_free. login_put - c had none of its
 * own; takes l, or NULL. */
MUST_USE enum err login_own(struct conn *c);
struct conn_login *login_take(struct conn *c);
void login_put(struct conn *c, struct conn_login *l);
struct conn_login *login_free(struct conn_login *l);
/* login_refuse - counts, reports, and closes with this reason. */
void login_refuse(struct worker *w, struct conn *c, enum mqtt_reason reason, const struct event *e);
void login_refuse_inactive(struct worker *w, struct conn *c, const struct directory_entry *entry);
/* login_go_home - who it is is known: the session is opened here or on its home worker. c may be
 * gone afterwards. */
void login_go_home(struct worker *w, struct conn *c, const struct principal *p);
/* login_ways_in - what this listener takes, for the hint of a refusal. */
const char *login_ways_in(const struct entrance *e);
/* role_is_many - its clients are spread by client id as well. Allocates nothing: a home that
 * depends on free memory would be two homes. */
bool role_is_many(const struct worker *w, const struct principal *p);
unsigned home_of(const struct worker *w, const struct principal *p, struct slice client_id,
                 bool is_many);

/* auth.c: enhanced authentication */
/* auth_method - the name of one that we take, as a literal; NULL: it is none. */
const char *auth_method(struct slice name);
/* auth_begin - CONNECT named a method. */
void auth_begin(struct worker *w, struct conn *c);
/* auth_token - the password of CONNECT is a token. */
void auth_token(struct worker *w, struct conn *c, const struct mqtt_connect *connect);
/* auth_token_begins - the connection is open (or has a new token): its end is known from here. */
void auth_token_begins(struct worker *w, struct conn *c);
/* auth_token_over - the token's end has come: says so and closes. False: not yet. */
bool auth_token_over(struct worker *w, struct conn *c);
/* auth_answered - the client's AUTH before CONNACK; data borrows from what is being fed. */
void auth_answered(struct worker *w, struct conn *c, struct slice data);
/* reauth_event - AUTH on an open connection. */
void reauth_event(struct worker *w, struct conn *c, const struct mqtt_auth *m);

/* open.c */
/* credential_stands - is what let c in still a live credential of this principal, and is its
 * certificate taken back by no list? */
bool credential_stands(const struct worker *w, const struct conn *c, const struct principal *p);
void open_here(struct worker *w, struct conn *c, const struct principal *principal);
void handover_arrived(struct worker *w, struct handover *h);

#endif

/* door_private - the parts of the CoAP door, shared by the files of this folder only. */
#ifndef SERVICE_GATEWAY_DOOR_PRIVATE_H
#define SERVICE_GATEWAY_DOOR_PRIVATE_H

#include "base/map.h"
#include "base/thin_list.h"
#include "base/wheel.h"
#include "core/passage.h"
#include "engine/coap_block_body.h"
#include "net/oscore_server.h"
#include "service/directory/late.h"
#include "service/gateway/coap_door.h"
#include "service/gateway/coap_stream.h"
#include "service/gateway/door_path.h"
#include "service/gateway/spoof.h"

enum {
    ETAG_BYTES = 8,
    ETAGS_MAX = 4,       /* of one request that are looked at */
    TICKETS_MAX = 64,    /* requests of one association that wait for a commit or a barrier */
    PASSING_MAX = 64,    /* large messages that are not retained, kept to be fetched in blocks */
    PASSING_MS = 120000, /* ... for so long */
    LOOKUPS_KEPT = 8,
    FETCHES_KEPT = 64,
    BODY_MARGIN = 512 /* of limits.packet_bytes: what a PUBLISH has beside topic and payload */
};

/* What only few associations have at a time; there while one of these holds something. */
struct sidework {
    struct list errands;             /* commands on their way to it; errand.c's */
    struct list relays;              /* what it asks other servers; the proxy's */
    struct registering *registering; /* its links are being fetched; registration.c's. NULL: no */
};

/* One association, of DTLS, OSCORE or a stream, and whoever is at its other end. There may be
 * 100,000: what is not of use to most of them stands elsewhere (observers_test). */
struct association {
    uint64_t id; /* the dtls's name for it, or the stream's; never used again */
    struct coap_door *door;
    struct coap_endpoint *endpoint; /* NULL when it goes over a stream */
    struct coap_stream *stream;     /* NULL when it goes in datagrams */
    struct account *account;        /* held until the association closes */
    uint64_t credential;            /* id of the one it came in by */
    uint64_t step_up;               /* its principal's when it came in */
    struct digest *cert_id;         /* of the certificate it showed; NULL: none. The stream's, or
                                       owned */
    int64_t credential_ends_wall_ms;
    uint64_t heard_at_ms, nudged_at_ms;
    struct timer timer;       /* its node, when it is gone: in door->gone */
    struct thin_list watches; /* as few as the engine's observations and tickets */
    struct thin_list lookers, tickets;
    struct bucket reads;
    struct sidework *side; /* NULL: none */
    struct away *away;     /* oscore_homes.c's; NULL: this worker hears it */
    uint32_t announced_at_s;
    uint16_t n_tickets, n_watches;
    uint16_t out_max;  /* bytes of a message to it in one datagram; 0: of any that we send */
    bool is_announced; /* the desk knows where it is */
    bool is_quiet;     /* it did not acknowledge the last command: it is asked when it is heard */
    bool has_published, has_proxied, is_gone;
    struct net_peer peer;
};

/* The large message that a watch was notified of last and that is not retained. */
struct passing {
    const struct msg *m; /* shared */
    struct watch *watch;
    uint64_t key, until_ms;
    struct list_node in_passing; /* of the door, oldest first */
};

/* A topic that an association observes, under one or more tokens. */
struct watch {
    struct observer observer; /* first; its cookie names the watch */
    struct list_node held;    /* in door->held, while it is not told for want of memory */
    struct list_node in_association;
    struct association *a;
    struct thin_list lookers;
    struct passing *passing; /* NULL: none */
    uint16_t topic_n;
    bool is_ready; /* the barrier has passed: the subscription is live everywhere */
    uint8_t topic[];
};

/* One token of a watch: what CoAP calls an observation. */
struct looker {
    struct list_node in_watch, in_association;
    struct watch *watch;
    uint64_t key;  /* the endpoint's name for it */
    uint64_t told; /* poison_key of what it was notified last; 0: nothing yet */
    uint8_t szx;   /* the largest block it wants. SPEC: RFC7959 2.6 */
    uint8_t token_n;
    uint8_t token[];
};

/* What an answer needs to know of its request, also when it waits. */
struct asker {
    struct association *a;
    uint32_t exchange;
    uint32_t quiet; /* the value of No-Response; 0: answer all */
    bool has_accept, has_block1, has_block2;
    bool is_bert; /* its Block1 is of many blocks. SPEC: RFC8323 6 */
    struct coap_block block1, block2;
    uint32_t accept;
    uint8_t n_etags;
    uint8_t etags[ETAGS_MAX][ETAG_BYTES];
    uint8_t token_n;
    uint8_t token[COAP_ENDPOINT_TOKEN_MAX];
};

/* A request of the peer while it is served. */
struct request {
    struct asker asker;
    const struct coap_message *m;
    enum coap_observe_wish observe;
    uint64_t echo_age_ms; /* of the valid Echo it carries; UINT64_MAX: none */
    struct door_path path;
};

/* A request whose answer waits: for a commit, or for the barrier of its watch. */
struct ticket {
    struct list_node node;
    struct asker asker;
    uint64_t cookie;     /* of the commit; 0 when a watch is waited for */
    struct watch *watch; /* NULL when a commit is waited for */
    uint8_t code;        /* of the answer after the commit */
};

/* What was said of something that may come in floods. */
struct door_told {
    uint64_t at_ms; /* the last event; 0: none yet */
    uint32_t n;     /* since */
};

/* Networks repeat a datagram now and then; a burst is somebody's doing. */
enum { REPLAYS_BURST = 16, REPLAYS_INTERVAL_MS = 10 * 1000 };

struct door_replays {
    uint64_t since_ms;
    uint32_t n;        /* of this interval */
    uint32_t n_untold; /* in no event yet */
    bool is_told;      /* in this interval */
};

/* A lookup of the resource directory whose answer is being fetched in blocks. */
struct kept_lookup {
    uint64_t association, question; /* who asks what, as a hash */
    uint64_t epoch;                 /* of the realm that it is right for */
    uint64_t until_ms;
    struct buf text;
};

/* The pack of a FETCH whose answer goes in blocks: clients ask for the rest without it. */
struct kept_fetch {
    uint64_t association, question; /* who asked what, as a hash */
    uint64_t until_ms;
    struct buf pack;
};

struct coap_door {
    struct coap_door_setup setup;
    struct coap_limits coap;
    struct siphash_key echo_key; /* random */
    struct coap_counters counts;
    struct coap_spares spares;
    uint8_t plain[DTLS_PLAIN_MAX]; /* the datagram that leaves now */
    struct ticket *spare_ticket;   /* rests until the next request that waits; NULL: none */
    struct dtls *dtls;
    struct dtls *oscore; /* borrowed from it; NULL: this entrance speaks no OSCORE */
    struct proxy *proxy; /* NULL: this door is none */
    uint64_t now_ms;
    int64_t wall_ms;
    uint64_t epoch; /* of the realm that the associations were last held against */
    unsigned depth; /* of calls into the door: what is gone is freed by the outermost */
    bool is_draining;
    struct map associations; /* by id */
    struct map beginning;    /* watches that wait for their barrier, by cookie */
    size_t n_watches;
    struct map tickets; /* of commits, by cookie */
    struct coap_bodies bodies;
    struct list passing; /* of watches that keep a large message */
    size_t n_passing;
    struct thin_list gone;
    struct list held; /* watches whose news waits, as one reference, until there is memory */
    struct shedder shedder;
    struct map failures; /* poison.c's */
    struct list failures_by_age;
    struct wheel wheel;
    uint64_t next_cookie, next_key;
    uint64_t plain_told_at_ms; /* the last event about CoAP without DTLS; 0: none yet */
    uint32_t n_plain;          /* such datagrams since */
    struct map number_asks;    /* of OSCORE contexts, by cookie; coap_oscore.c's */
    struct map routes, aways;  /* oscore_homes.c's */
    unsigned via;              /* the worker that heard what is being served */
    struct door_told refused[OSCORE_REFUSALS];
    struct door_told plain_refused; /* plain.c's */
    struct door_replays replays;    /* over DTLS */
    struct spoof_table spoof;
    struct multicast *multicast;              /* multicast.c's; NULL: nothing was heard */
    struct coap_counters shown;               /* what of counts the worker's counters have */
    struct kept_lookup lookups[LOOKUPS_KEPT]; /* lookup.c's */
    struct kept_fetch fetches[FETCHES_KEPT];  /* etch.c's */
    struct list streams, dirty_streams;
    struct wheel callers; /* the deadlines of streams that have not logged in */
    uint64_t next_stream;
    struct list wishes; /* for certificates, oldest first; est_sign.c's */
    size_t n_wishes;
};

/* coap_door.c */
struct slice association_key(const void *value);
void door_enter(struct coap_door *d, uint64_t now_ms);
void door_leave(struct coap_door *d);
/* association_serve - what an endpoint has said leaves, and its timer is set anew. */
void association_serve(struct association *a);

/* stranger.c: who comes; ctx is the door */
/* stranger_find_psk, stranger_failed, stranger_foreign - as dtls_handler has them. */
enum err stranger_find_psk(void *ctx, struct slice identity, uint8_t *key, size_t *ret_n,
                           uint64_t *ret_credential);
void stranger_failed(void *ctx, const struct net_peer *peer, enum dtls_failure why,
                     struct slice psk_identity, const struct tls_refusal *how);
void stranger_foreign(void *ctx, const struct net_peer *peer, struct slice datagram);
/* stranger_who_is - whose handshake was this? Errors have been reported. *ret_is_late as
 * association_who. */
MUST_USE enum err stranger_who_is(struct coap_door *d, const struct dtls_info *info,
                                  struct digest *ret_cert_id,
                                  const struct directory_entry **ret_entry,
                                  const struct credential **ret_credential, bool *ret_is_late);
/* stranger_steps_up - ERR_DENIED, reported: it came by a ticket, and a response asks p for more. */
MUST_USE enum err stranger_steps_up(struct coap_door *d, const struct dtls_info *info,
                                    const struct principal *p);
/* association_who - whose certificate is this? ERR_DENIED: revoked by a list; else errors of
 * directory_login_x509 and late_look. They have been reported. *ret_is_late: its time is over, and
 * it may renew. */
MUST_USE enum err association_who(struct coap_door *d, const struct net_peer *peer,
                                  const struct late_claim *claim,
                                  const struct directory_entry **ret_entry,
                                  const struct credential **ret_credential, bool *ret_is_late);

/* association.c: from there to the end */
struct dtls_handler door_dtls_handler(struct coap_door *d, const struct entrance *entrance);
/* association_begin - its principal was found; is_late: it may only renew. Gives nothing when it
 * comes too often or at the wrong door: ERR_DENIED, which has been reported; or without memory. */
MUST_USE enum err association_begin(struct coap_door *d, const struct dtls_info *info,
                                    struct coap_stream *stream, const struct directory_entry *entry,
                                    const struct credential *credential, bool is_late,
                                    const char *words, struct association **ret);
/* association_begin_as - the first half: it is there, as p; its credential is the caller's to name.
 * association_welcome - the second: said and counted, or, too often or at the wrong door, gone:
 * ERR_DENIED, which has been reported. more: what else there is to say. */
MUST_USE enum err association_begin_as(struct coap_door *d, const struct dtls_info *info,
                                       struct coap_stream *stream, const struct principal *p,
                                       struct association **ret);
MUST_USE enum err association_welcome(struct association *a, const char *words, const char *cipher,
                                      const char *more);
/* association_refuse_unknown - a request with an option that only a proxy might carry on, and it is
 * for no other server: it is answered, and ev is no request any more. */
void association_refuse_unknown(struct association *a, struct coap_event *ev);
/* association_report_refused - what its engine has answered by itself leaves a trace. counts: as
 * they were before. message NULL: it is in the datagram. */
void association_report_refused(struct association *a, const struct coap_counters *before,
                                struct slice datagram, const struct coap_message *message);
/* association_find - by id; NULL: it has ended. */
struct association *association_find(const struct coap_door *d, uint64_t id);
/* association_close - the association ends now; why is for the event, NULL: it has been said. The
 * struct lives until the door is left. */
void association_close(struct association *a, const char *why);
/* association_heard - a message of its own has come: for the detectors. */
void association_heard(const struct association *a);
/* association_recheck - is it still let in under the realm of now? Closes it when not. */
void association_recheck(struct association *a);
struct association *association_free(struct association *a);
/* association_side - makes it when there is none; NULL: no memory. association_fit_side - it goes
 * when nothing is in it. */
struct sidework *association_side(struct association *a);
void association_fit_side(struct association *a);
struct event door_event(const struct coap_door *d, enum event_category category);
struct event association_event(const struct association *a, enum event_category category);
void door_report(struct coap_door *d, const struct event *e);

/* talk.c: what an association says, in datagrams or over a stream. As coap_endpoint_ and
 * coap_channel_. */
/* talk_channel - NULL: it goes in datagrams. */
struct coap_channel *talk_channel(const struct association *a);
MUST_USE enum err talk_respond(struct association *a, uint32_t exchange,
                               const struct coap_answer *answer);
MUST_USE enum err talk_drop(struct association *a, uint32_t exchange);
MUST_USE enum err talk_observe(struct association *a, uint32_t exchange, uint64_t key);
MUST_USE enum err talk_notify(struct association *a, uint64_t key,
                              const struct coap_answer *answer);
void talk_unobserve(struct association *a, uint64_t key);
MUST_USE enum err talk_request(struct association *a, const struct coap_request *request,
                               uint32_t *ret_id);
void talk_forget(struct association *a, uint32_t id);
/* talk_hurry - it was heard: what it has not acknowledged goes out again. */
void talk_hurry(struct association *a);
bool talk_is_unacked(const struct association *a, uint64_t key);
size_t talk_bytes(const struct association *a);
size_t talk_shed(struct association *a);
uint64_t talk_deadline(const struct association *a);
/* talk_whole_max - a larger value goes in blocks. talk_szx_max - of at most this size. */
size_t talk_whole_max(const struct association *a);
uint8_t talk_szx_max(const struct association *a);

/* coap_stream.c */
/* stream_channel - of its association; borrows. */
struct coap_channel *stream_channel(const struct coap_stream *s);
uint64_t stream_id(const struct coap_stream *s);
/* stream_backlog - bytes that its socket has not taken. */
size_t stream_backlog(const struct coap_stream *s);
/* stream_mark - it may have something to say. */
void stream_mark(struct coap_stream *s);
/* stream_leave - its association ends: so does the stream, when its client has been told. */
void stream_leave(struct coap_stream *s);
/* stream_follow - after a call of its engine: what has ended there ends here. */
void stream_follow(struct coap_stream *s);
/* streams_turn - of those that wait for a CSM, who has waited too long. streams_turn_away - all of
 * them end. */
void streams_turn(struct coap_door *d);
size_t streams_turn_away(struct coap_door *d);

/* plain.c: CoAP without protection at such an entrance, while an exception allows it */
/* plain_open - makes d->dtls in front of d->oscore, and takes that also on an error. ERR_NOMEM. */
MUST_USE enum err plain_open(struct coap_door *d, const struct dtls_handler *handler);
/* plain_admit - a peer has proven its address. Errors as association_begin. */
MUST_USE enum err plain_admit(struct coap_door *d, const struct dtls_info *info);
/* plain_is - did it come so? plain_stands - and is what let it in still in force? Else it has been
 * closed. */
bool plain_is(const struct association *a);
bool plain_stands(struct association *a);

/* coap_oscore.c: an entrance that speaks OSCORE instead of DTLS */
/* oscore_open - makes d->dtls. ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err oscore_open(struct coap_door *d, const struct dtls_handler *handler);
void oscore_done(struct coap_door *d);
/* oscore_who_is - ERR_DENIED: the context is not in force any more. */
MUST_USE enum err oscore_who_is(struct coap_door *d, const struct dtls_info *info,
                                const struct directory_entry **ret_entry,
                                const struct credential **ret_credential);
/* oscore_numbers_done - the numbers of this cookie are on disk; false: it is something else's. */
bool oscore_numbers_done(struct coap_door *d, uint64_t cookie);
/* proxy.c, proxy_upstream.c: requests that another server answers */
/* proxy_open - makes d->proxy where the driver can ask others. ERR_NOMEM. */
MUST_USE enum err proxy_open(struct coap_door *d);
void proxy_done(struct coap_door *d);
void proxy_follow(struct coap_door *d, const struct proxy_rules *rules);
/* proxy_takes - is a request with these options for another server? */
bool proxy_takes(const struct association *a, struct slice options);
void proxy_serve(const struct request *given);
void proxy_turn(struct coap_door *d);
uint64_t proxy_deadline(const struct coap_door *d);
/* proxy_shed - drops what is cached, because memory is short. Gives how many. */
size_t proxy_shed(struct coap_door *d);
/* proxy_left - the association ends: nobody waits for what it asked. */
void proxy_left(struct association *a);
/* proxy_bytes - what its end would free there. O(requests). For this and the next two it has
 * sidework. */
size_t proxy_bytes(const struct association *a);
/* proxy_looker_ended - the endpoint says that the observation `key` is over. */
void proxy_looker_ended(struct association *a, uint64_t key);
/* proxy_recheck - observations that no grant covers any more end with 4.03. */
void proxy_recheck(struct association *a);

/* oscore_homes.c: an OSCORE entrance on more than one worker */
void homes_init(struct coap_door *d);
void homes_done(struct coap_door *d);
/* homes_elsewhere - what oscore_server_config asks: true: it was handed to the home of its kid. */
bool homes_elsewhere(void *ctx, const struct net_peer *peer, struct slice kid,
                     struct slice datagram);
/* homes_know - is an association at this address at another worker? */
bool homes_know(const struct coap_door *d, const struct net_peer *peer);
/* homes_turn - what other workers have handed to us. */
void homes_turn(struct coap_door *d);
/* homes_located - a has proven this address, by what came via d->via: that worker learns whose the
 * acknowledgements from there are. homes_closed - and that they are not any more. */
void homes_located(struct association *a, const struct net_peer *peer);
void homes_closed(struct association *a);

/* shed.c: the door's part in the memory ceiling */
struct shedder door_shedder(struct coap_door *d);
/* shed_look - follows the pressure of memory as it is now. */
void shed_look(struct coap_door *d);
/* shed_holds - true: this watch is told later, and kept for that. */
bool shed_holds(struct watch *w);
/* shed_release - tells those that need not wait any more. */
void shed_release(struct coap_door *d);

/* poison.c: values that an observer never acknowledges */
struct slice failure_key(const void *value);
/* poison_key - of a value for the principal at this association. */
uint64_t poison_key(const struct association *a, const struct msg *m);
/* poison_failed - the last notification of this observation was never acknowledged. */
void poison_failed(struct association *a, const struct looker *l);
/* poison_holds - true: the principal failed at this value as often as its role allows. */
bool poison_holds(const struct association *a, const struct msg *m);
/* poison_refuses - true: the topic has such a value now, and whoever wanted to observe it was told.
 */
bool poison_refuses(const struct asker *asker, struct slice topic);
void poison_turn(struct coap_door *d);
void poison_forget_all(struct coap_door *d);

/* request.c: what a request means */
void request_serve(struct association *a, const struct coap_event *ev);
/* request_method_bit - as the policy names it; 0: none of them. */
unsigned request_method_bit(uint8_t code);
/* request_is_met - If-Match and If-None-Match, as this worker knows the topic; false: 4.12 was
 * sent. SPEC: RFC7252 5.10.8 */
bool request_is_met(const struct request *rq);
/* What a payload is. */
struct content {
    uint16_t format; /* UINT16_MAX: not said */
    bool is_utf8;
};
/* request_publish - the passage is asked, the message made and routed; code: of the answer, 2.04
 * becoming 2.01 for what is new. said NULL: what the request says of its payload. */
void request_publish(const struct request *rq, bool retain, struct slice payload,
                     const struct content *said, uint8_t code);
/* request_reads - may it read the topic, once more and now? false: it was refused. */
bool request_reads(const struct request *rq, bool is_free);
/* asker_has - does it say that it has what this ETag names? */
bool asker_has(const struct asker *asker, const uint8_t etag[ETAG_BYTES]);
/* topic_read - answers with the retained message of the topic. observes: the exchange has been
 * accepted as an observation, and a topic without one is answered with the empty value. Gives the
 * code that was sent. */
uint8_t topic_read(const struct asker *asker, struct slice topic, bool observes);

/* request_refuse.c: refusals */
/* request_refuse - an answer with `text` and one event with `why`. */
void request_refuse(const struct request *rq, enum event_category category, uint8_t code,
                    const char *text, const char *why);
/* request_refuse_by_passage - err and *why are the passage's; wait_ms: after which rate allows it.
 */
void request_refuse_by_passage(const struct request *rq, enum err err, const struct decision *why,
                               uint64_t wait_ms);
/* request_allowed - the event that samples what was allowed. */
void request_allowed(const struct request *rq, const char *what);
/* request_refuse_rate - 4.29; request_refuse_size - 4.13 with Size1; both with their event. */
void request_refuse_rate(const struct request *rq, enum event_category category, uint64_t wait_ms,
                         const char *why);
void request_refuse_size(const struct request *rq, uint32_t most, const char *why);
/* request_refuse_unavailable - 5.03 with Max-Age, counted. */
void request_refuse_unavailable(const struct asker *asker);
/* request_refuse_busy - 5.03 with Max-Age and an event: somebody else has to be waited for. */
void request_refuse_busy(const struct request *rq, const char *why);
/* request_refuse_unrouted - what the broker did not take: the ceiling of memory, the store, or
 * memory itself. */
void request_refuse_unrouted(const struct request *rq, enum err err);

/* ticket.c: answers that wait */
/* ticket_new - room for one more waiting answer. ERR_LIMIT, ERR_NOMEM. */
MUST_USE enum err ticket_new(const struct asker *asker, uint64_t cookie, struct watch *watch,
                             struct ticket **ret);
struct ticket *ticket_free(struct ticket *t);
void ticket_committed(struct ticket *t);
void tickets_done(struct coap_door *d);

/* patch.c: PATCH and iPATCH of a topic */
void patch_serve(const struct request *rq);
/* patch_find - the value that is patched, NULL: there is none; false: it was refused. */
bool patch_find(const struct request *rq, const struct msg **ret);

/* etch.c: FETCH of a topic, and patch packs. SPEC: RFC8790 */
#define ETCH_FORMATS "senml-etch+json (320) or +cbor (322)"
struct etch_form; /* how packs are written */
/* etch_find - NULL: packs do not come in this Content-Format. */
const struct etch_form *etch_find(uint32_t format);
/* etch_patch - what may be done, and its conditions, were looked at. */
void etch_patch(const struct request *rq, const struct etch_form *form);
/* etch_fetch - of a topic, with its refusals. */
void etch_fetch(const struct request *rq);
/* fetches_drop - packs that are kept, because memory is short or the door ends. Gives how many. */
size_t fetches_drop(struct coap_door *d);

/* answer.c: how answers look */
/* answer_send - gives the code that was sent; 0: none, No-Response or the exchange has ended. */
uint8_t answer_send(const struct asker *asker, const struct coap_answer *answer);
uint8_t answer_text(const struct asker *asker, uint8_t code, const char *text);
/* answer_number - the same with one option that is a number: Max-Age or Size1. */
uint8_t answer_number(const struct asker *asker, uint8_t code, const char *text, uint16_t option,
                      uint32_t number);

/* A message in CoAP's terms. */
struct value {
    struct coap_answer answer; /* borrows from here and from the message */
    uint8_t options[48];
};
/* value_of - m NULL: the empty value. etag: of ETAG_BYTES; NULL: the one of the retained message,
 * if it is one. */
void value_of(const struct coap_door *d, const struct msg *m, const uint8_t *etag,
              struct value *ret);
/* value_valid - 2.03: what the client has is still what there is; only its age is told anew. SPEC:
 * RFC7252 5.9.1.3 */
void value_valid(const struct coap_door *d, const struct msg *m, const uint8_t etag[ETAG_BYTES],
                 struct value *ret);
/* value_part - a part of m that was selected from it, in this Content-Format. */
void value_part(const struct coap_door *d, const struct msg *m, const uint8_t etag[ETAG_BYTES],
                uint16_t format, struct slice part, struct value *ret);
/* value_format - the Content-Format of a message; UINT16_MAX: not known. */
uint16_t value_format(const struct msg *m);
/* value_props - what MQTT 5 subscribers are told of a payload in this format. */
struct slice value_props(uint16_t format, bool is_utf8, uint8_t *dst, size_t cap);
/* value_etag - of a retained message; another process never gives the same. */
void value_etag(const struct coap_door *d, const struct msg *m, uint8_t ret[ETAG_BYTES]);

/* One block of an answer, or all of it. */
struct cut {
    struct coap_answer answer; /* borrows from here and from the whole */
    uint8_t options[96];
};
/* answer_cut - the block of a 2.05, or of what a 2.04 gives, that `want` names. is_wanted: the peer
 * has asked by blocks; without that, what the association takes in one message stays whole.
 * ERR_NOT_FOUND: it begins behind the end. */
MUST_USE enum err answer_cut(const struct association *a, const struct coap_answer *whole,
                             struct coap_block want, bool is_wanted, struct cut *ret);

/* blocks.c: requests that come in blocks, and large messages that pass */
/* blocks_take - what is to be done with a request that may be a block: false: it has been answered.
 * True: serve it; its payload is the whole body, in *kept when that was made of several blocks. */
bool blocks_take(struct request *rq, struct coap_message *whole, struct buf *kept);
/* passing_keep - of a watch whose observers were told of the first block of m only. Fills the ETag
 * under which the rest is found. */
void passing_keep(struct watch *w, const struct msg *m, uint8_t etag[ETAG_BYTES]);
void passing_drop(struct watch *w);
/* passing_find - what the rest of is asked for, with its ETag; NULL: nothing is kept. */
const struct msg *passing_find(const struct watch *w, uint8_t etag[ETAG_BYTES]);
void passing_expire(struct coap_door *d);
/* blocks_shed - drops every unfinished value and every large message that passes, because memory is
 * short: nobody was promised them. Gives how many. */
size_t blocks_shed(struct coap_door *d);
uint64_t passing_deadline(const struct coap_door *d);

/* errand.c: commands to devices */
/* errands_heard - something came from it. */
void errands_heard(struct association *a);
/* errands_close - the association has ended. */
void errands_close(struct association *a);
/* errand_event - what the endpoint says of a request of ours. */
void errand_event(struct association *a, const struct coap_event *ev);
uint64_t errands_deadline(const struct association *a);
void errands_expire(struct association *a);
/* errands_turn - takes what the desks have sent. */
void errands_turn(struct coap_door *d);
/* errand_can_be_asked - can requests of ours go to it at all? */
bool errand_can_be_asked(const struct association *a);
/* errand_fetch_links - /.well-known/core of the device, in its turn; enrol_fetched says how it
 * ended. ERR_NOMEM. */
MUST_USE enum err errand_fetch_links(struct association *a);
struct errand_fetched {
    uint8_t code;
    uint16_t format;
    const char *why; /* static: code is ours, and this the reason; NULL: the device has answered */
    struct slice links;
};

/* registration.c: devices in the resource directory */
#define ENROL_PATH       "/rd"
#define LOOKUP_RESOURCES "/rd-lookup/res"
#define LOOKUP_ENDPOINTS "/rd-lookup/ep"
enum { ENROL_BASE_BYTES = NET_PEER_TEXT_BYTES + 16 };
/* enrol_base - where the device is, as a URI without a path. */
struct slice enrol_base(const struct association *a, char dst[ENROL_BASE_BYTES]);
/* enrol_serve - what the policy has allowed; false: it is no resource of the directory.
 * lookup_serve (lookup.c) - the same. */
bool enrol_serve(const struct request *rq);
bool lookup_serve(const struct request *rq);
/* lookups_drop - those that are kept, because memory is short or the door ends. Gives how many. */
size_t lookups_drop(struct coap_door *d);
/* enrol_takes_body - may its payload come in blocks? */
bool enrol_takes_body(const struct request *rq);
/* enrol_fetched - the links of a simple registration are there, or not. */
void enrol_fetched(struct association *a, const struct errand_fetched *said);
/* enrol_turn - what the homes of principals have decided. */
void enrol_turn(struct coap_door *d);

/* watch.c: observations */
void watch_request(const struct request *rq);
void watch_cancel(const struct request *rq);
/* watch_ready - the barrier has passed. */
void watch_ready(struct watch *w);
void watch_notify(struct watch *w);
/* watch_nudge - nothing was heard of the association for long: it is told a state that it observes,
 * confirmably, so that who is still there stays and who is not is found out. */
void watch_nudge(struct association *a);
/* watch_recheck - ends it with 4.03 when no grant covers it any more. */
void watch_recheck(struct watch *w);
struct watch *watch_free(struct watch *w);
/* watch_find - of this topic; NULL: it does not observe it. O(watches of the association). */
struct watch *watch_find(const struct association *a, struct slice topic);
/* looker_ended - the endpoint says that the observation `key` is over; is_lost: because nobody
 * acknowledged. */
void looker_ended(struct association *a, uint64_t key, bool is_lost);
/* lookers_lost - the peer is gone; what was on its way to it did not arrive. */
void lookers_lost(struct association *a);

/* multicast.c: requests to groups */
void multicast_done(struct coap_door *d);
/* multicast_turn - answers whose time has come leave. */
void multicast_turn(struct coap_door *d);
uint64_t multicast_deadline(const struct coap_door *d);

/* discovery.c */
void discovery_serve(const struct request *rq);

/* est_resources.c: EST */
struct est_short;
void est_serve(const struct request *rq);
/* est_offers - may it ask for that at all? */
bool est_offers(const struct association *a, const struct est_short *what);
/* est_takes_body - may its payload come in blocks? est_admits - may more of it come, by what is
 * known before it is whole? False: it was refused. */
bool est_takes_body(const struct request *rq);
bool est_admits(const struct request *rq);

/* est_sign.c: certificates that are asked for */
/* est_sign - a whole request that est_admits. est_sign_rest - a further block of its answer. */
void est_sign(const struct request *rq, const struct est_short *what);
void est_sign_rest(const struct request *rq, const struct est_short *what);
/* est_turn - what was decided is said; who waited too long is told so. */
void est_turn(struct coap_door *d);
uint64_t est_deadline(const struct coap_door *d);
/* est_shed - drops answers that are kept to be fetched, because memory is short. Gives how many. */
size_t est_shed(struct coap_door *d);
void est_done(struct coap_door *d);

static inline struct slice watch_topic(const struct watch *w)
{
    return slice_of(w->topic, w->topic_n);
}

#endif

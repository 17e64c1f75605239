#include "net/dtls_taken.h"

#include "base/mem.h"
#include "base/scope.h"

enum { NUMBER_BYTES = 6, CHUNK_HEADER = 3, CHUNK_SEALED = 0x80, FINISHED_MAX = 64 };

/* Chunks: type (with CHUNK_SEALED: of epoch 1), length of two bytes, plaintext. */
struct dtls_flight {
    uint32_t next; /* number of our next record of epoch 0: there were some dozens */
    uint32_t n;
    uint8_t bytes[];
};

/* What left and what came. */

void dtls_sent_next(struct dtls_sent *s)
{
    s->begins = true;
}

void dtls_sent_note(struct dtls_sent *s, struct slice datagram)
{
    if (s->begins) {
        buf_clear(&s->flight);
        s->begins = s->broken = false;
    }
    struct rd r = rd_from(datagram);
    struct dtls_record record;
    while (rd_left(&r) > 0 && dtls_record_read(&r, &record)) {
        if (record.epoch < COUNT_OF(s->next) && record.number >= s->next[record.epoch]) {
            s->next[record.epoch] = record.number + 1;
        }
    }
    s->broken |= !rd_ok(&r) || buf_append(&s->flight, datagram, DTLS_SENT_MAX) != OK;
}

void dtls_heard_note(struct dtls_heard *h, struct slice datagram)
{
    struct rd r = rd_from(datagram);
    struct dtls_record record;
    while (rd_left(&r) > 0) {
        size_t from = r.at;
        if (dtls_record_read(&r, &record) && record.epoch == 1 && record.type == DTLS_HANDSHAKE &&
            r.at - from <= DTLS_HEARD_BYTES) {
            struct slice whole = slice_of(datagram.p + from, r.at - from);
            slice_copy(h->bytes[h->next], whole);
            h->n_bytes[h->next] = (uint8_t)whole.n;
            h->next = (uint8_t)((h->next + 1) % DTLS_HEARD);
        }
    }
}

/* Taking over. */

static enum err suite_of(const SSL *ssl, uint8_t *ret)
{
    /* Other suites with these ciphers have the PRF of SHA-384, or no client that proves itself. */
    static const struct {
        uint16_t id; /* SPEC: RFC5487 3, RFC6655 4, RFC5289 3.2, RFC7251 2 */
        enum record_suite suite;
    } suites[] = {{0x00a8, RECORD_AES128_GCM},
                  {0xc0a8, RECORD_AES128_CCM8},
                  {0xc02b, RECORD_AES128_GCM},
                  {0xc0ae, RECORD_AES128_CCM8}};
    const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
    uint16_t id = cipher != NULL ? SSL_CIPHER_get_protocol_id(cipher) : 0;
    for (size_t i = 0; i < COUNT_OF(suites); i++) {
        if (suites[i].id == id) {
            *ret = (uint8_t)suites[i].suite;
            return OK;
        }
    }
    return ERR_UNSUPPORTED;
}

static enum err keys_of(struct prf *prf, const SSL *ssl, struct dtls_keys *ret)
{
    uint8_t master[DTLS_MASTER_BYTES], client[DTLS_RANDOM_BYTES], server[DTLS_RANDOM_BYTES];
    const SSL_SESSION *session = SSL_get_session(ssl);
    if (session == NULL ||
        SSL_SESSION_get_master_key(session, master, sizeof(master)) != sizeof(master) ||
        SSL_get_client_random(ssl, client, sizeof(client)) != sizeof(client) ||
        SSL_get_server_random(ssl, server, sizeof(server)) != sizeof(server)) {
        mem_wipe(master, sizeof(master));
        return ERR_CRYPTO;
    }
    enum err err =
        dtls_keys_make(prf, slice_of(master, sizeof(master)), slice_of(client, sizeof(client)),
                       slice_of(server, sizeof(server)), ret);
    mem_wipe(master, sizeof(master));
    return err;
}

/* What of the last flight has to go again, as plaintext behind *ret. A flight before it may have
 * gone in the same breath; nothing of that is asked for any more. *ret_proven: our Finished is
 * there, and the keys open it. */
static enum err flight_chunks(struct record_aead *a, const struct dtls_taken *t,
                              struct slice records, struct buf *ret, bool *ret_proven)
{
    struct rd r = rd_from(records);
    struct dtls_record record;
    *ret_proven = false;
    while (rd_left(&r) > 0 && dtls_record_read(&r, &record)) {
        uint8_t head[CHUNK_HEADER], text[FINISHED_MAX];
        struct slice plain = record.body;
        bool is_sealed = record.epoch == 1;
        if (is_sealed) {
            TRY(dtls_record_open(a, t->suite, &t->keys.server, &record, text, sizeof(text),
                                 &plain));
            *ret_proven |= record.type == DTLS_HANDSHAKE && plain.p[0] == DTLS_FINISHED;
        }
        bool is_asked_for =
            is_sealed || record.type == DTLS_CHANGE_CIPHER ||
            (record.type == DTLS_HANDSHAKE && plain.n > 0 && plain.p[0] == DTLS_NEW_TICKET);
        if (is_asked_for) {
            struct wr w = wr_into(head, sizeof(head));
            wr_u8(&w, (uint8_t)(record.type | (is_sealed ? CHUNK_SEALED : 0)));
            wr_u16(&w, (uint16_t)plain.n);
            TRY(buf_append(ret, slice_of(head, sizeof(head)), DTLS_SENT_MAX));
            TRY(buf_append(ret, plain, DTLS_SENT_MAX));
        }
    }
    return rd_ok(&r) ? OK : ERR_CRYPTO;
}

static enum err keep_flight(struct dtls_taken *t, struct slice chunks, uint64_t next)
{
    if (next >= UINT32_MAX - DTLS_FLIGHT_MS / DTLS_ANSWER_MS * DTLS_SENT_MAX) {
        return ERR_UNSUPPORTED;
    }
    t->flight = mem_alloc(sizeof(*t->flight) + chunks.n);
    if (t->flight == NULL) {
        return ERR_NOMEM;
    }
    t->flight->next = (uint32_t)next;
    t->flight->n = (uint32_t)chunks.n;
    slice_copy(t->flight->bytes, chunks);
    return OK;
}

/* The numbers of what the peer itself has sealed; the rest was somebody else's. */
static void begin_window(struct record_aead *a, const struct dtls_heard *heard,
                         struct dtls_taken *t)
{
    for (size_t i = 0; i < DTLS_HEARD; i++) {
        struct rd r = rd_from(slice_of(heard->bytes[i], heard->n_bytes[i]));
        uint8_t text[FINISHED_MAX];
        struct dtls_record record;
        struct slice plain;
        if (dtls_record_read(&r, &record)) {
            enum err ignored = dtls_taken_open(t, a, &record, text, sizeof(text), &plain);
            (void)ignored;
        }
    }
}

static enum err take(struct record_aead *a, struct prf *prf, const SSL *ssl,
                     const struct dtls_sent *sent, struct buf *chunks, struct dtls_taken *ret)
{
    bool is_proven = false;
    TRY(suite_of(ssl, &ret->suite));
    if (sent->broken || sent->next[1] == 0) {
        return ERR_CRYPTO;
    }
    TRY(keys_of(prf, ssl, &ret->keys));
    ret->next = sent->next[1];
    TRY(flight_chunks(a, ret, buf_slice(&sent->flight), chunks, &is_proven));
    if (!is_proven) {
        return ERR_CRYPTO;
    }
    /* In a resumed handshake the client's flight is the last one. */
    return SSL_session_reused(ssl) == 1 ? OK : keep_flight(ret, buf_slice(chunks), sent->next[0]);
}

enum err dtls_take(struct record_aead *a, struct prf *prf, const SSL *ssl,
                   const struct dtls_sent *sent, const struct dtls_heard *heard,
                   struct dtls_taken *ret)
{
    struct dtls_taken t = {.next = 0};
    struct buf chunks = {0};
    enum err err = take(a, prf, ssl, sent, &chunks, &t);
    buf_wipe(&chunks);
    if (err != OK) {
        dtls_taken_done(&t);
        return err;
    }
    begin_window(a, heard, &t);
    *ret = t;
    mem_wipe(&t, sizeof(t));
    return OK;
}

void dtls_taken_done(struct dtls_taken *t)
{
    dtls_taken_heard(t);
    mem_wipe(t, sizeof(*t));
}

/* Records. */

enum err dtls_taken_open(struct dtls_taken *t, struct record_aead *a,
                         const struct dtls_record *record, uint8_t *dst, size_t cap,
                         struct slice *ret_plain)
{
    if (record->epoch != 1) {
        return ERR_CRYPTO; /* whose numbers are of another window */
    }
    if (!dtls_window_is_fresh(&t->window, record->number)) {
        return ERR_EXISTS;
    }
    TRY(dtls_record_open(a, t->suite, &t->keys.client, record, dst, cap, ret_plain));
    dtls_window_take(&t->window, record->number);
    return OK;
}

enum err dtls_taken_seal(struct dtls_taken *t, struct record_aead *a, uint8_t type,
                         struct slice plain, struct wr *w)
{
    /* Taken before it is used: whatever becomes of the record, its number is gone. */
    uint64_t number = t->next;
    t->next += number <= DTLS_NUMBER_MAX ? 1 : 0;
    return dtls_record_seal(a, t->suite, &t->keys.server, type, number, plain, w);
}

bool dtls_taken_may_answer(struct dtls_taken *t, uint64_t now_ms)
{
    if (now_ms < t->answer_at_ms) {
        return false;
    }
    t->answer_at_ms = now_ms + DTLS_ANSWER_MS;
    return true;
}

static void write_plain(struct dtls_flight *f, uint8_t type, struct slice plain, struct wr *w)
{
    wr_u8(w, type);
    wr_u16(w, DTLS_VERSION);
    wr_u16(w, 0);
    wr_be(w, f->next++, NUMBER_BYTES);
    wr_u16(w, (uint16_t)plain.n);
    wr_bytes(w, plain);
}

bool dtls_taken_flight(struct dtls_taken *t, struct record_aead *a, size_t *at, struct wr *w)
{
    struct dtls_flight *f = t->flight;
    size_t more = DTLS_HEADER_BYTES + DTLS_EXPLICIT_BYTES + RECORD_AEAD_TAG_MAX, begin = *at;
    struct rd r = rd_from(f != NULL ? slice_of(f->bytes, f->n) : (struct slice){0});
    (void)rd_bytes(&r, begin);
    while (rd_left(&r) > 0) {
        uint8_t head = rd_u8(&r);
        uint8_t type = head & (uint8_t)~CHUNK_SEALED;
        struct slice plain = rd_block16(&r);
        /* One that fits nowhere is left out; it came out of a datagram of the same size. */
        if (plain.n + more > wr_left(w) && w->at > 0) {
            break;
        }
        if (head == type) {
            write_plain(f, type, plain, w);
        } else if (dtls_taken_seal(t, a, type, plain, w) != OK) {
            break;
        }
        *at = r.at;
    }
    return *at > begin;
}

void dtls_taken_heard(struct dtls_taken *t)
{
    t->flight = mem_free(t->flight);
}

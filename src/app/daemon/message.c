#include "app/daemon/message.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/event.h"
#include "base/rd.h"
#include "base/wr.h"
#include "service/pki/key_source.h"

enum { DESCRIPTOR_MAX = 65535, BOOT_WAIT_MS = 10000 };

static struct slice text_field(const char *text, size_t cap)
{
    return slice_of(text, strnlen(text, cap - 1));
}

static void encode_boot(struct wr *w, const struct boot *b)
{
    wr_u32(w, (uint32_t)b->dir_fd);
    wr_u32(w, (uint32_t)b->key_fd);
    wr_u32(w, (uint32_t)b->spare_key_fd);
    wr_u8(w, (uint8_t)b->key_source);
    wr_u32(w, (uint32_t)b->control_fd);
    wr_u32(w, (uint32_t)b->authority_fd);
    wr_u32(w, b->signs_per_second);
    wr_u32(w, b->signs_burst);
    wr_u32(w, b->signs_per_name);
    wr_u32(w, b->workers);
    wr_u32(w, b->generation);
    wr_u8(w, (uint8_t)b->last);
    wr_u32(w, b->last_code);
    wr_block16(w, text_field(b->dir, sizeof b->dir));
    wr_u8(w, (uint8_t)b->n_listeners);
    for (size_t i = 0; i < b->n_listeners; i++) {
        const struct boot_listener *l = &b->listeners[i];
        wr_block16(w, text_field(l->name, sizeof l->name));
        wr_u8(w, l->udp ? 1 : 0);
        wr_u8(w, l->listening ? 1 : 0);
        wr_u16(w, l->port);
        wr_u32(w, (uint32_t)l->first_fd);
        wr_u32(w, l->n_fds);
        wr_u8(w, l->asks ? 1 : 0);
    }
    wr_u8(w, (uint8_t)b->n_sinks);
    if (b->n_sinks > 0) {
        wr_u32(w, (uint32_t)b->first_sink_fd);
    }
    wr_u32(w, (uint32_t)b->courier_fd);
    wr_u32(w, (uint32_t)b->scribe_fd);
    wr_u32(w, (uint32_t)b->porter_fd);
    wr_u64(w, b->house);
    wr_u32(w, b->broker_generation);
}

enum err message_encode(const struct message *m, void *dst, size_t cap, size_t *ret_n)
{
    struct wr w = wr_into(dst, cap);
    wr_u8(&w, (uint8_t)m->type);
    switch (m->type) {
    case MESSAGE_BOOT:
        encode_boot(&w, &m->boot);
        break;
    case MESSAGE_RELOADED:
    case MESSAGE_FAILED:
    case MESSAGE_STARTING:
        wr_block16(&w, text_field(m->text, sizeof m->text));
        break;
    case MESSAGE_EVENT:
        wr_u8(&w, m->category);
        wr_u8(&w, m->severity);
        wr_block16(&w, text_field(m->name, sizeof m->name));
        wr_block16(&w, text_field(m->text, sizeof m->text));
        break;
    case MESSAGE_RULES:
        wr_u32(&w, m->rules.grace_s);
        wr_u32(&w, m->rules.per_second);
        wr_u32(&w, m->rules.burst);
        wr_u32(&w, m->rules.per_name_minute);
        break;
    case MESSAGE_BROKER:
        wr_u32(&w, m->life.generation);
        wr_u8(&w, (uint8_t)m->life.last);
        wr_u32(&w, m->life.last_code);
        break;
    case MESSAGE_STOP:
    case MESSAGE_RELOAD:
    case MESSAGE_READY:
    case MESSAGE_ALIVE:
        break;
    }
    return wr_done(&w, ret_n);
}

static int read_fd(struct rd *r)
{
    uint32_t v = rd_u32(r);
    if (v < BOOT_FIRST_FD || v > DESCRIPTOR_MAX) {
        rd_fail(r, ERR_MALFORMED);
        return -1;
    }
    return (int)v;
}

static int read_fd_or_none(struct rd *r)
{
    struct rd ahead = *r;
    if (rd_u32(&ahead) == 0 && rd_ok(&ahead)) {
        *r = ahead;
        return 0;
    }
    return read_fd(r);
}

static uint32_t read_number(struct rd *r, uint32_t least, uint32_t most)
{
    uint32_t v = rd_u32(r);
    if (v < least || v > most) {
        rd_fail(r, ERR_LIMIT);
        return least;
    }
    return v;
}

static bool read_flag(struct rd *r)
{
    uint8_t v = rd_u8(r);
    if (v > 1) {
        rd_fail(r, ERR_MALFORMED);
    }
    return v == 1;
}

static void read_text(struct rd *r, char *dst, size_t cap)
{
    if (!slice_to_text(rd_block16(r), dst, cap)) {
        rd_fail(r, ERR_MALFORMED);
    }
}

static void decode_listener(struct rd *r, struct boot_listener *l)
{
    read_text(r, l->name, sizeof l->name);
    l->udp = read_flag(r);
    l->listening = read_flag(r);
    l->port = rd_u16(r);
    l->first_fd = read_fd(r);
    l->n_fds = read_number(r, 1, BOOT_SOCKETS_MAX);
    l->asks = read_flag(r);
}

static enum boot_last read_last(struct rd *r)
{
    uint8_t last = rd_u8(r);
    if (last > BOOT_LAST_HANG) {
        rd_fail(r, ERR_MALFORMED);
        return BOOT_LAST_NONE;
    }
    return (enum boot_last)last;
}

static void decode_boot(struct rd *r, struct boot *b)
{
    b->dir_fd = read_fd(r);
    b->key_fd = read_fd(r);
    b->spare_key_fd = read_fd(r);
    b->key_source = rd_u8(r);
    if (b->key_source >= KEY_SOURCE_COUNT) {
        rd_fail(r, ERR_MALFORMED);
    }
    b->control_fd = read_fd_or_none(r);
    b->authority_fd = read_fd_or_none(r);
    b->signs_per_second = read_number(r, 0, UINT32_MAX);
    b->signs_burst = read_number(r, 0, UINT32_MAX);
    b->signs_per_name = read_number(r, 0, UINT32_MAX);
    b->workers = read_number(r, 1, BOOT_SOCKETS_MAX);
    b->generation = read_number(r, 1, UINT32_MAX);
    b->last = read_last(r);
    b->last_code = rd_u32(r);
    read_text(r, b->dir, sizeof b->dir);
    uint8_t n = rd_u8(r);
    if (n > BOOT_LISTENERS_MAX) {
        rd_fail(r, ERR_LIMIT);
        return;
    }
    for (size_t i = 0; i < n && rd_ok(r); i++) {
        decode_listener(r, &b->listeners[i]);
    }
    b->n_listeners = n;
    b->n_sinks = rd_u8(r);
    if (b->n_sinks > BOOT_SINKS_MAX) {
        rd_fail(r, ERR_LIMIT);
    }
    if (b->n_sinks > 0) {
        b->first_sink_fd = read_fd(r);
    }
    b->courier_fd = read_fd_or_none(r);
    b->scribe_fd = read_fd_or_none(r);
    b->porter_fd = read_fd_or_none(r);
    b->house = rd_u64(r);
    b->broker_generation = read_number(r, 0, UINT32_MAX);
}

static void read_event(struct rd *r, struct message *m)
{
    m->category = rd_u8(r);
    m->severity = rd_u8(r);
    if (m->category >= EVENT_COUNT || m->severity > SEVERITY_ALERT) {
        rd_fail(r, ERR_MALFORMED);
    }
    read_text(r, m->name, sizeof m->name);
    read_text(r, m->text, sizeof m->text);
}

enum err message_decode(struct slice bytes, struct message *ret)
{
    struct rd r = rd_from(bytes);
    struct message m = {0};
    uint8_t type = rd_u8(&r);
    switch (type) {
    case MESSAGE_BOOT:
        decode_boot(&r, &m.boot);
        break;
    case MESSAGE_RELOADED:
    case MESSAGE_FAILED:
    case MESSAGE_STARTING:
        read_text(&r, m.text, sizeof m.text);
        break;
    case MESSAGE_EVENT:
        read_event(&r, &m);
        break;
    case MESSAGE_RULES:
        m.rules.grace_s = rd_u32(&r);
        m.rules.per_second = rd_u32(&r);
        m.rules.burst = rd_u32(&r);
        m.rules.per_name_minute = rd_u32(&r);
        break;
    case MESSAGE_BROKER:
        m.life.generation = read_number(&r, 1, UINT32_MAX);
        m.life.last = read_last(&r);
        m.life.last_code = rd_u32(&r);
        break;
    case MESSAGE_STOP:
    case MESSAGE_RELOAD:
    case MESSAGE_READY:
    case MESSAGE_ALIVE:
        break;
    default:
        rd_fail(&r, ERR_MALFORMED);
    }
    TRY(rd_finish(&r));
    m.type = (enum message_type)type;
    *ret = m;
    return OK;
}

enum err message_send(int fd, const struct message *m)
{
    uint8_t bytes[MESSAGE_BYTES_MAX];
    size_t n;
    TRY(message_encode(m, bytes, sizeof bytes, &n));
    ssize_t sent;
    do {
        sent = send(fd, bytes, n, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        return errno == EPIPE || errno == ECONNRESET ? ERR_CLOSED : ERR_IO;
    }
    return (size_t)sent == n ? OK : ERR_IO;
}

enum err message_receive(int fd, struct message *ret)
{
    uint8_t bytes[MESSAGE_BYTES_MAX];
    ssize_t n;
    do {
        n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n == 0) {
        return ERR_CLOSED;
    }
    if (n < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK ? ERR_AGAIN
               : errno == ECONNRESET                   ? ERR_CLOSED
                                                       : ERR_IO;
    }
    return message_decode(slice_of(bytes, (size_t)n), ret);
}

enum err message_await_boot(struct message *ret)
{
    struct pollfd polled = {.fd = LINK_FD, .events = POLLIN};
    if (poll(&polled, 1, BOOT_WAIT_MS) != 1) {
        return ERR_TIMEOUT;
    }
    TRY(message_receive(LINK_FD, ret));
    return ret->type == MESSAGE_BOOT ? OK : ERR_PROTOCOL;
}

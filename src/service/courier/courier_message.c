#include "service/courier/courier_message.h"

#include "base/rd.h"
#include "base/wr.h"

static bool is_control(uint8_t c)
{
    return c < 0x20 || c == 0x7f;
}

static void write_text(struct wr *w, const char *text, size_t cap)
{
    size_t n = strnlen(text, cap - 1);
    wr_u16(w, (uint16_t)n);
    for (size_t i = 0; i < n; i++) {
        wr_u8(w, is_control((uint8_t)text[i]) ? '?' : (uint8_t)text[i]);
    }
}

static void write_numbers(struct wr *w, const struct courier_numbers *n)
{
    wr_u64(w, n->sent);
    wr_u64(w, n->taken);
    wr_u64(w, n->retries);
    wr_u64(w, n->lost);
    wr_u64(w, n->lag_records);
    wr_u64(w, n->lag_ms);
}

enum err courier_message_encode(const struct courier_message *m, void *dst, size_t cap,
                                size_t *ret_n)
{
    struct wr w = wr_into(dst, cap);
    wr_u8(&w, (uint8_t)m->type);
    wr_u32(&w, m->edition);
    write_text(&w, m->sink, sizeof m->sink);
    if (m->type == COURIER_STATE) {
        write_numbers(&w, &m->numbers);
    } else {
        wr_u8(&w, (uint8_t)m->news);
        wr_u64(&w, m->n);
    }
    write_text(&w, m->text, sizeof m->text);
    return wr_done(&w, ret_n);
}

static void read_text(struct rd *r, char *dst, size_t cap)
{
    struct slice text = rd_block16(r);
    bool good = slice_to_text(text, dst, cap);
    for (size_t i = 0; good && i < text.n; i++) {
        good = !is_control(text.p[i]);
    }
    if (!good) {
        rd_fail(r, ERR_MALFORMED);
    }
}

static void read_numbers(struct rd *r, struct courier_numbers *n)
{
    n->sent = rd_u64(r);
    n->taken = rd_u64(r);
    n->retries = rd_u64(r);
    n->lost = rd_u64(r);
    n->lag_records = rd_u64(r);
    n->lag_ms = rd_u64(r);
}

static enum courier_news read_news(struct rd *r)
{
    uint8_t v = rd_u8(r);
    if (v > COURIER_RECOVERED || v == COURIER_SILENT) {
        rd_fail(r, ERR_MALFORMED);
        v = COURIER_FAILED;
    }
    return (enum courier_news)v;
}

enum err courier_message_decode(struct slice bytes, struct courier_message *ret)
{
    struct rd r = rd_from(bytes);
    uint8_t type = rd_u8(&r);
    struct courier_message m = {.edition = rd_u32(&r)};
    read_text(&r, m.sink, sizeof m.sink);
    if (type == COURIER_STATE) {
        read_numbers(&r, &m.numbers);
    } else if (type == COURIER_REPORT) {
        m.news = read_news(&r);
        m.n = rd_u64(&r);
    } else {
        rd_fail(&r, ERR_MALFORMED);
    }
    read_text(&r, m.text, sizeof m.text);
    TRY(rd_finish(&r));
    m.type = (enum courier_message_type)type;
    *ret = m;
    return OK;
}

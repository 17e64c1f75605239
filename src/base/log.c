#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#include "base/utf8.h"

enum { LOG_LINE_BYTES = 2048, LOG_ESCAPED_BYTES = 4 };

static void write_stderr(void *ctx, enum log_level level, const char *line);

/* The one mutable global that style allows; set before threads start, only read after. */
static struct {
    log_sink *sink;
    void *ctx;
    enum log_level least;
} the_log = {.sink = write_stderr, .least = LOG_INFO};

static const char *level_word(enum log_level level)
{
    switch (level) {
    case LOG_ERROR:
        return "error";
    case LOG_WARN:
        return "warning";
    case LOG_NOTICE:
        return "notice";
    case LOG_INFO:
        return "info";
    case LOG_DEBUG:
        return "debug";
    }
    return "log";
}

/* One write(2) per line: lines of different threads never mix. */
static void write_stderr(void *ctx, enum log_level level, const char *line)
{
    (void)ctx;
    char out[LOG_LINE_BYTES + 16];
    int n = snprintf(out, sizeof out, "%s: %s\n", level_word(level), line);
    if (n > 0) {
        size_t bytes = (size_t)n < sizeof out ? (size_t)n : sizeof out - 1;
        ssize_t written = -1;
        do {
            written = write(STDERR_FILENO, out, bytes);
        } while (written < 0 && errno == EINTR);
    }
}

void log_to(log_sink *sink, void *ctx, enum log_level least)
{
    the_log.sink = sink != NULL ? sink : write_stderr;
    the_log.ctx = sink != NULL ? ctx : NULL;
    the_log.least = least;
}

/* A text that grows piece by piece in the caller's bytes; a piece is never cut in two. */
struct escaped {
    char *dst;
    size_t n, room; /* room: bytes for pieces, the final "..." and the NUL come on top */
    bool is_cut;
};

static void escaped_add(struct escaped *e, struct slice piece)
{
    if (e->is_cut || piece.n > e->room - e->n) {
        e->is_cut = true;
        return;
    }
    slice_copy(e->dst + e->n, piece);
    e->n += piece.n;
}

static void escaped_add_hex(struct escaped *e, uint8_t byte)
{
    static const char hex[] = "0123456789abcdef";
    char piece[LOG_ESCAPED_BYTES] = {'\\', 'x', hex[byte >> 4], hex[byte & 15]};
    escaped_add(e, slice_of(piece, sizeof piece));
}

static bool needs_escape(uint8_t byte)
{
    return byte == '"' || byte == '\\'; /* beside what is no plain text at all */
}

/* One character at the front of text that is all good: a cut never parts its bytes. */
static size_t character_n(struct slice text)
{
    size_t n = 1;
    while (n < text.n && (text.p[n] & 0xc0) == 0x80) {
        n++;
    }
    return n;
}

static void escape_good(struct escaped *e, struct slice text)
{
    while (text.n > 0) {
        size_t n = character_n(text);
        if (needs_escape(text.p[0])) {
            escaped_add_hex(e, text.p[0]);
        } else {
            escaped_add(e, slice_head(text, n));
        }
        text = slice_from(text, n);
    }
}

static void escape_all(struct escaped *e, struct slice text)
{
    while (text.n > 0) {
        size_t good = text.n;
        (void)!utf8_check(text, UTF8_STRICT, &good);
        escape_good(e, slice_head(text, good));
        text = slice_from(text, good);
        if (text.n > 0) {
            escaped_add_hex(e, text.p[0]);
            text = slice_from(text, 1);
        }
    }
}

void log_escape(const void *text, unsigned long n, char *dst, unsigned long cap)
{
    static const char dots[] = "...";
    if (cap == 0) {
        return;
    }
    /* Whole when it fits; only otherwise again, with the end kept for the dots. */
    struct escaped e = {.dst = dst, .room = cap - 1};
    escape_all(&e, slice_of(text, n));
    if (e.is_cut) {
        size_t n_dots = cap - 1 < sizeof dots - 1 ? cap - 1 : sizeof dots - 1;
        e = (struct escaped){.dst = dst, .room = cap - 1 - n_dots};
        escape_all(&e, slice_of(text, n));
        memcpy(dst + e.n, dots, n_dots);
        e.n += n_dots;
    }
    dst[e.n] = '\0';
}

/* Everything that is not plain text, byte by byte: also C1 controls and broken UTF-8, which some
 * terminals obey. Quotes stay, they are the caller's. */
static void escape_line(struct escaped *e, struct slice line)
{
    size_t bad = 0;
    while (utf8_check(line, UTF8_STRICT, &bad) != OK) {
        assert(line.p != NULL && bad < line.n);
        escaped_add(e, slice_head(line, bad));
        escaped_add_hex(e, line.p[bad]);
        line = slice_from(line, bad + 1);
    }
    escaped_add(e, line);
}

void log_line(enum log_level level, const char *format, ...)
{
    if (level > the_log.least) {
        return;
    }
    int saved_errno = errno;
    char raw[LOG_LINE_BYTES / 2];
    char line[LOG_LINE_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    if (n >= 0) {
        struct escaped e = {.dst = line, .room = sizeof line - sizeof "..."};
        escape_line(&e, slice_head(slice_text(raw), (size_t)n));
        bool is_cut = e.is_cut || (size_t)n >= sizeof raw;
        memcpy(line + e.n, is_cut ? "..." : "", is_cut ? sizeof "..." : 1);
        the_log.sink(the_log.ctx, level, line);
    }
    errno = saved_errno;
}

/* The machine that we run on: its clock, its system, the crypto library. */
#include <sys/timex.h>

#include "app/cli/doctor_facts.h"
#include "security/crypto/library.h"
#include "service/doctor/support.h"

static struct facts_value known(int64_t n)
{
    return (struct facts_value){.is_known = true, .n = n};
}

/* Reads alone: nothing is set. A sandbox that does not let us look says nothing about the clock. */
static void read_clock(struct facts *f)
{
    struct timex t = {.modes = 0};
    if (adjtimex(&t) >= 0) {
        f->numbers[FACTS_CLOCK_ALONE] = known(((unsigned)t.status & STA_UNSYNC) != 0);
    }
}

static enum err read_system(struct facts *f)
{
    static const char *const places[] = {"/etc/os-release", "/usr/lib/os-release"};
    struct support s;
    bool is_read = false;
    for (size_t i = 0; i < COUNT_OF(places) && !is_read; i++) {
        AUTO(buf_done) struct buf text = {0};
        struct source_look look;
        enum err e = doctor_source()->read(NULL, places[i], &text, &look);
        if (e == ERR_NOMEM) {
            return e;
        }
        is_read = e == OK && text.n <= SUPPORT_FILE_MAX;
        if (is_read && support_of_system(buf_slice(&text), &s)) {
            facts_text(f->system, slice_text(s.name));
            f->numbers[FACTS_SYSTEM_LEFT_MS] = known(s.ends_wall_ms - f->now_wall_ms);
        }
    }
    return OK;
}

/* A package of the system is mended as long as the system is, past the end of its branch. */
static void read_library(struct facts *f)
{
    struct crypto_library l = crypto_library();
    struct support s;
    bool is_mended_by_system = l.is_of_debian && f->numbers[FACTS_SYSTEM_LEFT_MS].is_known;
    if (!is_mended_by_system && support_of_openssl(l.major, l.minor, &s)) {
        (void)snprintf(f->library, sizeof f->library, "OpenSSL %s", l.version);
        f->numbers[FACTS_LIBRARY_LEFT_MS] = known(s.ends_wall_ms - f->now_wall_ms);
    }
}

enum err doctor_machine_read(struct facts *f)
{
    read_clock(f);
    TRY(read_system(f));
    read_library(f);
    return OK;
}

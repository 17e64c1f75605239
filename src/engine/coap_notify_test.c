#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/coap_scenario.h"

#define REGISTER                                                                                   \
    {0, IN, "41010010aa605161", REQUEST}, {0, OBSERVE, "", OK}, {0, ANSWER, "1", OK},              \
    {                                                                                              \
        0, OUT, "61450010aa6101ff31", 0                                                            \
    }

static void observe_and_reset(void **state)
{
    (void)state;
    static const struct step steps[] = {
        REGISTER,
        {10, NOTIFY, "2", OK},
        {10, OUT, "5145....aa6102ff32", 0},
        {11, IN, "7000ffff", 0}, /* a Reset of something else */
        {12, NOTIFY, "3", OK},
        {12, OUT, "5145....aa6103ff33", 0},
        {13, IN, "7000MMMM", COAP_EVENT_RESET},
        {14, NOTIFY, "4", ERR_NOT_FOUND},
        {14, QUIET, "", 0},
        {0, END, NULL, 0},
    };
    run("reset of a notification", steps);
}

static void observe_cancel(void **state)
{
    (void)state;
    static const struct step steps[] = {
        REGISTER,
        {10, IN, "41010011aa61015161", REQUEST},
        {10, ANSWER, "2", OK},
        {10, OUT, "61450011aaff32", 0}, /* without Observe */
        {11, NOTIFY, "3", ERR_NOT_FOUND},
        {12, IN, "41010012aa5161", 0}, /* option 5, If-None-Match, of length 1: bad */
        {12, OUT, "61820012aa", 0},
        {13, IN, "41010013aa605161", REQUEST},
        {13, OBSERVE, "", OK},
        {13, REFUSE, "", OK}, /* an error ends what was accepted */
        {13, OUT, "61840013aa", 0},
        {14, NOTIFY, "4", ERR_NOT_FOUND},
        {15, IN, "41010014aab161", REQUEST},
        {15, OBSERVE, "", ERR_PROTOCOL},
        {15, ANSWER, "5", OK},
        {15, OUT, "61450014aaff35", 0},
        {0, END, NULL, 0},
    };
    run("cancel", steps);
}

static void observe_confirmable(void **state)
{
    (void)state;
    static const struct step steps[] = {
        REGISTER,
        {1, NOTIFY, "a", OK},
        {1, OUT, "5145....aa6102ff61", 0},
        {1, NOTIFY, "b", OK},
        {1, OUT, "5145....aa6103ff62", 0},
        {1, NOTIFY, "c", OK},
        {1, OUT, "5145....aa6104ff63", 0},
        {1, NOTIFY, "d", OK},
        {1, OUT, "5145....aa6105ff64", 0},
        {1, NOTIFY, "e", OK},
        {1, OUT, "5145....aa6106ff65", 0},
        {1, NOTIFY, "f", OK},
        {1, OUT, "5145....aa6107ff66", 0},
        {1, NOTIFY, "g", OK},
        {1, OUT, "5145....aa6108ff67", 0},
        {1, NOTIFY, "h", OK},
        {1, OUT, "4145....aa6109ff68", 0}, /* the eighth */
        {2, NOTIFY, "i", OK},
        {2, QUIET, "", 0}, /* slow: only the latest waits */
        {3, NOTIFY, "j", OK},
        {3, QUIET, "", 0},
        {4, IN, "6000MMMM", 0},
        {4, OUT, "5145....aa610bff6a", 0},
        {4, QUIET, "", 0},
        /* after a day the next one is confirmable, whatever the count */
        {86400001, NOTIFY, "k", OK},
        {86400001, OUT, "4145....aa610cff6b", 0},
        /* nobody acknowledges: newer states take the tries that are left */
        {86400002, NOTIFY, "l", OK},
        {86400002, QUIET, "", 0},
        {86402001, TICK, "", 0},
        {86402001, OUT, "4145....aa610dff6c", 0},
        {86406001, TICK, "", 0},
        {86406001, OUT, "4145....aa610dff6c", 0},
        {86414001, TICK, "", 0},
        {86414001, OUT, "4145....aa610dff6c", 0},
        {86430001, TICK, "", 0},
        {86430001, OUT, "4145....aa610dff6c", 0},
        {86462001, TICK, "", COAP_EVENT_GIVE_UP},
        {86462001, NOTIFY, "m", ERR_NOT_FOUND},
        {86462001, TICK, "", 0},
        {86462001, QUIET, "", 0},
        {0, END, NULL, 0},
    };
    run("confirmable notifications", steps);
}

static void observe_end(void **state)
{
    (void)state;
    static const struct step steps[] = {
        REGISTER,
        {1, NOTIFY_END, "", OK},
        {1, OUT, "4184....aa", 0}, /* the last word is confirmable, without Observe */
        {1, NOTIFY, "x", ERR_NOT_FOUND},
        {2, IN, "6000MMMM", 0},
        {2, NOTIFY, "x", ERR_NOT_FOUND},
        {99999, TICK, "", 0},
        {99999, QUIET, "", 0},
        {0, END, NULL, 0},
    };
    run("end of an observation", steps);
}

static void observe_rate(void **state)
{
    (void)state;
    struct coap_limits limits = steady_limits();
    limits.notification_burst = 2;
    limits.notification_every_ms = 1000;
    static const struct step steps[] = {
        REGISTER,
        {0, NOTIFY, "a", OK},
        {0, OUT, "5145....aa6102ff61", 0},
        {0, NOTIFY, "b", OK},
        {0, OUT, "5145....aa6103ff62", 0},
        {0, NOTIFY, "c", OK},
        {0, QUIET, "", 0},
        {0, NOTIFY, "d", OK},
        {999, TICK, "", 0},
        {999, QUIET, "", 0},
        {1000, TICK, "", 0},
        {1000, OUT, "5145....aa6105ff64", 0},
        {1000, QUIET, "", 0},
        {0, END, NULL, 0},
    };
    run_with("rate", steps, true, &limits);
}

static void observe_limit(void **state)
{
    (void)state;
    struct coap_limits limits = steady_limits();
    limits.n_observations = 1;
    static const struct step steps[] = {
        REGISTER,
        {1, IN, "41010011aa605161", REQUEST},
        {1, OBSERVE, "", OK}, /* replaced, not added */
        {1, ANSWER, "1", OK},
        {1, OUT, "61450011aa6102ff31", 0},
        {2, IN, "41010012bb605161", REQUEST},
        {2, OBSERVE, "", ERR_LIMIT},
        {2, ANSWER, "1", OK},
        {2, OUT, "61450012bbff31", 0},
        {3, NOTIFY, "x", OK},
        {3, OUT, "5145....aa6103ff78", 0},
        {3, QUIET, "", 0},
        {0, END, NULL, 0},
    };
    run_with("observations", steps, true, &limits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(observe_and_reset),   cmocka_unit_test(observe_cancel),
        cmocka_unit_test(observe_confirmable), cmocka_unit_test(observe_end),
        cmocka_unit_test(observe_rate),        cmocka_unit_test(observe_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

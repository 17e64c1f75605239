#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/coap_scenario.h"

static void retransmission_schedule(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, ASK, "", OK},
        {0, OUT, "4801....................b161", 0},
        {1999, TICK, "", 0},
        {1999, QUIET, "", 0},
        {2000, TICK, "", 0},
        {2000, OUT, "4801....................b161", 0},
        {5999, TICK, "", 0},
        {5999, QUIET, "", 0},
        {6000, TICK, "", 0},
        {6000, OUT, "4801....................b161", 0},
        {13999, TICK, "", 0},
        {13999, QUIET, "", 0},
        {14000, TICK, "", 0},
        {14000, OUT, "4801....................b161", 0},
        {29999, TICK, "", 0},
        {29999, QUIET, "", 0},
        {30000, TICK, "", 0},
        {30000, OUT, "4801....................b161", 0},
        {61999, TICK, "", 0},
        {61999, QUIET, "", 0},
        {62000, TICK, "", COAP_EVENT_GIVE_UP},
        {62000, QUIET, "", 0},
        {62000, TICK, "", 0},
        {0, END, NULL, 0},
    };
    run("schedule", steps);
}

/* A peer that is heard gets it again at once, but not twice within ACK_TIMEOUT, and not oftener in
 * all. */
static void hurried_retransmission(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, HURRY, "", 0}, /* nothing is on its way */
        {0, ASK, "", OK},
        {0, OUT, "4801....................b161", 0},
        {1999, HURRY, "", 0},
        {1999, TICK, "", 0},
        {1999, QUIET, "", 0},
        {2000, TICK, "", 0},
        {2000, OUT, "4801....................b161", 0},
        {3999, HURRY, "", 0},
        {3999, TICK, "", 0},
        {3999, QUIET, "", 0},
        {4000, HURRY, "", 0},
        {4000, TICK, "", 0},
        {4000, OUT, "4801....................b161", 0},
        {6000, HURRY, "", 0},
        {6000, TICK, "", 0},
        {6000, OUT, "4801....................b161", 0},
        {8000, HURRY, "", 0},
        {8000, TICK, "", 0},
        {8000, OUT, "4801....................b161", 0},
        {10000, HURRY, "", 0}, /* no try is left */
        {10000, TICK, "", 0},
        {10000, QUIET, "", 0},
        {39999, TICK, "", 0},
        {40000, TICK, "", COAP_EVENT_GIVE_UP},
        {0, END, NULL, 0},
    };
    run("hurry", steps);
}

static void client_matching(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, ASK, "", OK},
        {0, OUT, "4801....................b161", 0},
        {1, IN, "68450000TTTTTTTTTTTTTTTTff79", 0}, /* another message id */
        {1, IN, "6845MMMM0102030405060708ff79", 0}, /* another token */
        {1, IN, "6145MMMM01ff79", 0},
        {1, QUIET, "", 0},
        {2, IN, "6845MMMMTTTTTTTTTTTTTTTTff79", COAP_EVENT_RESPONSE},
        {2, IN, "6845MMMMTTTTTTTTTTTTTTTTff79", 0},
        {99999, TICK, "", 0},
        {99999, QUIET, "", 0},
        {0, END, NULL, 0},
    };
    run("client matching", steps);
}

static void lost_acknowledgement(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, ASK, "", OK},
        {0, OUT, "4801....................b161", 0},
        {5, IN, "48451234TTTTTTTTTTTTTTTTff79", COAP_EVENT_RESPONSE},
        {5, OUT, "60001234", 0},
        {2000, TICK, "", 0},
        {2000, QUIET, "", 0}, /* the response said enough: nothing is sent again */
        {2500, IN, "484512340102030405060708ff79", 0},
        {2500, OUT, "60001234", 0},
        {0, END, NULL, 0},
    };
    run("lost ack", steps);
}

static void client_separate_and_timeouts(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, ASK, "", OK},
        {0, OUT, "4801....................b161", 0},
        {10, IN, "6000MMMM", 0},
        {30000, TICK, "", 0},
        {30000, QUIET, "", 0},
        {93009, TICK, "", 0},
        {93010, TICK, "", COAP_EVENT_GIVE_UP},
        {93010, ASK_NON, "", OK},
        {93010, OUT, "5801....................b161", 0},
        {93020, IN, "7000MMMM", COAP_EVENT_RESET},
        {93030, ASK, "", OK},
        {93030, OUT, "4801....................b161", 0},
        {93040, IN, "7000MMMM", COAP_EVENT_RESET},
        {93050, ASK_NON, "", OK},
        {93050, OUT, "5801....................b161", 0},
        {93060, IN, "58840001TTTTTTTTTTTTTTTT", COAP_EVENT_RESPONSE},
        {93070, ASK, "", OK},
        {93070, OUT, "4801....................b161", 0},
        {93080, IN, "6845MMMMTTTTTTTTTTTTTTTTb161",
         COAP_EVENT_RESPONSE}, /* Uri-Path is understood */
        {93090, ASK, "", OK},
        {93090, OUT, "4801....................b161", 0},
        {93090, IN, "6845MMMMTTTTTTTTTTTTTTTTd10a10", COAP_EVENT_RESET}, /* Block2 is not */
        {0, END, NULL, 0},
    };
    run("client timeouts", steps);
}

static void unexpected_responses(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, IN, "4145aaaa01ff79", 0},
        {0, OUT, "7000aaaa", 0},
        {0, IN, "5145aaab01ff79", 0}, /* a NON nobody asked for: silence */
        {0, QUIET, "", 0},
        {0, IN, "5145aaac016105ff79", 0}, /* unless it is a notification we have forgotten */
        {0, OUT, "7000aaac", 0},
        {0, END, NULL, 0},
    };
    run("unexpected responses", steps);
}

static void one_at_a_time(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, ASK, "", OK},
        {0, ASK, "", OK},
        {0, OUT, "4801....................b161", 0},
        {0, QUIET, "", 0},
        {5, IN, "6845MMMMTTTTTTTTTTTTTTTTff79", COAP_EVENT_RESPONSE},
        {5, OUT, "4801....................b161", 0},
        {5, QUIET, "", 0},
        {5, ASK, "", OK},
        {5, QUIET, "", 0},
        {6, IN, "7000MMMM", COAP_EVENT_RESET},
        {6, OUT, "4801....................b161", 0},
        {7, IN, "6000MMMM", 0},
        {7, QUIET, "", 0},
        {0, END, NULL, 0},
    };
    run("nstart", steps);
}

static void client_observe(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, ASK_OBSERVE, "", OK},
        {0, OUT, "4801....................605161", 0},
        {1, IN, "6845MMMMTTTTTTTTTTTTTTTT6105ff31", COAP_EVENT_RESPONSE},
        {2, IN, "58450001TTTTTTTTTTTTTTTT6107ff32", COAP_EVENT_RESPONSE},
        {3, IN, "58450002TTTTTTTTTTTTTTTT6106ff33", 0}, /* older than one we had */
        {4, IN, "58450003TTTTTTTTTTTTTTTT6107ff33", 0},
        {5, IN, "58450001TTTTTTTTTTTTTTTT6107ff32", 0}, /* seen before */
        {5, QUIET, "", 0},
        {128003, IN, "58450004TTTTTTTTTTTTTTTT6106ff33",
         COAP_EVENT_RESPONSE}, /* too old to count */
        {128004, IN, "48450005TTTTTTTTTTTTTTTT6108ff34", COAP_EVENT_RESPONSE},
        {128004, OUT, "60000005", 0},
        {128005, FORGET, "", 0},
        {0, END, NULL, 0},
    };
    run("client observe", steps);
}

/* A ping is sent once; its Reset ends nothing, not even what is observed. */
static void pings(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, ASK_OBSERVE, "", OK},
        {0, OUT, "4801....................605161", 0},
        {1, IN, "6845MMMMTTTTTTTTTTTTTTTT6105ff31", COAP_EVENT_RESPONSE},
        {2, PING, "", OK},
        {2, OUT, "4000....", 0},
        {3, IN, "7000MMMM", 0},
        {9000, QUIET, "", 0},
        {9000, FORGET, "", 0},
        {0, END, NULL, 0},
    };
    run("pings", steps);
}

static void request_limits(void **state)
{
    (void)state;
    struct coap_limits limits = steady_limits();
    limits.n_requests = 3;
    limits.n_transmissions = 2;
    static const struct step steps[] = {
        {0, ASK, "", OK},
        {0, ASK, "", OK},
        {0, ASK, "", ERR_LIMIT},
        {0, ASK_NON, "", OK},
        {0, ASK_NON, "", ERR_LIMIT},
        {0, END, NULL, 0},
    };
    run_with("requests", steps, true, &limits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retransmission_schedule), cmocka_unit_test(client_matching),
        cmocka_unit_test(lost_acknowledgement),    cmocka_unit_test(client_separate_and_timeouts),
        cmocka_unit_test(unexpected_responses),    cmocka_unit_test(one_at_a_time),
        cmocka_unit_test(client_observe),          cmocka_unit_test(pings),
        cmocka_unit_test(request_limits),          cmocka_unit_test(hurried_retransmission),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

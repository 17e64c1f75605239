#include "service/broker/renewal.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"

#define BEGIN "-----BEGIN CERTIFICATE REQUEST-----"
#define END   "-----END CERTIFICATE REQUEST-----"

static const uint8_t der[] = {0x30, 3, 1, 1, 1};

static void both_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err err;
    } cases[] = {
        {BEGIN "\nMAMBAQE=\n" END "\n", OK},
        {BEGIN "\r\nMAMB\r\nAQE=\r\n" END "\r\n", OK},
        {"Some words\n" BEGIN "\nMAMBAQE=\n" END "\nand more", OK},
        {"-----BEGIN NEW CERTIFICATE REQUEST-----\nMAMBAQE=\n"
         "-----END NEW CERTIFICATE REQUEST-----\n",
         OK},
        {"", ERR_MALFORMED},
        {"MAMBAQE=", ERR_MALFORMED},
        {BEGIN, ERR_MALFORMED},
        {BEGIN "\nMAMBAQE=\n", ERR_MALFORMED},
        {BEGIN "\n" END "\n", ERR_MALFORMED},
        {BEGIN "\nMAMBAQE\n" END "\n", ERR_MALFORMED},
        {BEGIN "\nMAMB AQE=\n" END "\n", ERR_MALFORMED},
        {BEGIN "\nMQMBAQE=\n" END "\n", ERR_MALFORMED}, /* no sequence */
        {"-----BEGIN PRIVATE KEY-----\nMAMBAQE=\n-----END PRIVATE KEY-----\n", ERR_MALFORMED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(buf_done) struct buf got = {0};
        assert_int_equal(renewal_csr(slice_text(cases[i].text), &got), cases[i].err);
        struct slice want = cases[i].err == OK ? slice_of(der, sizeof(der)) : (struct slice){0};
        assert_true(slice_equal(buf_slice(&got), want));
    }
}

static void sizes(void **state)
{
    (void)state;
    static uint8_t bytes[RENEWAL_CSR_MAX + 1] = {0x30};
    AUTO(buf_done) struct buf got = {0};
    assert_int_equal(renewal_csr(slice_of(bytes, RENEWAL_CSR_MAX + 1), &got), ERR_TOO_LARGE);
    assert_int_equal(got.n, 0);
    assert_int_equal(renewal_csr(slice_of(bytes, RENEWAL_CSR_MAX), &got), OK);
    assert_int_equal(got.n, RENEWAL_CSR_MAX);
}

static void no_memory(void **state)
{
    (void)state;
    struct slice text = slice_text(BEGIN "\nMAMBAQE=\n" END "\n");
    enum err err = ERR_NOMEM;
    for (int at = 0; err != OK; at++) {
        AUTO(buf_done) struct buf got = {0};
        (void)mem_fail_after(at);
        err = renewal_csr(text, &got);
        (void)mem_fail_after(-1);
        assert_true(err == OK || err == ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(both_forms), cmocka_unit_test(sizes),
                                       cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

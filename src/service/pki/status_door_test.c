#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "service/pki/status_door.h"

static enum err find(const char *method, const char *path, const char *type, struct slice body,
                     struct status_question *q)
{
    const struct status_request r = {.method = slice_text(method),
                                     .path = slice_text(path),
                                     .type = slice_text(type),
                                     .body = body};
    const char *allow = NULL;
    enum err err = status_door_find(&r, q, &allow);
    assert_int_equal(err == ERR_UNSUPPORTED && allow == NULL, 0);
    return err;
}

static void paths(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path, *type;
        enum err err;
        enum status_kind kind;
        size_t n;
    } rows[] = {
        {"GET", "/crl.der", "", OK, STATUS_LIST_DER, 0},
        {"GET", "/crl.pem", "", OK, STATUS_LIST_PEM, 0},
        {"POST", "/crl.pem", "", ERR_UNSUPPORTED, 0, 0},
        {"GET", "/crl", "", ERR_NOT_FOUND, 0, 0},
        {"GET", "/crl.der/", "", ERR_NOT_FOUND, 0, 0},
        {"GET", "/", "", ERR_NOT_FOUND, 0, 0},
        {"GET", "", "", ERR_NOT_FOUND, 0, 0},
        {"GET", "/ocspx", "", ERR_NOT_FOUND, 0, 0},
        {"POST", "/ocsp", "application/ocsp-request", OK, STATUS_OCSP, 4},
        {"POST", "/ocsp/", "application/ocsp-request", OK, STATUS_OCSP, 4},
        {"POST", "/ocsp", "text/plain", ERR_PROTOCOL, 0, 0},
        {"POST", "/ocsp", "", ERR_PROTOCOL, 0, 0},
        {"GET", "/ocsp", "", ERR_UNSUPPORTED, 0, 0},
        {"GET", "/ocsp/", "", ERR_UNSUPPORTED, 0, 0},
        {"POST", "/ocsp/MAMKAQE=", "application/ocsp-request", ERR_UNSUPPORTED, 0, 0},
        {"GET", "/ocsp/MAMKAQE=", "", OK, STATUS_OCSP, 5},
        {"GET", "/ocsp/MAMKAQE%3d", "", OK, STATUS_OCSP, 5},
        {"GET", "/ocsp/MA%2F+AQE%3D", "", OK, STATUS_OCSP, 5},
        {"GET", "/ocsp/MA/+AQE=", "", OK, STATUS_OCSP, 5},
        {"GET", "/ocsp/MAMKAQE", "", ERR_MALFORMED, 0, 0},
        {"GET", "/ocsp/MAMKAQE%3", "", ERR_MALFORMED, 0, 0},
        {"GET", "/ocsp/MAMKAQE%", "", ERR_MALFORMED, 0, 0},
        {"GET", "/ocsp/MAMKAQE%gg", "", ERR_MALFORMED, 0, 0},
        {"GET", "/ocsp/..", "", ERR_MALFORMED, 0, 0},
        {"DELETE", "/ocsp", "", ERR_UNSUPPORTED, 0, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct status_question q = {.n = 99};
        enum err err = find(rows[i].method, rows[i].path, rows[i].type, slice_text("body"), &q);
        if (err != rows[i].err || (err == OK && (q.kind != rows[i].kind || q.n != rows[i].n))) {
            fail_msg("%s %s: %s", rows[i].method, rows[i].path, err_name(err));
        }
    }
}

static void bounds(void **state)
{
    static uint8_t body[OCSP_REQUEST_MAX + 1];
    static char path[3 * OCSP_REQUEST_MAX];
    struct status_question q;
    (void)state;
    const char *type = "application/ocsp-request";
    assert_int_equal(find("POST", "/ocsp", type, slice_of(body, OCSP_REQUEST_MAX), &q), OK);
    assert_int_equal(q.n, OCSP_REQUEST_MAX);
    assert_int_equal(find("POST", "/ocsp", type, slice_of(body, sizeof body), &q), ERR_TOO_LARGE);
    (void)snprintf(path, sizeof path, "/ocsp/");
    size_t fits = OCSP_REQUEST_MAX / 3 * 4; /* 4 characters for 3 bytes, whole */
    memset(path + 6, 'A', fits);
    assert_int_equal(find("GET", path, "", (struct slice){0}, &q), OK);
    memset(path + 6, 'A', fits + 4);
    assert_int_equal(find("GET", path, "", (struct slice){0}, &q), ERR_TOO_LARGE);
    memset(path + 6, 'A', 2 * OCSP_REQUEST_MAX + 4);
    assert_int_equal(find("GET", path, "", (struct slice){0}, &q), ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(paths), cmocka_unit_test(bounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

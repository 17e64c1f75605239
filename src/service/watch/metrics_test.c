#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "service/watch/metrics.h"

static const char *const listeners[] = {"mqtts", "mqtt", "coaps"};

static void make_text(const struct metrics *m, const struct counters *const *sets, size_t n,
                      struct buf *ret)
{
    static const struct log_status store = {
        .state = LOG_FULL, .segments = 3, .bytes = 30, .batches = 2, .sync_us = 1500000};
    struct metrics_sources s = {
        .workers = sets, .n_workers = n, .listeners = listeners, .n_listeners = 3, .store = &store};
    assert_int_equal(metrics_text(m, &s, ret), OK);
    assert_int_equal(buf_append(ret, slice_of("", 1), METRICS_TEXT_MAX), OK);
}

/* name, optional {key="value",...}, a number: what Prometheus reads. */
static bool sample_reads(const char *line)
{
    size_t at = strspn(line, "abcdefghijklmnopqrstuvwxyz_0123456789");
    if (at == 0 || strncmp(line, "sallyport_", 10) != 0) {
        return false;
    }
    while (line[at] == '{' || line[at] == ',') {
        at++;
        size_t key = strspn(line + at, "abcdefghijklmnopqrstuvwxyz_");
        if (key == 0 || strncmp(line + at + key, "=\"", 2) != 0) {
            return false;
        }
        at += key + 2;
        at += strcspn(line + at, "\"\\\n");
        if (line[at] != '"') {
            return false;
        }
        at++;
        if (line[at] == '}') {
            at++;
            break;
        }
    }
    char *end = NULL;
    (void)strtod(line + at, &end);
    return line[at] == ' ' && end != line + at && *end == '\0';
}

static void test_text_parses(void **state)
{
    struct counters one = {0};
    const struct counters *sets[] = {&one};
    struct metrics *m = NULL;
    struct buf text = {0};
    char seen[64][64];
    size_t n_seen = 0;
    size_t n_samples = 0;
    (void)state;
    assert_int_equal(metrics_prepare(&m), OK);
    make_text(m, sets, 1, &text);
    for (char *line = (char *)text.p; *line != '\0'; line += strlen(line) + 1) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        if (strncmp(line, "# TYPE ", 7) == 0) {
            char family[64];
            size_t n = strcspn(line + 7, " ");
            assert_true(slice_to_text(slice_of(line + 7, n), family, sizeof family));
            for (size_t i = 0; i < n_seen; i++) {
                assert_string_not_equal(seen[i], family); /* each family stands once */
            }
            assert_true(n_seen < 64);
            memcpy(seen[n_seen++], family, sizeof family);
        } else if (line[0] != '#') {
            if (!sample_reads(line)) {
                fail_msg("does not read: %s", line);
            }
            n_samples++;
        }
    }
    assert_true(n_samples > 30);
    buf_done(&text);
    m = metrics_free(m);
}

static void test_workers_are_summed(void **state)
{
    static const char *const expected[] = {
        "\nsallyport_sessions 5\n",
        "\nsallyport_connections{listener=\"mqtts\"} 7\n",
        "\nsallyport_connections{listener=\"coaps\"} 2\n",
        "\nsallyport_messages_total{direction=\"in\",qos=\"1\"} 9\n",
        "\nsallyport_turn_seconds_sum 1.500000\n",
        "\nsallyport_turn_seconds_count 3\n",
        "\nsallyport_coap_amplification_ratio 2.500\n",
        "\nsallyport_coap_amplification_worst_ratio 2.750\n",
        "\nsallyport_dropped_total{reason=\"queue\"} 0\n",
        "\nsallyport_handshakes_total{result=\"ok\"} 0\n",
        "\nsallyport_limit_refusals_total{limit=\"packet_bytes\"} 5\n",
        "\nsallyport_limit_refusals_total{limit=\"renewal_rate\"} 0\n",
        "\nsallyport_admission_seconds_total 2.000003\n",
        "\nsallyport_build_info{version=\"" SALLYPORT_VERSION "\"} 1\n",
        "\nsallyport_store_commit_seconds_sum 1.500000\n",
        "\nsallyport_store_commit_seconds_count 2\n",
        "\nsallyport_store_bytes 30\n",
        "\nsallyport_store_segments 3\n",
        "\nsallyport_store_state{state=\"fine\"} 0\n",
        "\nsallyport_store_state{state=\"full\"} 1\n",
    };
    struct counters one = {.sessions = 2,
                           .refused_by = {[LIMIT_packet_bytes] = 4},
                           .admission_us = 2000003,
                           .connections_at = {4, 0, 2},
                           .turn_us = 500000,
                           .turns = 1,
                           .coap_worst_per_mille = 2750};
    struct counters two = {.sessions = 3,
                           .refused_by = {[LIMIT_packet_bytes] = 1},
                           .connections_at = {3},
                           .received_qos1 = 9,
                           .turn_us = 1000000,
                           .turns = 2,
                           .coap_in_bytes = 10,
                           .coap_out_bytes = 25,
                           .coap_worst_per_mille = 40};
    const struct counters *sets[] = {&one, &two};
    struct buf text = {0};
    (void)state;
    make_text(NULL, sets, 2, &text);
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        if (strstr((const char *)text.p, expected[i]) == NULL) {
            fail_msg("missing: %s", expected[i]);
        }
    }
    assert_null(strstr((const char *)text.p, "resident_memory")); /* nobody asked the kernel */
    buf_done(&text);
}

/* Counts of a histogram include those of the buckets before; a worker's turns are its own. */
static void test_turns_of_each_worker(void **state)
{
    static const char *const expected[] = {
        "\n# TYPE sallyport_worker_turn_seconds histogram\n",
        "\nsallyport_worker_turn_seconds_bucket{worker=\"0\",le=\"0.000016\"} 0\n",
        "\nsallyport_worker_turn_seconds_bucket{worker=\"0\",le=\"0.000024\"} 1\n",
        "\nsallyport_worker_turn_seconds_bucket{worker=\"0\",le=\"0.786432\"} 1\n",
        "\nsallyport_worker_turn_seconds_bucket{worker=\"0\",le=\"1.048576\"} 2\n",
        "\nsallyport_worker_turn_seconds_bucket{worker=\"0\",le=\"+Inf\"} 3\n",
        "\nsallyport_worker_turn_seconds_sum{worker=\"0\"} 3.000024\n",
        "\nsallyport_worker_turn_seconds_count{worker=\"0\"} 3\n",
        "\nsallyport_worker_turn_seconds_bucket{worker=\"1\",le=\"+Inf\"} 0\n",
        "\nsallyport_worker_turn_seconds_count{worker=\"1\"} 0\n",
    };
    struct counters one = {.turn_us = 3000024}, two = {0};
    const struct counters *sets[] = {&one, &two};
    struct buf text = {0};
    (void)state;
    turn_time_add(&one.turn_time, 24);
    turn_time_add(&one.turn_time, 1000000);
    turn_time_add(&one.turn_time, 2000000);
    make_text(NULL, sets, 2, &text);
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        if (strstr((const char *)text.p, expected[i]) == NULL) {
            fail_msg("missing: %s", expected[i]);
        }
    }
    buf_done(&text);
}

static void test_process(void **state)
{
    struct metrics *m = NULL;
    (void)state;
    assert_int_equal(metrics_prepare(&m), OK);
    int64_t before = metrics_open_descriptors(m);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(before > 0);
    assert_int_equal(metrics_open_descriptors(m), before + 1);
    (void)close(fd);
    assert_int_equal(metrics_open_descriptors(m), before);
    assert_true(metrics_resident_bytes(m) > 1000000);
    assert_int_equal(metrics_resident_bytes(NULL), -1);
    m = metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_parses),
        cmocka_unit_test(test_workers_are_summed),
        cmocka_unit_test(test_turns_of_each_worker),
        cmocka_unit_test(test_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

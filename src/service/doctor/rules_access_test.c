#include "service/doctor/doctor_case_test.h"

static void no_rules(struct facts *f)
{
    case_listener(f, FACTS_MQTT)->acl = facts_preset(0, 0);
}

static void allow(struct facts *f)
{
    case_number(f, FACTS_DEFAULT_ALLOW, 1);
}

static void ignored(struct facts *f)
{
    case_number(f, FACTS_DENY_IGNORED, 1);
}

static void own_topics(struct facts *f)
{
    case_grant(f, "sensors/${device}/#")->can_publish = true;
    case_grant(f, "commands/${device}/#")->can_subscribe = true;
    case_grant(f, "+/${device}/#")->can_subscribe = true;
}

static void all(struct facts *f)
{
    case_grant(f, "#")->can_subscribe = true;
}

static void all_shared(struct facts *f)
{
    case_grant(f, "$share/group/#")->can_subscribe = true;
}

static void every_second_level(struct facts *f)
{
    case_grant(f, "+/+")->can_publish = true;
}

static void all_of_a_service(struct facts *f)
{
    struct facts_grant *g = case_grant(f, "+/#");
    g->can_subscribe = true;
    g->is_service = true;
}

static void sys(struct facts *f)
{
    case_grant(f, "$SYS/broker/#")->can_subscribe = true;
}

static void by_client_id(struct facts *f)
{
    struct facts_grant *g = case_grant(f, "sensors/%c/#");
    g->can_publish = true;
    g->is_client_id = true;
    g->is_each = true;
}

static void by_bound_client_id(struct facts *f)
{
    by_client_id(f);
    case_number(f, FACTS_CLIENT_ID_BOUND, 1);
}

static void commands(struct facts *f)
{
    struct facts_grant *g = case_grant(f, "commands/${device}/#");
    g->can_publish = true;
    g->is_each = true;
}

static void firmware(struct facts *f)
{
    case_grant(f, "firmware/+")->can_publish = true;
}

static void operators_commands(struct facts *f)
{
    case_grant(f, "commands/#")->can_publish = true;
}

static void everybody(struct facts *f)
{
    struct facts_grant *g = case_grant(f, "status/all");
    g->can_publish = true;
    g->is_everybody = true;
    g->is_each = true;
}

static void other_placeholder(struct facts *f)
{
    case_grant(f, "sensors/%u/#")->can_publish = true;
}

static void mosquittos_pattern(struct facts *f)
{
    struct facts_grant *g = case_grant(f, "sensors/%u/#");
    g->can_publish = true;
    g->is_each = true;
}

static void other_brace(struct facts *f)
{
    struct facts_grant *g = case_grant(f, "sensors/${username}/#");
    g->can_publish = true;
    g->is_each = true;
}

static void half_a_wildcard(struct facts *f)
{
    case_grant(f, "sensors/x#")->can_subscribe = true;
}

static void plus_for_the_name(struct facts *f)
{
    case_grant(f, "sensors/${device}/#")->can_publish = true;
    case_grant(f, "sensors/+/state")->can_publish = true;
}

static void plus_elsewhere(struct facts *f)
{
    case_grant(f, "sensors/${device}/#")->can_publish = true;
    case_grant(f, "sensors/+/state")->can_subscribe = true;
    case_grant(f, "status/+/state")->can_publish = true;
    case_grant(f, "sensors/${device}/+")->can_publish = true;
}

static void test_rules(void **state)
{
    static const struct rule_case cases[] = {
        {FACTS_EMQX, "no-acl", no_rules},
        {FACTS_MOSQUITTO, "no-acl sys-open", no_rules},
        {FACTS_EMQX, "default-allow", allow},
        {FACTS_NANOMQ, "deny-ignored", ignored},
        {FACTS_SALLYPORT, "", own_topics},
        {FACTS_SALLYPORT, "wide-grant", all},
        {FACTS_MOSQUITTO, "wide-grant", all_shared},
        {FACTS_SALLYPORT, "wide-grant", every_second_level},
        {FACTS_SALLYPORT, "wide-service", all_of_a_service},
        {FACTS_SALLYPORT, "sys-open", sys},
        {FACTS_MOSQUITTO, "client-id-rule", by_client_id},
        {FACTS_MOSQUITTO, "", by_bound_client_id},
        {FACTS_SALLYPORT, "own-commands", commands},
        {FACTS_MOSQUITTO, "own-commands grant-mixed", commands}, /* ${device} is not its word */
        {FACTS_SALLYPORT, "own-commands", firmware},
        {FACTS_MOSQUITTO, "", operators_commands},
        {FACTS_MOSQUITTO, "grant-everybody", everybody},
        {FACTS_MOSQUITTO, "grant-mixed", other_placeholder},
        {FACTS_SALLYPORT, "grant-mixed", other_placeholder},
        {FACTS_EMQX, "", other_placeholder},
        {FACTS_MOSQUITTO, "", mosquittos_pattern},
        {FACTS_MOSQUITTO, "grant-mixed", other_brace},
        {FACTS_EMQX, "", other_brace},
        {FACTS_NANOMQ, "grant-mixed", half_a_wildcard},
        {FACTS_SALLYPORT, "grant-mixed", plus_for_the_name},
        {FACTS_SALLYPORT, "", plus_elsewhere},
    };
    (void)state;
    rule_cases(cases, COUNT_OF(cases));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

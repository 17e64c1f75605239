#include "app/scan/scan_talk.h"

enum { PACKET_MAX = 64 * 1024, WINDOW = 4 };

enum err scan_talk_flush(struct scan_talk *t)
{
    uint8_t bytes[4096];
    while (mqtt_client_has_output(t->engine)) {
        size_t n = mqtt_client_output(t->engine, bytes, sizeof(bytes));
        TRY(scan_link_send(t->link, slice_of(bytes, n)));
    }
    return OK;
}

enum err scan_talk_next(struct scan_talk *t, uint64_t until_ms, struct mqtt_client_event *ret)
{
    struct mqtt_fault fault;
    for (;;) {
        buf_drop(&t->link->in, t->taken);
        t->taken = 0;
        enum err sent = scan_talk_flush(t);
        struct slice all = buf_slice(&t->link->in);
        enum err err = mqtt_client_next(t->engine, &all, scan_net_now(t->link->net), &fault, ret);
        t->taken = t->link->in.n - all.n;
        if (err != ERR_AGAIN) {
            return err;
        }
        TRY(sent); /* what had come before counts, as it just did */
        buf_drop(&t->link->in, t->taken);
        t->taken = 0;
        TRY(scan_link_receive(t->link, until_ms));
    }
}

static enum scan_entry entry_of(enum err err)
{
    if (err == ERR_TIMEOUT) {
        return SCAN_ENTRY_SILENT;
    }
    /* ERR_PROTOCOL is that of TLS or WebSocket; the engine's is told apart below. */
    return err == ERR_CLOSED || err == ERR_IO || err == ERR_PROTOCOL ? SCAN_ENTRY_ENDED
                                                                     : SCAN_ENTRY_FOREIGN;
}

static void on_connack(struct scan_talk *t, const struct mqtt_connack *m)
{
    t->code = m->code;
    t->entry = m->code == 0 ? SCAN_ENTRY_IN : SCAN_ENTRY_REFUSED;
    t->packet_max = mqtt_props_number(&m->props, MQTT_PROP_MAXIMUM_PACKET_SIZE, 0);
    t->server_keep_alive_s = mqtt_props_number(&m->props, MQTT_PROP_SERVER_KEEP_ALIVE, UINT32_MAX);
}

static enum err connect_engine(struct scan_talk *t, const struct scan_login *login)
{
    struct mqtt_client_setup setup = {.packet_max = PACKET_MAX,
                                      .output_max = PACKET_MAX,
                                      .receive_max = WINDOW,
                                      .window = WINDOW};
    setup.connect.version = login->version;
    setup.connect.clean_start = true;
    setup.connect.client_id = slice_text(login->client_id);
    setup.connect.has_username = login->user != NULL;
    setup.connect.username = slice_text(login->user);
    setup.connect.has_password = login->password != NULL;
    setup.connect.password = slice_text(login->password);
    return mqtt_client_new(&setup, scan_net_now(t->link->net), &t->engine);
}

void scan_talk_open(struct scan_net *net, const struct scan_door *door,
                    const struct scan_login *login, struct scan_talk *ret)
{
    *ret = (struct scan_talk){.server_keep_alive_s = UINT32_MAX};
    enum err err = scan_link_open(net, door, SCAN_TO_MQTT, &ret->link);
    if (err == OK) {
        err = connect_engine(ret, login);
    }
    if (err != OK) {
        ret->entry = entry_of(err);
        return;
    }
    struct mqtt_client_event ev;
    err = scan_talk_next(ret, scan_net_until(net, net->probe_ms), &ev);
    if (err == OK && ev.kind == MQTT_CLIENT_CONNACK) {
        on_connack(ret, &ev.connack);
        return;
    }
    /* Bytes that the engine did not like are another protocol; none are an end. */
    bool is_answered = ret->link->n_received > 0;
    ret->entry =
        err == OK || (is_answered && err != ERR_TIMEOUT) ? SCAN_ENTRY_FOREIGN : entry_of(err);
}

void scan_talk_done(struct scan_talk *t)
{
    if (t->engine != NULL && t->entry == SCAN_ENTRY_IN) {
        mqtt_client_disconnect(t->engine, MQTT_SUCCESS);
        enum err ignored = scan_talk_flush(t); /* the end of the connection does the same */
        (void)ignored;
    }
    t->engine = mqtt_client_free(t->engine);
    t->link = scan_link_free(t->link);
}

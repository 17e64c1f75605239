/* The table of commands, and how one is found in it. */
#include "app/cli/coap_flags.h"
#include "app/cli/commands.h"
#include "app/cli/mqtt_flags.h"
#include "base/scope.h"

static const struct cli_command commands[] = {
    {"quickstart", "a new fortress with one device of each kind, and the lines to type",
     "  sallyport quickstart demo\n"
     "  sallyport serve demo\n\n"
     "usage: sallyport quickstart DIR [options of init]\n"
     "Does `init DIR`, adds a sensor, an actuator and a console with their bundles under\n"
     "DIR/bundles, and prints what to type next. DIR must be empty or not there.\n",
     cmd_quickstart, NULL},
    {"init", "a new data directory: certificate authority, configuration, policy, keys",
     "  sallyport init /var/lib/sallyport --host broker.example\n\n"
     "usage: sallyport init DIR [--host NAME]... [--listen NAME=ADDR:PORT]... [--set "
     "KEY=VALUE]...\n"
     "                          [--master-key FILE]\n"
     "  --host NAME       a name or address that devices use; this host's own are always there\n"
     "  --listen N=A:P    where a listener binds: mqtts wss coaps coaps+tcp coaps+ws coap enrol\n"
     "                    metrics, or mqtt ws (plain: closed until an exception names it), e.g.\n"
     "                    wss=[::]:8084. https is taken, and not opened: it is not there\n"
     "                    yet, as init, check, serve and status say\n"
     "  --set KEY=VALUE   any key of sallyport.yaml; e.g. publish_rate=5/s\n"
     "  --master-key FILE where the master key goes; default DIR.key. Keep a copy of it apart "
     "from\n"
     "                    the copies of DIR: each is useless without the other\n",
     cmd_init, NULL},
    {"serve", "the daemon, in the foreground",
     "  sallyport serve /var/lib/sallyport\n\n"
     "usage: sallyport serve [DIR] [--master-key FILE|credential:NAME]\n"
     "Logs on stderr, `ready` when it serves. SIGTERM or Ctrl-C drains and ends. SIGHUP reads\n"
     "configuration, certificates, token keys and policy again: all of it is in force then, or,\n"
     "after a mistake in any of them, none; the event and `sallyport alerts` say what and where, "
     "and\n"
     "what needs a restart. Nobody is disconnected.\n",
     cmd_serve, NULL},
    {"check", "are configuration and policy right? Changes nothing",
     "  sallyport check /var/lib/sallyport\n\n"
     "usage: sallyport check [DIR]\n"
     "Mistakes are told as file:line:column, with what is allowed.\n",
     cmd_check, NULL},
    {"device", "add, list, show, disable, enable, revoke, rotate, remove, role, assign",
     "  sallyport device add meter-7 --role sensor --attr site=lab --out meter-7\n"
     "  sallyport device revoke meter-7 --reason stolen\n"
     "  sallyport device disable --where site=b1 --where role=sensor --dry-run\n"
     "  sallyport device add --from meters.csv --role sensor --out bundles\n\n"
     "usage: sallyport device add NAME --role R [--attr K=V]... [--credential "
     "x509|password|scram|psk|oscore]...\n"
     "                            [--gateway GW] [--opaque] [--out BUNDLE] (default: x509, "
     "./NAME)\n"
     "       sallyport device list [--where K=V]... | --duplicates\n"
     "       sallyport device show NAME\n"
     "       sallyport device disable|enable|revoke|remove NAME [--reason TEXT]\n"
     "       sallyport device rotate NAME [--credential KIND]... [--overlap 24h] [--opaque] "
     "[--out BUNDLE]\n"
     "       sallyport device rotate NAME [--credential KIND]... --abort|--now\n"
     "       sallyport device role NAME ROLE\n"
     "       sallyport device assign NAME --gateway GW|none\n"
     "With --overlap a certificate of before opens so long. A password or key of before opens "
     "until "
     "the\n"
     "device has used the new one, and then so long: --abort takes the new one back, --now ends "
     "the "
     "old.\n"
     "--opaque: the PSK identity on the wire is random, not the name. --duplicates: secrets in two "
     "hands.\n"
     "Live sessions follow in under a second; the command returns when they have.\n"
     "An assigned device may be spoken for by its gateway, and no other: ${assigned} in the "
     "grants\n"
     "of the gateway's role (`policy explain GW publish TOPIC` says why or why not).\n\n"
     "Many at once: --where in place of NAME, all of them must hold. K is an attribute, or name,\n"
     "role, status (active, disabled, revoked), gateway (none: assigned to none).\n"
     "  device disable|enable|revoke|remove --where K=V... [--reason TEXT]\n"
     "  device role ROLE --where K=V...\n"
     "  device assign --where K=V... --gateway GW|none\n"
     "  device rotate --where K=V... --out DIR [--credential KIND]... [--overlap 24h]\n"
     "  device add --from FILE --out DIR [--role R] [--gateway GW] [--attr K=V]... [--credential "
     "KIND]...\n"
     "    FILE: CSV with a heading (name,role,gateway,credentials,site: other columns are\n"
     "    attributes, credentials like x509+psk), or a JSON object a line (name, role, gateway,\n"
     "    credentials, attrs). What a row leaves out is as the options say.\n"
     "    Each bundle is DIR/NAME. Keep it there until the command has ended with 0.\n"
     "--dry-run says how many and the first few, and changes nothing. Cut short (the command or\n"
     "the daemon), the same command again goes on: what is so already is left as it is. Who is\n"
     "refused is named, the others are done, and the command ends with 1.\n",
     cmd_device, NULL},
    {"policy", "check, test, diff, apply, explain",
     "  sallyport policy test tests.yaml --policy policy.yaml\n"
     "  sallyport policy diff policy.yaml && sallyport policy apply policy.yaml\n"
     "  sallyport policy explain meter-1 publish sensors/lab/meter-1/temperature\n\n"
     "usage: sallyport policy check FILE\n"
     "       sallyport policy test FILE [--policy POLICY]\n"
     "       sallyport policy diff FILE\n"
     "       sallyport policy apply FILE [--dry-run]\n"
     "       sallyport policy explain NAME ACTION TOPIC|PATH [--policy POLICY]\n"
     "ACTION is publish, retain, subscribe, or get, put, post, delete, fetch, patch, ipatch on a\n"
     "path (/mq/a/b is the topic a/b). --policy: asks a policy that is not in force.\n\n"
     "test needs no daemon: POLICY (without: policy.yaml of DIR) is asked about devices that the\n"
     "file makes up. A row that came out otherwise is told with its line and the rule that "
     "decided;\n"
     "the exit code is then 1.\n"
     "  version: 1\n"
     "  devices:\n"
     "    meter-1: { role: sensor, attrs: { site: lab }, gateway: hub }\n"
     "    hub:     { role: gateway, attrs: { site: lab } }\n"
     "    desk:    { role: console }\n"
     "  tests:\n"
     "    - { device: meter-1, allow: publish, topic: sensors/lab/meter-1/t, qos: 1, retain: yes "
     "}\n"
     "    - { device: meter-1, deny: subscribe, topic: \"#\" }\n"
     "    - { device: meter-1, deny: PUT, path: /fw/1 }\n"
     "    - { device: meter-1, allow: connect, client_id: meter-1 }\n"
     "    - { device: desk, allow: hear, topic: sensors/lab/meter-1/t, from: meter-1 }\n"
     "qos is 0 and retain is no unless given. hear: the one may publish it, the other subscribe, "
     "and\n"
     "the flows let it pass between their segments.\n"
     "\n"
     "diff compares FILE with the policy in force and changes nothing (apply --dry-run is the "
     "same):\n"
     "what each role has more (+), less (-) and otherwise (~), what becomes dangerously wide (!), "
     "how\n"
     "many active devices each of it concerns and the first five of them; and what the newest "
     "1,000\n"
     "events and the retained messages have of logins, publishes and subscriptions that would be\n"
     "refused, or allowed, from now on. The events are samples: a connection's first publish, "
     "every\n"
     "subscription, refusals over MQTT. It does not know who is connected now.\n"
     "Later: learn.\n",
     cmd_policy, NULL},
    {"exception", "the only way to weaken anything: named, reasoned, for a time",
     "  sallyport exception add --listener mqtt --allow plaintext --for 2h --reason \"old PLC\"\n\n"
     "usage: sallyport exception add --listener L --allow plaintext,anonymous [--role R] --for "
     "TIME\n"
     "                               --reason TEXT      (at most 7d; prints its id)\n"
     "       sallyport exception list\n"
     "       sallyport exception end ID\n"
     "  Plain CoAP (UDP) is let in at a coap listener with OSCORE, by both words and a role; each "
     "address\n"
     "  proves itself by Echo (RFC 9175) first.\n",
     cmd_exception, NULL},
    {"respond", "list, start, undo: what misuse is answered with",
     "  sallyport respond start pump-7 quarantine --for 2h --reason \"strange since noon\"\n\n"
     "usage: sallyport respond list [--dry-run]\n"
     "       sallyport respond start NAME ANSWER --for TIME --reason TEXT   (prints its id)\n"
     "       sallyport respond undo ID | --all\n"
     "\n"
     "Answers, weakest first; all end at their deadline or by undo, and leave nothing behind:\n"
     "  throttle    it publishes a tenth as often as its role may\n"
     "  step-up     its connections end; it comes back by a full handshake, no ticket, and by its\n"
     "              certificate where it has one, not by a password or token\n"
     "  quarantine  what it publishes to T is a message of $quarantine/NAME/T, which only roles\n"
     "              hear that are granted that; it hears nothing, and is not told\n"
     "  disconnect  its connections end, and it is not let in\n"
     "  revoke      the same, and without --for it lasts until it is undone. Its credentials stay\n"
     "              as they are: `device revoke` is for good\n"
     "\n"
     "Rules in sallyport.yaml start them by themselves when a detector finds something. A rule is "
     "a\n"
     "dry run unless it says mode: enforce; list --dry-run shows what it would have done. Without\n"
     "`responses` there, what is suggested runs dry. See docs/DETECTORS.md.\n"
     "  responses:\n"
     "    rules:\n"
     "      - { on: probing, role: sensor, answer: quarantine, for: 1h, mode: enforce }\n"
     "    except: { names: [plc-1], roles: [console] }\n"
     "    per_hour: 10     # devices; beyond it rules only alert\n",
     cmd_respond, NULL},
    {"master-key", "rotate: a new master key, while the daemon serves",
     "  sallyport master-key rotate\n\n"
     "usage: sallyport master-key rotate [--master-key FILE] [--new-key FILE]\n"
     "Makes a new key beside the old one (FILE.new), has the daemon seal the keyring under it, "
     "and\n"
     "puts it in FILE's place. Cut short at any moment, one of the two files opens the keyring:\n"
     "FILE before the daemon has answered, FILE.new from then on; `serve` tries both, and running\n"
     "this again finishes it. The old key opens nothing any more.\n"
     "  --master-key FILE the key in force; default as configured, else DIR.key\n"
     "  --new-key FILE    take this key (32 bytes) instead of a random one\n",
     cmd_master_key, NULL},
    {"pub", "publish a message, a file, or each line",
     "  sallyport pub --bundle meter-7 -t sensors/lab/meter-7/temperature -m 21.5 -q 1 -r\n"
     "  sallyport pub -L mqtts://broker.example/plant/log --cafile ca.pem -u me "
     "--password-file pw -l\n\n"
     "usage: sallyport pub -t TOPIC -m TEXT | -f FILE | -l | -s | -n [options]\n"
     "With QoS 1 and 2 it ends when the server has acknowledged everything; 1 when one was "
     "refused.\n",
     cmd_pub, NULL},
    {"sub", "subscribe and print messages",
     "  sallyport sub --bundle console-1 -t 'sensors/#' -v\n"
     "  sallyport sub -L wss://broker.example/mqtt --bundle console-1 -t 'sensors/#' -F "
     "'@H:@M %-20t %p'\n\n"
     "usage: sallyport sub -t FILTER... [options]\n"
     "Ends by -C, -W, -E, --retained-only or Ctrl-C.\n",
     cmd_sub, NULL},
    {"rpc", "a request and its answer",
     "  sallyport rpc --bundle meter-7 -t services/time -e commands/meter-7/answer -m now\n\n"
     "usage: sallyport rpc -t TOPIC -e ANSWER-TOPIC -m TEXT | -f FILE | -s | -n [options]\n"
     "  Subscribes to ANSWER-TOPIC, asks with it and correlation data (MQTT 5), prints the "
     "answer\n"
     "  that carries the same. 1 when none came in time (10 s).\n",
     cmd_rpc, NULL},
    {"coap", "get, put, post, delete, observe, fetch, patch, ipatch",
     "  sallyport coap get coaps://localhost/mq/sensors/lab/meter-7/temperature --bundle lamp-1\n"
     "  sallyport coap observe coap://localhost/mq/lamps/lamp-1/goal --bundle lamp-1\n"
     "  sallyport coap get coaps+tcp://localhost:5685/mq/lamps/lamp-1/goal --bundle lamp-1\n\n"
     "usage: sallyport coap METHOD URI [-e TEXT | -f FILE] --bundle DIR [options]\n"
     "  coaps:// is DTLS; coaps+tcp:// and coaps+ws:// are TLS, by certificate; coap:// is\n"
     "  protected by OSCORE (the bundle's oscore.json), never plain.\n"
     "  observe ends after -s SECONDS, or by Ctrl-C. --json in front of `coap`: a line for each\n"
     "  answer: code, options, payload. Refusals (4.xx, 5.xx) end with 1.\n",
     cmd_coap, NULL},
    {"audit", "who did what, and what was refused",
     "  sallyport audit tail -f\n\n"
     "usage: sallyport audit tail [-n N] [-f]     (the last 100; -f: and those to come)\n"
     "       sallyport audit verify [--anchor FILE]... [--key HEX]\n"
     "       sallyport audit export [--since T] [--until T] [--format json|syslog|ocsf]\n"
     "       sallyport audit anchor > FILE\n"
     "       sallyport audit key\n"
     "       sallyport audit roll-key\n"
     "verify needs no daemon: it reads the whole trail, checks hashes and signatures, and says of\n"
     "each place that was edited, deleted, inserted, reordered, swapped, truncated or rewritten,\n"
     "which records, in which file, between which times; 1 then. What a crash leaves is a note.\n"
     "anchor prints how far the trail is, signed. Keep it where this machine cannot write:\n"
     "with it verify knows what was cut off the end, or made anew by who has the keys.\n"
     "key prints the public key; an auditor who keeps it gives it to verify. roll-key makes "
     "another\n"
     "one, which the old one signs before it is erased.\n"
     "export prints the events as they are, a JSON object a line. T is 2026-11-22T08:00, or how\n"
     "long ago (24h).\n"
     "  --master-key FILE, --keyring FILE   when they are not where `serve` looks\n",
     cmd_audit, NULL},
    {"status", "how the daemon is", "  sallyport status\n\nusage: sallyport status [--json]\n",
     cmd_status, NULL},
    {"metrics", "numbers for Prometheus",
     "  sallyport metrics\n\nusage: sallyport metrics\n"
     "A listener with door: metrics gives the same at /metrics, for Prometheus, and /health and\n"
     "/ready (`init --listen metrics=127.0.0.1:9464`). Elsewhere than on loopback it is TLS, and "
     "a\n"
     "role reads it with resources: [ { path: /metrics, methods: [GET] } ]. Alert rules and a\n"
     "dashboard: docs/monitoring.\n",
     cmd_status, NULL},
    {"alerts", "what needs a person", "  sallyport alerts\n\nusage: sallyport alerts [--json]\n",
     cmd_status, NULL},
    {"selftest", "amplification: what the server's own listeners answer to strangers, measured",
     "  sallyport selftest amplification\n\n"
     "usage: sallyport selftest amplification [--json]\n"
     "Sends the requests that could bring about most to each CoAP listener of the daemon, each "
     "from\n"
     "an address that has proven nothing, and shows bytes in and out. Nobody gets more than three\n"
     "bytes for one: 1 when one was over, or when nothing answered. The audit trail has these\n"
     "requests as it has those of any stranger.\n",
     cmd_selftest, NULL},
    {"bench", "load a server, and verify what it does",
     "  sallyport bench --bundle bench-1 --scenario fan-in --qos 1 --pid \"$(pidof sallyport | tr "
     "' ' "
     ",)\"\n\n"
     "usage: sallyport bench [--scenario SCENARIO] --bundle DIR | -h HOST -p PORT ... | -L URL\n"
     "                       [--seconds S] [--pid PID,...] [--plot FILE.svg] [--json]\n"
     "  whom:               as `pub --help` has it; -L wss://HOST:PORT/mqtt is MQTT over "
     "WebSocket\n"
     "  of MQTT:            [--qos 0|1|2] [-V 311|5] (3.1.1) [--topic PREFIX] [--plain]\n"
     "  of messages:        [--publishers N] [--subscribers N] [--size BYTES] [--window N]\n"
     "                      [--rate MESSAGES/S] [--keep]\n"
     "scenarios\n"
     "  pairs, fan-in, fan-out   deliveries a second in a closed loop: a publisher has at most\n"
     "                           --window messages under way\n"
     "  durable                  the subscribers are asleep, and what counts is the server's\n"
     "                           acknowledgement; afterwards they come back and must get "
     "everything\n"
     "  latency                  pairs at --rate (10000), from the time a message was due: a "
     "server\n"
     "                           that stands still makes all late that were due meanwhile\n"
     "  connect, resumed         a storm: --connections (32) at a time log in and leave again: TLS "
     "in\n"
     "                           full, or by tickets\n"
     "  idle                     --connections (1000) are held, and answer a ping at last\n"
     "  retained                 --count (10000) retained messages, all to one new subscriber\n"
     "  subscriptions            --count (20000) filters of 100 clients, then messages that match "
     "one\n"
     "  coap-get, coap-handshake --connections (100, 16) sockets with one GET of --path each, "
     "--window\n"
     "                           of them at a time (all), by DTLS or --plain. Servers of others:\n"
     "                           --psk-identity NAME --psk KEY (everybody on this machine can read "
     "that)\n"
     "  Every message is checked: 1 when one was lost, came twice or out of order, or an answer "
     "was "
     "not\n"
     "  to what was asked.\n"
     "  --pid    adds the CPU time that these processes used for each, and the memory\n"
     "  --plot   writes the rate, with --pid the CPU too, over the run as SVG\n"
     "  --json   docs/BENCH.md says what each name is. A terminal sees a line each second\n"
     "  --keep   the subscribers' sessions last, so what they get is on disk first (QoS 1, 2); "
     "they "
     "stay\n"
     "           with the server\n"
     "  The identity needs many client ids at once and PREFIX/# both ways (default bench/RANDOM).\n"
     "  --plain  TCP or UDP without protection and identity, only to a server on this machine.\n",
     cmd_bench, NULL},
    {"backup", "a sealed copy of the data directory, also while the daemon serves",
     "  sallyport backup /mnt/backup/2026-11-21.spb\n"
     "  sallyport restore /mnt/backup/2026-11-21.spb --verify\n\n"
     "usage: sallyport backup FILE [--master-key FILE]\n"
     "One file: configuration, policy, certificates, audit trail, devices, sessions, messages. It\n"
     "holds neither the master key nor the keyring (DIR/keyring); keep copies of both apart from\n"
     "it, each is useless without the others. A device that is removed later is gone from it, "
     "too,\n"
     "when old copies of the keyring are thrown away. DIR/backup.made says when, for `doctor`.\n"
     "  --master-key FILE  when it is not where `serve` looks\n",
     cmd_backup, NULL},
    {"restore", "a data directory out of a backup; --verify only looks",
     "  sallyport restore 2026-11-21.spb --verify\n"
     "  sallyport -C /var/lib/sallyport-2 restore 2026-11-21.spb --keyring keyring "
     "--master-key my.key\n\n"
     "usage: sallyport -C NEWDIR restore FILE [--master-key FILE] [--keyring FILE]\n"
     "       sallyport restore FILE --verify [--master-key FILE] [--keyring FILE]\n"
     "NEWDIR must be empty or not there; it may hold a keyring. The keys: as the options say, "
     "else\n"
     "NEWDIR.key and NEWDIR/keyring, else where they were when the backup was made. Give the "
     "newest\n"
     "keyring: devices that were removed since stay removed. Copies of both are put beside NEWDIR\n"
     "and into it.\n"
     "  --verify  reads and opens everything, says what is in it, writes nothing; 1 when "
     "something\n"
     "            is damaged\n",
     cmd_restore, NULL},
    {"certs", "list, plan: what ends when; renew: the server's; revoke one of a device; roll",
     "  sallyport certs plan\n"
     "  sallyport certs list --state due\n"
     "  sallyport certs renew --host broker.example\n\n"
     "usage: sallyport certs list [--state fine|due|aged|unconfirmed|expired|revoked]\n"
     "       sallyport certs plan\n"
     "       sallyport certs renew [--host NAME]...\n"
     "       sallyport certs roll prepare|switch|finish [--leave-behind]\n"
     "       sallyport certs revoke NAME [--serial S] [--reason R]\n"
     "       sallyport certs crl\n"
     "  list   of each active device and kind of credential the one that ends last, soonest "
     "first;\n"
     "         due: in the last third of its life. What has no end is not there.\n"
     "  plan   a calendar: how many end in each week, by UTC; and when the authority and the\n"
     "         server's certificate end. CLIFF: 10 or more, and a fifth of all, on one day.\n"
     "  renew  the server's, for the names of the present one and each --host (DNS name or IP\n"
     "         address), by the same authority, for 90 days. By itself it does so after 60.\n"
     "  roll   another authority, without an outage: prepare makes a new root, which bundles hold\n"
     "         beside the present one from then on; switch makes an intermediate of it that "
     "signs,\n"
     "         and shows the server's certificate in it, also to clients of before; finish trusts\n"
     "         the former one no more, and names first who has nothing of the new one.\n"
     "         Without prepare the root stays, and only the intermediate is new.\n"
     "         It answers when new connections are shown it; those that are there stay.\n"
     "  revoke ends one certificate for good (without --serial all that the device has now): "
     "sessions "
     "of\n"
     "         it end at once, other credentials of the device stay. R is unspecified, "
     "key-compromise,\n"
     "         changed, superseded, cessation or withdrawn. `device revoke` ends the whole "
     "device.\n"
     "  crl    which revocation lists are in force. DIR/pki/crl.pem is for others (openssl verify\n"
     "         -crl_check, a web server); DIR/pki/crl-extra.pem is yours to put there, then "
     "SIGHUP.\n"
     "Devices renew their own by the agent (`sallyport agent --help`), or get another by `device "
     "rotate\n"
     "NAME`.\n"
     "--json is for programs. Alerts: what ends within 14 days; 100 or more, and a fifth of all, "
     "on\n"
     "one day.\n",
     cmd_certs, NULL},
    {"enrol",
     "certificates for devices: token, tokens, cancel, list, approve, reject, batch; on the "
     "device: "
     "join",
     "  sallyport enrol token --role sensor --name meter-7\n"
     "  sallyport enrol join --server plant.example:9443 --token ... --ca-sha256 ... --name "
     "meter-7\n"
     "  sallyport enrol batch meters.txt --out bundles\n\n"
     "usage: sallyport enrol token --role R [--name N | --pattern P] [--attr K=V]... [--for 1h]\n"
     "                             [--uses 1] [-n COUNT] [--out FILE]\n"
     "       sallyport enrol tokens\n"
     "       sallyport enrol cancel ID|TOKEN\n"
     "       sallyport enrol list\n"
     "       sallyport enrol approve ID --role R [--attr K=V]...\n"
     "       sallyport enrol approve --all [--where name=PATTERN] [--where from=NETWORK] --role R\n"
     "       sallyport enrol reject ID\n"
     "       sallyport enrol batch FILE --out DIR [--credential KIND]...\n"
     "       sallyport enrol join --server HOST[:PORT] --token T --ca-sha256 FP [--name N] [--out "
     "DIR]\n"
     "Needs a listener with door: enrol (EST over HTTPS; `init --listen enrol=[::]:9443`).\n"
     "  token    what a person types at a device, once: it is good for one name, or one that "
     "matches\n"
     "           P ('*' is any run of characters), for --for, for --uses devices\n"
     "  tokens   those that are still good, each by an id; the token itself is never shown again\n"
     "  cancel   nobody enrols by it any more; who has its certificate already keeps it\n"
     "  list     devices without proof that asked; a restart forgets them, and they ask again\n"
     "  approve  they get a principal with role R, and a certificate for the key they asked with\n"
     "  batch    rows of NAME ROLE [KEY=VALUE ...]; DIR/NAME is each one's bundle. Run it again "
     "after\n"
     "           a crash: what is there stays, what was begun is finished\n"
     "  join     on the device: makes a key, trusts the server whose authority has this "
     "fingerprint,\n"
     "           asks, waits for approval when there is no token, and saves a bundle\n",
     cmd_enrol, NULL},
    {"agent", "keeps a device's certificate fresh",
     "  sallyport agent --bundle meter-7\n"
     "  sallyport agent --bundle meter-7 --run /usr/local/bin/reconnect\n\n"
     "usage: sallyport agent --bundle DIR [--run PROGRAM] [--once] [--now]\n"
     "Runs beside the device's own program and renews the certificate of its bundle at two thirds\n"
     "of its life (spread, so that a fleet does not come at once), at the server's enrolment "
     "door.\n"
     "A new key each time; the new certificate is proven by a connection before it takes the old\n"
     "one's place, with the authorities to trust. It also renews one that has ended, as long as\n"
     "the server's grace lasts. What fails is said and tried again; the old one stays.\n"
     "  --run PROGRAM  run behind each renewal with DIR as its argument: connect anew there\n"
     "  --once         renew if it is due, then end: 0, or 1 when that failed (for cron)\n"
     "  --now          renew at once\n"
     "  --host, --port of another door than the bundle's\n",
     cmd_agent, NULL},
    {"retained", "list, purge, undo",
     "  sallyport retained list --by principal\n"
     "  sallyport retained purge 'sensors/lab/#'\n\n"
     "usage: sallyport retained list [FILTER] [--by topic|principal]\n"
     "       sallyport retained purge FILTER [--yes]\n"
     "       sallyport retained undo ID\n"
     "  list   topic, size, who said it, when it expires; --by principal: how many, and how large\n"
     "         in all, the largest first. FILTER is as in SUBSCRIBE (default #; topics that begin\n"
     "         with $ only when it does).\n"
     "  purge  asks first, or --yes. Subscribers hear it as if who said them had cleared them.\n"
     "         What goes is kept for a day, the last 10 times, as the undo record ID.\n"
     "  undo   puts it back, but for topics that have a newer message.\n"
     "What `device remove` erases is erased there, too. No backup has undo records.\n",
     cmd_retained, NULL},
    {"setaside", "messages that a client failed at again and again: list, replay, drop",
     "  sallyport setaside list --device lamp-1\n"
     "  sallyport setaside replay 129\n\n"
     "usage: sallyport setaside list [--device NAME] [--payload] [--limit N] [--after ID]\n"
     "       sallyport setaside replay ID|all [--device NAME]\n"
     "       sallyport setaside drop ID|all [--device NAME]\n"
     "A message that a client got on as many connections as its role's redeliveries says, and "
     "never\n"
     "acknowledged, is set aside: it is not sent any more, and an alert says so.\n"
     "  list    id, time, device, client id, topic, QoS, size, how often it was sent, why\n"
     "          --payload shows what is in it, and the audit trail says that you looked;\n"
     "          --limit and --after take a part: those behind this id\n"
     "  replay  puts it back into the queue of its session, with a fresh count. The policy in "
     "force "
     "is\n"
     "          asked again; refused when the session is gone. With QoS 2 the client may have had "
     "it\n"
     "          before: only replay what may come twice\n"
     "  drop    deletes it\n"
     "How many are kept, and how long: setaside_messages, setaside_bytes, setaside_expiry.\n",
     cmd_setaside, NULL},
    {"doctor", "what is weak here, or in the configuration of another broker, and the fix",
     "  sallyport doctor\n"
     "  sallyport doctor --mosquitto /etc/mosquitto/mosquitto.conf\n"
     "  sallyport doctor --profile cra --json\n\n"
     "usage: sallyport doctor [-C DIR] [--profile cra|etsi303645|nist8259a|owasp] [--only ID]...\n"
     "                        [--mosquitto FILE | --emqx FILE | --nanomq FILE]\n"
     "       sallyport doctor --waive ID[=OBJECT] --until DATE --reason TEXT [--mosquitto FILE "
     "...]\n"
     "       sallyport doctor waiver list | waiver end NUMBER\n"
     "       sallyport doctor --rules\n"
     "Looks at DIR, its configuration, policy, certificates and files, and asks the daemon that\n"
     "serves it for devices, ages and exceptions; or at mosquitto.conf, emqx.conf (5.x) or\n"
     "nanomq.conf and the files they name. Of those, what plugins, databases and the environment\n"
     "say is not seen.\n"
     "Changes nothing, connects to nobody else, prints no secret.\n"
     "  --profile  pass, fail or not assessed for each clause, with the findings behind it\n"
     "  --only     these rules alone; --rules lists all (docs/DOCTOR.md)\n"
     "  --waive    a finding you have decided to live with: kept in DIR, listed, in force until\n"
     "             the end of that day (UTC), 366 days at most. OBJECT is a listener, an account,\n"
     "             a file as the finding names it; without it all findings of the rule\n"
     "Exit codes: 0 clean, 1 a finding of medium severity or more, 2 usage, or nothing was "
     "judged.\n",
     cmd_doctor, NULL},
    {"scan", "what a server of yours shows to strangers, and the fix",
     "  sallyport scan localhost\n"
     "  sallyport scan broker.example --i-own-this --cafile ca.pem --sarif > scan.sarif\n\n"
     "usage: sallyport scan HOST [--port KIND:PORT]... [--json | --sarif] [--i-own-this]\n"
     "                           [--cafile FILE] [--ws-path PATH] [--no-passwords] [--timeout S] "
     "[--time S]\n"
     "  --port K:P      look at this port alone; K is mqtt mqtts ws wss coap coaps. Else the usual "
     "ones:\n"
     "                  1883 8883 8083 8084 9001, 5683 and 5684 of UDP\n"
     "  --i-own-this    needed for any address but loopback: a scan tries to log in, and is seen\n"
     "  --cafile FILE   the authority that has to have signed the certificate; else the "
     "system's\n"
     "  --no-passwords  try none; else 8 default ones, once, at the first port that asks for one\n"
     "  --timeout S     for one answer, 1 to 30 (2); --time S: for all of it, 1 to 900 (90)\n"
     "Each finding says what was sent, what came and the fix, for MQTT (TLS, certificate, who is "
     "let "
     "in,\n"
     "what they may do, limits, web pages) and CoAP (amplification measured, Echo, Observe, DTLS "
     "cookie).\n"
     "One connection at a time; what it leaves (one retained message) it takes away again.\n"
     "Exit code: 0 nothing of medium severity or higher, 1 findings, no answer or not finished, 2 "
     "usage.\n",
     cmd_scan, NULL},
    {"import", "mosquitto's users and rules", NULL, NULL, "operations"},
    {"firmware", "releases and roll-outs", NULL, NULL, "firmware"},
    {"incident", "what the audit trail has about one device, as a file that proves itself",
     "  sallyport incident export --device meter-7 --since 24h --out meter-7.incident\n"
     "  sallyport incident verify meter-7.incident --key HEX\n\n"
     "usage: sallyport incident export --device NAME --since T [--until T] --out FILE\n"
     "       sallyport incident verify FILE [--key HEX] [--anchor FILE]...\n"
     "export writes JSON lines: every event that names the device, the other records of that time\n"
     "as hashes only, the signed checkpoints that cover both, and sums by category, peer and\n"
     "target. verify needs the file and nothing else; with the key of `audit key`, or an anchor\n"
     "kept outside, it also knows whose trail it is. 1 when anything does not hold.\n"
     "T is 2026-11-22T08:00 (UTC), or how long ago (24h).\n"
     "  --master-key FILE, --keyring FILE   for export, when they are not where `serve` looks\n",
     cmd_incident, NULL},
};

static void print_help(FILE *to, const char *program)
{
    fprintf(to,
            "Sallyport: MQTT and CoAP, secure by default.\n\n"
            "  %s quickstart demo      makes a fortress and prints what to type\n"
            "  %s serve demo           runs it\n\n"
            "usage: %s [-C DIR] [--json] COMMAND ...\n"
            "  -C DIR   data directory; default $SALLYPORT_DIR, else /var/lib/sallyport\n"
            "  --json   JSON on stdout\n\ncommands:\n",
            program, program, program);
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        fprintf(to, "  %-11s %s%s\n", commands[i].name, commands[i].summary,
                commands[i].run == NULL ? " (not there yet)" : "");
    }
    fprintf(to,
            "\n`%s COMMAND --help` says more. Exit codes: 0 done, 1 refused or failed, 2 usage.\n",
            program);
}

static const struct cli_command *find_command(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static int command_help(struct cli *cli, const struct cli_command *c)
{
    fprintf(cli->out, "%s: %s\n\n%s", c->name, c->summary, c->help);
    mqtt_flags_help(cli->out, c->name);
    coap_flags_help(cli->out, c->name);
    return CLI_DONE;
}

static int run_command(struct cli *cli, const struct cli_command *c, int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 && c->help != NULL) {
            return command_help(cli, c);
        }
    }
    if (c->run == NULL) {
        return cli_fail(cli, "%s is not there yet: it comes with %s", c->name, c->comes_with);
    }
    return c->run(cli, c, argc, argv);
}

int cli_main(int argc, char **argv)
{
    const char *dir = getenv("SALLYPORT_DIR");
    struct cli cli = {.program = argc > 0 && argv[0] != NULL ? argv[0] : "sallyport",
                      .dir = dir != NULL && dir[0] != '\0' ? dir : "/var/lib/sallyport",
                      .out = stdout,
                      .err = stderr};
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
            print_help(cli.out, cli.program);
            return CLI_DONE;
        }
        if (strcmp(argv[at], "--version") == 0) {
            fprintf(cli.out, "sallyport %s\n", SALLYPORT_VERSION);
            return CLI_DONE;
        }
        if (strcmp(argv[at], "--json") == 0) {
            cli.json = true;
        } else if (strcmp(argv[at], "-C") == 0 && at + 1 < argc) {
            cli.dir = argv[++at];
        } else {
            return cli_usage(&cli, NULL, "%s is not a global option", argv[at]);
        }
    }
    if (at == argc) {
        print_help(cli.err, cli.program);
        return CLI_USAGE;
    }
    bool is_help = strcmp(argv[at], "help") == 0;
    if (is_help && at + 1 == argc) {
        print_help(cli.out, cli.program);
        return CLI_DONE;
    }
    at += is_help ? 1 : 0;
    const struct cli_command *c = find_command(argv[at]);
    if (c == NULL) {
        return cli_usage(&cli, NULL, "there is no command \"%s\"", argv[at]);
    }
    return is_help && c->help != NULL ? command_help(&cli, c)
                                      : run_command(&cli, c, argc - at - 1, argv + at + 1);
}

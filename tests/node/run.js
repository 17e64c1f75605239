/* node run.js JSON: tells one of story.js's stories with the MQTT.js of build-test/node; the facts go out as one line of JSON. */
'use strict';

const fs = require('fs');
const path = require('path');

const stories = require('./story.js');

const how = JSON.parse(process.argv[2]);
const mqtt = require(path.join(how.modules, 'mqtt'));

const tls = { ca: fs.readFileSync(how.ca) };
if (how.cert) {
  Object.assign(tls, { cert: fs.readFileSync(how.cert), key: fs.readFileSync(how.key) });
}
if (how.servername) {
  Object.assign(tls, { servername: how.servername, wsOptions: { servername: how.servername } });
}
stories[how.tell](mqtt, { ...how, tls }).then(
  (facts) => process.stdout.write(`${JSON.stringify(facts)}\n`, () => process.exit(0)),
  (error) => { console.error(error); process.exit(1); });

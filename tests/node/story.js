/* What MQTT.js is asked to do, under node (run.js) and in a browser (page.html): a story with two clients of one principal
 * that ends in facts, and a connection that must not come about. Nothing waits for time, only for what must happen. */
'use strict';

class Party {
  constructor(mqtt, how, id, more = {}) {
    this.came = [];
    this.waiting = [];
    const lasting = how.version === 5 ? { properties: { sessionExpiryInterval: 300 } } : {};
    this.client = mqtt.connect(how.url, {
      protocolVersion: how.version, clientId: id, clean: false, resubscribe: false, reconnectPeriod: 0,
      username: how.username, password: how.password, ...lasting, ...how.tls, ...more });
    this.client.on('message', (topic, payload, packet) => {
      const taker = this.waiting.shift();
      if (taker) {
        taker(packet);
      } else {
        this.came.push(packet);
      }
    });
    this.connected = this.arrival();
  }

  /* The next CONNACK; the reason when there is none. */
  arrival() {
    return new Promise((resolve, reject) => {
      let why = new Error('closed before CONNACK');
      this.client.on('error', (error) => { why = error; });
      this.client.once('connect', resolve);
      this.client.once('close', () => reject(why));
    });
  }

  again() {
    this.connected = this.arrival();
    this.client.reconnect();
    return this.connected;
  }

  /* Goes without DISCONNECT. */
  drop() {
    return new Promise((resolve) => {
      this.client.once('close', resolve);
      this.client.stream.destroy();
    });
  }

  next() {
    return this.came.length > 0 ? Promise.resolve(this.came.shift()) : new Promise((resolve) => this.waiting.push(resolve));
  }

  async texts(n) {
    const out = [];
    while (out.length < n) {
      out.push((await this.next()).payload.toString());
    }
    return out;
  }

  async granted(filter, qos) {
    return (await this.client.subscribeAsync(filter, { qos })).map((one) => one.qos);
  }
}

/* The library has no code for a refusal of 3.1.1, so the SUBACK itself is looked at. */
async function deniedSubscription(party, filter) {
  const suback = new Promise((resolve) => party.client.on('packetreceive', (packet) => {
    if (packet.cmd === 'suback') {
      resolve(packet.granted);
    }
  }));
  const outcome = await party.client.subscribeAsync(filter, { qos: 1 }).then(() => 'accepted', () => 'refused');
  return [outcome, ...await suback];
}

const codeOf = (promise) => promise.then(() => 'accepted', (error) => error.code);

async function levels(from, to, base) {
  await to.granted(`${base}/in/#`, 2);
  const got = {};
  const sent = [];
  for (const qos of [0, 1, 2]) {
    for (const i of [1, 2, 3]) {
      sent.push(from.client.publishAsync(`${base}/in/${qos}`, `${qos}-${i}`, { qos }));
    }
  }
  await Promise.all(sent);
  for (let i = 0; i < 9; i += 1) {
    const packet = await to.next();
    const key = `${packet.topic.slice(-1)} as ${packet.qos}`;
    got[key] = [...(got[key] || []), packet.payload.toString()];
  }
  return got;
}

async function kept(from, to, how, base) {
  const properties = how.version === 5 ? {
    properties: {
      contentType: 'text/plain', responseTopic: `${base}/answers`, correlationData: new Uint8Array([1, 0, 255]),
      messageExpiryInterval: 3600, payloadFormatIndicator: true, userProperties: { unit: ['C', 'K'], place: 'roof' } } } : {};
  await from.client.publishAsync(`${base}/kept`, 'warm', { qos: 1, retain: true, ...properties });
  await to.granted(`${base}/kept`, 1);
  const packet = await to.next();
  const p = packet.properties || {};
  const fact = { payload: packet.payload.toString(), qos: packet.qos, retain: packet.retain };
  if (how.version === 5) {
    Object.assign(fact, {
      type: p.contentType, answers: p.responseTopic, correlation: [...p.correlationData], text: p.payloadFormatIndicator,
      user: { ...p.userProperties }, expires: p.messageExpiryInterval > 3500 && p.messageExpiryInterval <= 3600 });
  }
  await from.client.publishAsync(`${base}/kept`, '', { qos: 1, retain: true });
  await to.next(); // the clearing itself
  return fact;
}

/* MQTT 5 has a reason code; 3.1.1 can only end the connection. */
async function deniedPublish(mqtt, how) {
  const third = new Party(mqtt, how, `${how.name}-third`);
  await third.connected;
  if (how.version === 5) {
    const codes = [];
    for (const qos of [1, 2]) {
      codes.push(await codeOf(third.client.publishAsync(how.denied, 'no', { qos })));
    }
    await third.client.endAsync();
    return codes;
  }
  const closed = new Promise((resolve) => third.client.once('close', () => resolve('closed')));
  third.client.publish(how.denied, 'no', { qos: 1 });
  return closed;
}

async function story(mqtt, how) {
  const base = how.base;
  const facts = {};
  const first = new Party(mqtt, how, `${how.name}-first`,
    { will: { topic: `${base}/will`, payload: 'gone', qos: 1, retain: false } });
  const second = new Party(mqtt, how, `${how.name}-second`);
  facts.fresh = (await first.connected).sessionPresent;
  await second.connected;
  facts.levels = await levels(second, first, base);
  facts.kept = await kept(second, first, how, base);
  facts.deniedSubscription = await deniedSubscription(first, how.denied);
  facts.deniedPublish = await deniedPublish(mqtt, how);
  facts.willGranted = await second.granted(`${base}/will`, 1);
  await first.drop();
  facts.will = await second.texts(1);
  await second.client.publishAsync(`${base}/in/1`, 'while away', { qos: 1 });
  await second.client.publishAsync(`${base}/in/1`, 'still away', { qos: 1 });
  facts.resumed = (await first.again()).sessionPresent;
  facts.missed = await first.texts(2);
  await first.client.endAsync();
  await second.client.publishAsync(`${base}/will`, 'a goodbye leaves no will', { qos: 1 });
  facts.last = await second.texts(1);
  await second.client.endAsync();
  return facts;
}

/* Why no connection came about, in the library's words. */
async function refusal(mqtt, how) {
  const party = new Party(mqtt, how, `${how.name}-refused`);
  const why = await party.connected.then(() => 'connected', (error) => `${error.code || ''} ${error.message}`.trim());
  await party.client.endAsync(true);
  return why;
}

if (typeof module !== 'undefined') {
  module.exports = { story, refusal };
}

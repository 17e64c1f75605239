/* node coap.js JSON: npm's coap, of build-test/node. `client`: a story against a server, whose facts go out as one line of JSON.
 * `server`: resources for somebody else's client; says its port, and ends with its standard input. */
'use strict';

const path = require('path');

const how = JSON.parse(process.argv[2]);
const coap = require(path.join(how.modules, 'coap'));
/* By itself it takes an ETag for text, and loses bytes of it. */
coap.registerOption('ETag', (text) => Buffer.from(text, 'hex'), (bytes) => bytes.toString('hex'));
/* One socket for all requests. By itself it closes it when nothing is asked, and the next one has another port and begins with another
 * message id; behind the association that carries all of them, this would be one endpoint that uses its message ids again. */
const agent = new coap.Agent({ type: 'udp4', socket: require('dgram').createSocket('udp4') });

const ECHO = '252'; /* it has no name for the option, and does not repeat a request by itself */
let challenged = 0;

/* An answer, after the Echo of one that asks for it. */
async function ask(method, where, how = {}) {
  const answer = await askOnce(method, where, how);
  const echo = answer.options.find((option) => option.name === ECHO);
  if (answer.code !== '4.01' || !echo) {
    return answer;
  }
  challenged++;
  return askOnce(method, where, { ...how, options: { ...how.options, [ECHO]: echo.value } });
}

function askOnce(method, where, { payload, options = {}, confirmable = true, observe = false } = {}) {
  return new Promise((resolve, reject) => {
    const request = coap.request({
      hostname: '127.0.0.1', port: how.port, pathname: `/mq/${where}`, method, options, confirmable, observe, agent });
    request.on('response', resolve);
    request.on('error', reject);
    request.end(payload);
  });
}

async function code(...what) {
  return (await ask(...what)).code;
}

/* The states of an observation, one after the other. */
async function states(where, bodies) {
  const seen = [];
  const stream = await ask('GET', where, { observe: true });
  let wake;
  stream.on('data', (payload) => { seen.push(payload.toString()); wake(); });
  for (let i = 0; i <= bodies.length; i++) {
    while (seen.length <= i) {
      await new Promise((resolve) => { wake = resolve; });
    }
    if (i < bodies.length) {
      await code('PUT', where, { payload: bodies[i] });
    }
  }
  stream.emit('deregister'); /* close(true) would close the socket first */
  await code('PUT', where, { payload: 'unseen' });
  stream.close();
  return seen;
}

async function client() {
  /* Asked again, it takes the same block for the next one; here nothing is lost, and a busy machine may be late. */
  coap.updateTiming({ ackTimeout: 20 });
  const at = how.at;
  const large = how.large;
  const facts = {};
  facts.put = await code('PUT', `${at}/state`, { payload: 'on', options: { 'Content-Format': 'text/plain' } });
  facts.again = await code('PUT', `${at}/state`, { payload: 'off', options: { 'Content-Format': 'text/plain' } });
  const got = await ask('GET', `${at}/state`);
  facts.got = [got.code, got.payload.toString(), got.headers['Content-Format']];
  facts.valid = await code('GET', `${at}/state`, { options: { ETag: got.headers.ETag } });
  facts.non = (await ask('GET', `${at}/state`, { confirmable: false })).payload.toString();
  facts.unwanted = await code('GET', `${at}/state`, { options: { Accept: 'application/json' } });
  facts.post = await code('POST', `${at}/news`, { payload: 'passing' });
  facts.passed = await code('GET', `${at}/news`);
  facts.denied = await code('PUT', 'lamps/somebody-else/state', { payload: 'x' });
  facts.putLarge = await code('PUT', `${at}/large`, { payload: Buffer.from(large), options: { Block1: Buffer.of(6) } });
  facts.large = (await ask('GET', `${at}/large`)).payload.toString() === large;
  const small = await ask('GET', `${at}/large`, { options: { Block2: Buffer.of(2) } });
  facts.small = small.payload.toString() === large || [small.code, small.payload.length];
  facts.states = await states(`${at}/state`, how.states);
  facts.delete = await code('DELETE', `${at}/state`);
  facts.gone = await code('GET', `${at}/state`);
  facts.challenged = challenged;
  return facts;
}

function server() {
  const resources = new Map([['slow', 'at last'], ['large', how.large]]);
  const observers = new Map();
  const one = coap.createServer((request, response) => {
    const name = request.url.split('?')[0].slice(1);
    if (request.method === 'PUT') {
      response.code = resources.has(name) ? '2.04' : '2.01';
      resources.set(name, request.payload);
      response.end();
      (observers.get(name) || []).forEach((observer) => observer.write(request.payload));
    } else if (!resources.has(name)) {
      response.code = '4.04';
      response.end();
    } else if (request.headers.Observe === 0) {
      observers.set(name, [...(observers.get(name) || []), response]);
      response.on('finish', () => observers.delete(name));
      response.write(resources.get(name));
    } else if (name === 'slow') {
      setTimeout(() => response.end(resources.get(name)), 3 * 50); /* over piggybackReplyMs: it is a separate one */
    } else {
      response.end(resources.get(name));
    }
  });
  one.listen(0, '127.0.0.1', () => process.stdout.write(`${one._port || one._sock.address().port}\n`));
  process.stdin.on('end', () => process.exit(0)).resume();
}

if (how.tell === 'server') {
  server();
} else {
  client().then(
    (facts) => process.stdout.write(`${JSON.stringify(facts)}\n`, () => process.exit(0)),
    (error) => { console.error(error); process.exit(1); });
}

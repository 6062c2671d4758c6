import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { once } from 'node:events';
import test from 'ava';
import { ManualClock, SystemClock } from '../base/clock.ts';
import { SeededRandom } from '../base/random.ts';
import { Standing } from '../base/standing.ts';
import { KeyedRates } from '../net/keyed-rates.ts';
import { AddressGuard } from './address-guard.ts';
import { OriginConnections } from './origin-connections.ts';
import { OriginGate } from './origin-gate.ts';
import { OriginHostLimits, parseOriginHostLimits } from './origin-host-limit.ts';
import type { OriginHostLimit } from './origin-host-limit.ts';

const { signal } = new AbortController();

function gateOf(limits: readonly OriginHostLimit[], clock = new ManualClock()): OriginGate {
  const hosts = new OriginHostLimits(limits);
  const rates = new KeyedRates((host) => hosts.rateOf(host), clock);
  return new OriginGate({ limits: hosts, rates, clock, random: new SeededRandom(1) });
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

test('parseOriginHostLimits() reads rate, connections or both, and says what is wrong', (t) => {
  const texts = ['files.example=50MB/s,4', 'A.Example=,2', '*=1m', '[::1]=0,1'];
  t.deepEqual(parseOriginHostLimits(texts, '--x'), [
    { host: 'files.example', bytesPerSecond: 50 * 2 ** 20, requests: 4 },
    { host: 'a.example', bytesPerSecond: 0, requests: 2 },
    { host: '*', bytesPerSecond: 2 ** 20 },
    { host: '[::1]', bytesPerSecond: 0, requests: 1 },
  ]);
  const wrong = [
    '',
    'a',
    'a=',
    '=1m',
    'a=1m,0',
    'a=1m,257',
    'a=fast',
    'a:80=1m',
    'a/b=1m',
    'u@a=1m',
  ];
  for (const text of wrong) {
    t.throws(
      () => parseOriginHostLimits([text], '--x'),
      { code: 'ERR_USAGE', message: /^--x: / },
      text,
    );
  }
  t.throws(() => parseOriginHostLimits(['a=1m', 'A=2m'], '--x'), { message: /named twice/ });
  const many = Array.from({ length: 65 }, (_, at) => `h${at}=1m`);
  t.throws(() => parseOriginHostLimits(many, '--x'), { message: /at most 64/ });
});

test('OriginHostLimits: a host that is not named has what * has', (t) => {
  const limits = new OriginHostLimits(parseOriginHostLimits(['a=1m', '*=2m,3'], '--x'));
  t.deepEqual([limits.rateOf('a'), limits.requestsOf('a')], [2 ** 20, 3]);
  t.deepEqual([limits.rateOf('b'), limits.requestsOf('b')], [2 * 2 ** 20, 3]);
  t.is(new OriginHostLimits().requestsOf('a'), 16);
});

test('OriginGate admits so many requests to a host, by class, and keeps a place from warm-ups', async (t) => {
  const gate = gateOf([{ host: 'a', bytesPerSecond: 0, requests: 4 }]);
  const warmUps = { signal, standing: new Standing('warm-up') };
  const entered: string[] = [];
  const enter = async (name: string, wish: typeof warmUps): Promise<Disposable> => {
    const pass = await gate.enter('a', wish);
    entered.push(name);
    return pass;
  };
  const held = ['w1', 'w2', 'w3', 'w4'].map(async (name) => enter(name, warmUps));
  await settled();
  t.deepEqual(entered, ['w1', 'w2', 'w3']);
  const release = await enter('release', { signal, standing: new Standing('release') });
  void enter('normal', { signal, standing: new Standing('normal') });
  // Another host has places of its own.
  (await gate.enter('b', warmUps))[Symbol.dispose]();
  (await held[0])?.[Symbol.dispose]();
  await settled();
  release[Symbol.dispose]();
  await settled();
  t.deepEqual(entered, ['w1', 'w2', 'w3', 'release', 'normal', 'w4']);
});

test('OriginGate: of one class each task has its turn, however many requests of another wait', async (t) => {
  const gate = gateOf([{ host: '*', bytesPerSecond: 0, requests: 1 }]);
  const entered: string[] = [];
  const enter = async (name: string, standing: Standing): Promise<Disposable> => {
    const pass = await gate.enter('a', { signal, standing });
    entered.push(name);
    return pass;
  };
  const [one, other] = [new Standing(), new Standing()];
  const waiting = [enter('one.1', one), enter('one.2', one), enter('one.3', one)];
  waiting.push(enter('other.1', other));
  for (const pass of [0, 3, 1, 2]) (await waiting[pass])?.[Symbol.dispose]();
  t.deepEqual(entered, ['one.1', 'other.1', 'one.2', 'one.3']);
});

test('OriginGate sends nobody to a host that asked to be left alone, for as long as it said and a little more', async (t) => {
  const clock = new ManualClock();
  const gate = gateOf([], clock);
  const first = await gate.enter('a', { signal });
  first.rest(10_000);
  first[Symbol.dispose]();
  let isIn = false;
  const second = gate.enter('a', { signal }).then((pass) => {
    isIn = true;
    return pass;
  });
  clock.advance(10_000);
  await settled();
  t.false(isIn);
  clock.advance(2_500);
  (await second)[Symbol.dispose]();
  t.is(gate.requests, 0);
  const long = await gate.enter('a', { signal });
  long.rest(86_400_000);
  long[Symbol.dispose]();
  const third = gate.enter('a', { signal });
  clock.advance(75_000);
  (await third)[Symbol.dispose]();
});

interface Counted extends AsyncDisposable {
  readonly url: URL;
  readonly most: { readonly requests: number; readonly sockets: number };
}

/** A server that counts what it has at a time; each answer takes a few turns. */
async function counted(
  answer: (req: IncomingMessage, res: ServerResponse) => void,
): Promise<Counted> {
  const most = { requests: 0, sockets: 0 };
  let requests = 0;
  let sockets = 0;
  const server: Server = createServer((request, response) => {
    requests += 1;
    most.requests = Math.max(most.requests, requests);
    response.once('close', () => (requests -= 1));
    setImmediate(() => answer(request, response));
  });
  server.on('connection', (socket) => {
    sockets += 1;
    most.sockets = Math.max(most.sockets, sockets);
    socket.once('close', () => (sockets -= 1));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  return {
    url: new URL(`http://127.0.0.1:${port}/`),
    most,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function connectionsTo(gate: OriginGate): OriginConnections {
  const guard = new AddressGuard({ allow: ['127.0.0.0/8'] });
  const clock = new SystemClock();
  return new OriginConnections({
    guard,
    clock,
    connectionsPerHost: (host) => gate.limits.requestsOf(host),
    door: {
      enter: async (host, { signal: own }) => {
        const pass = await gate.enter(host, { signal: own });
        return {
          limiter: pass.limiter,
          end: (restMs) => {
            if (restMs !== undefined) pass.rest(restMs);
            pass[Symbol.dispose]();
          },
        };
      },
    },
  });
}

test('OriginConnections behind a gate: a server never sees more than its cap, requests or sockets, and all are served', async (t) => {
  await using server = await counted((_request, response) => response.end('x'.repeat(50_000)));
  const gate = gateOf([{ host: '127.0.0.1', bytesPerSecond: 0, requests: 4 }]);
  await using connections = connectionsTo(gate);
  const all = Array.from({ length: 100 }, async (_, at) => {
    const response = await connections.request({ url: server.url, signal });
    if (at % 3 === 0) {
      response.close();
      return 0;
    }
    let bytes = 0;
    for await (const chunk of response.body) bytes += chunk.length;
    return bytes;
  });
  const sizes = await Promise.all(all);
  t.is(sizes.filter((size) => size === 50_000).length, 66);
  t.true(server.most.requests <= 4 && server.most.sockets <= 5, JSON.stringify(server.most));
  await settled();
  t.is(gate.requests, 0);
});

test('OriginConnections behind a gate: Retry-After of one answer keeps all others away', async (t) => {
  let asked = 0;
  await using server = await counted((_request, response) => {
    asked += 1;
    if (asked === 1) response.writeHead(429, { 'retry-after': '30' });
    response.end();
  });
  const clock = new ManualClock();
  const gate = gateOf([], clock);
  await using connections = connectionsTo(gate);
  const first = await connections.request({ url: server.url, signal });
  t.is(first.status, 429);
  first.discard();
  while (gate.requests > 0) await settled();
  const others = Array.from({ length: 5 }, async () => {
    const response = await connections.request({ url: server.url, signal });
    response.discard();
    return response.status;
  });
  await settled();
  t.is(asked, 1);
  clock.advance(37_500);
  t.deepEqual(await Promise.all(others), [200, 200, 200, 200, 200]);
});

import { networkInterfaces } from 'node:os';
import test from 'ava';
import { freePorts } from '../../bench/cluster/free-ports.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import { taskIdOf } from '../../core/piece/task-id.ts';
import { Rogue } from '../support/rogue.ts';
import type { Conversation } from '../support/rogue.ts';
import { TestSwarm } from '../support/swarm.ts';

const content = { seed: 1, length: 1000 } as const;

/** Ways of writing this machine's loopback address. */
const LOOPBACK = [
  '127.0.0.1',
  'localhost',
  'LOCALHOST',
  '127.1',
  '127.0.0.1.',
  '2130706433',
  '0x7f000001',
  '0x7f.1',
  '0177.0.0.1',
  '017700000001',
  '127.0.1',
  '%31%32%37.0.0.1',
  '①②⑦.0.0.1',
  '127。0。0。1',
  'user:secret@127.0.0.1',
  '[::1]',
  '[0:0:0:0:0:0:0:1]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[::127.0.0.1]',
  '[64:ff9b::7f00:1]',
  '[2002:7f00:1::]',
  '0.0.0.0',
  '0',
  '[::]',
];

/** Ways of writing addresses of the link, of metadata services, and of everybody. */
const ELSEWHERE = [
  '169.254.169.254',
  '2852039166',
  '0xa9fea9fe',
  '0251.0376.0251.0376',
  '[::ffff:169.254.169.254]',
  '[::ffff:a9fe:a9fe]',
  '[64:ff9b::a9fe:a9fe]',
  '[2002:a9fe:a9fe::1]',
  '[fe80::1]',
  '[febf::1]',
  '100.100.100.200',
  '[fd00:ec2::254]',
  '224.0.0.1',
  '[ff02::1]',
  '255.255.255.255',
];

/** Has the supernode resolve a URL; the code it answers with. */
async function codeOf(control: Conversation, url: string): Promise<unknown> {
  control.say({ type: 'register', id: 1, task: taskIdOf({ url }), spec: { url } });
  const { error } = (await control.next('rejected')) as { error: { code: string } };
  return error.code;
}

/** A supernode whose operator opened one address of loopback, and no other. */
async function guardedSwarm(): Promise<TestSwarm> {
  return TestSwarm.start({ supernode: { originAllow: ['127.0.0.2/32'] } });
}

test('a supernode fetches nothing from this machine, its link or a metadata service, however that is written', async (t) => {
  await using swarm = await guardedSwarm();
  await using member = await Rogue.member(swarm.supernode);
  const control = await member.control(`127.0.0.1:${swarm.supernode.meshPort}`);
  const { port } = swarm.origin;
  swarm.origin.set('/f', { content });
  const urls = [
    ...LOOPBACK.map((host) => `http://${host}:${port}/f`),
    ...ELSEWHERE.map((host) => `http://${host}/latest/meta-data/`),
  ];
  for (const url of urls) t.is(await codeOf(control, url), 'ERR_ORIGIN_FORBIDDEN', url);
  t.is(swarm.origin.total.connections, 0);
});

test('no redirect of an origin that may be asked leads to one that may not', async (t) => {
  await using swarm = await guardedSwarm();
  await using open = await startOrigin({ host: '127.0.0.2' });
  await using member = await Rogue.member(swarm.supernode);
  const control = await member.control(`127.0.0.1:${swarm.supernode.meshPort}`);
  const targets = [
    ...LOOPBACK.map((host) => `http://${host}:${swarm.origin.port}/f`),
    ...ELSEWHERE.map((host) => `http://${host}/`),
    `//127.0.0.1:${swarm.origin.port}/f`,
  ];
  swarm.origin.set('/f', { content });
  for (const [index, to] of targets.entries()) {
    // The header can hold these letters only.
    if (/[^ -~]/.test(to)) continue;
    const status = [301, 302, 303, 307, 308][index % 5] ?? 302;
    open.set(`/${index}`, { redirect: { to, status } });
    open.set(`/${index}-twice`, { redirect: { to: `/${index}` } });
    t.is(await codeOf(control, open.url(`/${index}`)), 'ERR_ORIGIN_FORBIDDEN', to);
    t.is(await codeOf(control, open.url(`/${index}-twice`)), 'ERR_ORIGIN_FORBIDDEN', to);
  }
  t.is(swarm.origin.total.connections, 0);
});

test('a redirect to a file, to another scheme or round in circles gives an error and nothing else', async (t) => {
  await using swarm = await guardedSwarm();
  await using open = await startOrigin({ host: '127.0.0.2' });
  await using member = await Rogue.member(swarm.supernode);
  const control = await member.control(`127.0.0.1:${swarm.supernode.meshPort}`);
  const targets = ['file:///etc/passwd', 'ftp://127.0.0.2/', 'data:,hello', '/circle', 'http://['];
  for (const to of targets) {
    open.set('/circle', { redirect: { to } });
    const code = await codeOf(control, open.url('/circle'));
    t.true(['ERR_ORIGIN_FAILING', 'ERR_ORIGIN_REFUSED', 'ERR_URL'].includes(String(code)), to);
  }
  for (const url of [
    'file:///etc/passwd',
    'ftp://127.0.0.2/f',
    'gopher://127.0.0.2/',
    'nonsense',
  ]) {
    const task = 'a'.repeat(64);
    control.say({ type: 'register', id: 1, task, spec: { url } });
    t.like(await control.next('rejected'), { error: { code: 'ERR_URL' } }, url);
  }
});

test("a supernode's own ports are closed to its fetcher even where loopback is open", async (t) => {
  const [meshPort = 0, linkPort = 0, httpPort = 0] = await freePorts('127.0.0.1', 3);
  const ports = { meshPort, linkPort, httpPort };
  await using swarm = await TestSwarm.start({
    supernode: { ...ports, originAllow: ['127.0.0.0/8', '::1/128', '0.0.0.0/8', '::/128'] },
  });
  await using open = await startOrigin({ host: '127.0.0.1' });
  await using member = await Rogue.member(swarm.supernode);
  const control = await member.control(`127.0.0.1:${meshPort}`);
  const interfaces = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const own = interfaces
    .filter(({ address }) => !address.startsWith('fe80'))
    .map(({ address, family }) => (family === 'IPv6' ? `[${address}]` : address));
  const names = [...LOOPBACK, '127.0.0.2', '127.255.255.254', ...own];
  for (const port of Object.values(ports)) {
    for (const name of names) {
      const url = `http://${name}:${port}/healthz`;
      t.is(await codeOf(control, url), 'ERR_ORIGIN_FORBIDDEN', url);
    }
    open.set('/to-own', { redirect: { to: `http://127.0.0.1:${port}/` } });
    t.is(await codeOf(control, open.url('/to-own')), 'ERR_ORIGIN_FORBIDDEN');
  }
});

test('a host that may go to the origin itself is held by its own guard as well', async (t) => {
  await using swarm = await guardedSwarm();
  swarm.origin.set('/f', { content });
  const url = swarm.origin.url('/f');
  const guarded = await swarm.host('guarded', { originAllow: [] });
  const alone = await swarm.host('alone', { originAllow: [], supernodes: [] });
  for (const host of [guarded, alone]) {
    const event = await swarm.download(host, { url });
    t.is(event.type === 'failed' ? event.code : event.type, 'ERR_ORIGIN_FORBIDDEN');
  }
  t.is(swarm.origin.total.connections, 0);
});

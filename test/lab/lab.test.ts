import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import { outputOf, runCommand } from '../../bench/cluster/command.ts';
import { eventually } from '../../bench/cluster/eventually.ts';
import { checkout } from '../../bench/cluster/installation.ts';
import { Workplace } from '../../bench/cluster/workplace.ts';
import { measureGoodput } from '../../bench/lab/goodput.ts';
import { LAB_PREFIX } from '../../bench/lab/lab-names.ts';
import { labProblem, runTool } from '../../bench/lab/lab-tools.ts';
import { Lab } from '../../bench/lab/lab.ts';
import type { LabState } from '../../bench/lab/lab.ts';
import { allLabs } from '../../bench/lab/teardown.ts';

const problem = labProblem();
const labTest = problem === undefined ? test.serial : test.serial.skip;
const why = problem === undefined ? '' : ` (skipped: ${problem})`;
const MBIT = 1_000_000;
const hosts = (count: number): { name: string }[] =>
  Array.from({ length: count }, (_item, at) => ({ name: `${at + 1}` }));

/** Namespaces, devices and processes of a lab that are there now. */
async function leftOf(name: string): Promise<string[]> {
  const [spaces, devices, labs] = await Promise.all([
    runTool('ip', ['netns', 'list']),
    runTool('ip', ['-brief', 'link', 'show']),
    allLabs(),
  ]);
  const lines = `${spaces}\n${devices}`.split('\n');
  const found = lines.filter((line) => line.startsWith(`${LAB_PREFIX}${name}`));
  return [...found, ...labs.filter((lab) => lab === name)];
}

async function isGone(name: string): Promise<true | undefined> {
  return (await leftOf(name)).length === 0 ? true : undefined;
}

/** Also of a process that nobody has asked about yet. */
async function isEnded(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat === '' || stat.includes(') Z ');
}

labTest(`Lab.up() makes hosts that reach each other, and leaves nothing${why}`, async (t) => {
  t.timeout(300_000);
  await using workplace = await Workplace.open();
  {
    await using lab = await Lab.up({ name: 'tup', hosts: hosts(3) });
    const { address } = lab.host('2');
    const script = `require('net').connect(9, '${address}').on('error', (e) => console.log(e.code))`;
    const argv = [...lab.enter('1'), process.execPath, '-e', script];
    // Nobody listens there, and it is there that says so.
    t.is(await outputOf(argv, workplace), 'ECONNREFUSED');
    await t.throwsAsync(Lab.up({ name: 'tup', hosts: hosts(1) }), { code: 'ERR_BUSY' });
    t.true((await leftOf('tup')).length > 0);
  }
  t.deepEqual(await leftOf('tup'), []);
});

labTest(`a lab is gone when whoever made it is killed, with what ran in it${why}`, async (t) => {
  t.timeout(300_000);
  const script = join(import.meta.dirname, 'hold-lab.ts');
  const holder = spawn(process.execPath, [script, 'tkill'], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  const pids = (await runTool('ip', ['netns', 'pids', `${LAB_PREFIX}tkill-1`])).trim();
  t.regex(pids, /^\d+$/);
  holder.kill('SIGKILL');
  await eventually('nothing left of the lab', async () => isGone('tkill'));
  t.true(await isEnded(Number(pids)));
});

labTest(`a rate holds for a TCP stream, and may be changed${why}`, async (t) => {
  t.timeout(300_000);
  await using workplace = await Workplace.open();
  const rate = { up: 40 * MBIT, down: 40 * MBIT };
  await using lab = await Lab.up({ name: 'trate', hosts: hosts(2), rate });
  const pair = { from: '1', to: '2', rounds: 1 };
  const fast = (await measureGoodput(lab, pair, workplace)) * 8;
  t.log(`${(fast / MBIT).toFixed(2)} Mbit/s of 40`);
  // More than the other rate allows: how much more a machine decides that has little time for us.
  t.true(fast <= 40 * MBIT && fast > 8 * MBIT, `${fast} bit/s`);
  await lab.setRate('2', { up: 0, down: 8 * MBIT });
  const slow = (await measureGoodput(lab, pair, workplace)) * 8;
  t.log(`${(slow / MBIT).toFixed(2)} Mbit/s of 8`);
  t.true(slow <= 8 * MBIT && slow > MBIT, `${slow} bit/s`);
});

labTest(`loss takes its share of what comes in${why}`, async (t) => {
  t.timeout(300_000);
  await using workplace = await Workplace.open();
  await using lab = await Lab.up({ name: 'tloss', hosts: hosts(2), loss: 0.2 });
  const sent = 3000;
  const script = `const socket = require('dgram').createSocket('udp4').on('error', () => undefined);
    const send = (left) => left === 0 ? socket.close()
      : socket.send('x', 999, '${lab.host('2').address}', () => setImmediate(send, left - 1));
    send(${sent})`;
  await outputOf([...lab.enter('1'), process.execPath, '-e', script], workplace);
  const space = ['netns', 'exec', lab.host('2').namespace];
  const rules = await runTool('ip', [...space, 'nft', 'list', 'table', 'inet', 'odonata']);
  const lost = Number(/counter packets (\d+)/.exec(rules)?.[1]) / sent;
  t.log(`${(lost * 100).toFixed(1)} % lost`);
  // Six standard deviations.
  t.true(lost > 0.15 && lost < 0.25, `${lost}`);
});

labTest(`a delay holds everything back, both ways${why}`, async (t) => {
  t.timeout(300_000);
  await using workplace = await Workplace.open();
  const delayMs = 30;
  await using lab = await Lab.up({ name: 'tdelay', hosts: hosts(2), delayMs });
  const script = `const t = performance.now();
    require('net').connect(9, '${lab.host('2').address}')
      .on('error', (e) => console.log(e.code, performance.now() - t))`;
  const argv = [...lab.enter('1'), process.execPath, '-e', script];
  const [code, ms] = (await outputOf(argv, workplace)).split(' ');
  t.is(code, 'ECONNREFUSED');
  t.true(Number(ms) >= 2 * delayMs - 1, `${ms} ms`);
});

labTest(`cut takes a host off the network, heal puts it back${why}`, async (t) => {
  t.timeout(300_000);
  await using lab = await Lab.up({ name: 'tcut', hosts: hosts(2) });
  const carrier = async (): Promise<string> => {
    const space = lab.host('2').namespace;
    return (
      (await runTool('ip', ['-n', space, '-brief', 'link', 'show', 'eth0'])).split(/\s+/)[1] ?? ''
    );
  };
  await lab.cut('2');
  t.true(lab.host('2').isCut);
  t.not(await carrier(), 'UP');
  await lab.heal('2');
  await eventually('a host that is back', async () => (await carrier()) === 'UP' || undefined);
  t.false(lab.host('2').isCut);
});

labTest(`idcs are joined by a link of their own, which counts what crosses${why}`, async (t) => {
  t.timeout(300_000);
  await using workplace = await Workplace.open();
  const idcs = [0, 0, 1].map((idc, at) => ({
    name: `${at + 1}`,
    idc,
    rate: { up: 80 * MBIT, down: 0 },
  }));
  await using lab = await Lab.up({ name: 'tidc', hosts: idcs, thin: 8 * MBIT });
  const near = (await measureGoodput(lab, { from: '1', to: '2', rounds: 1 }, workplace)) * 8;
  t.true(near > 8 * MBIT, `${near}`);
  const before = await lab.crossed(1);
  const receivedBefore = await lab.received('3');
  await using server = await serveOnHarness(lab, 500_000);
  const script = `require('net').connect(${server.port}, '${lab.harnessAddress}').resume()`;
  await outputOf([...lab.enter('3'), process.execPath, '-e', script], workplace);
  const crossed = (await lab.crossed(1)).into - before.into;
  t.true(crossed > 500_000 && crossed < 600_000, `${crossed} bytes`);
  // Each of 345 packets has its headers, however many went together.
  const received = (await lab.received('3')) - receivedBefore;
  t.true(received > 500_000 + 345 * 54 && received < 600_000, `${received} bytes`);
});

async function serveOnHarness(
  lab: Lab,
  bytes: number,
): Promise<AsyncDisposable & { readonly port: number }> {
  const server = createServer((socket) => socket.end(Buffer.alloc(bytes)));
  server.listen(0, lab.harnessAddress);
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      server.close();
    },
  };
}

labTest(`npm run lab makes a lab that stays, and takes it down${why}`, async (t) => {
  t.timeout(300_000);
  await using workplace = await Workplace.open();
  const main = [process.execPath, join(checkout, 'bench', 'lab', 'main.ts')];
  const lab = async (...words: string[]): Promise<string> =>
    outputOf([...main, ...words], workplace);
  const own = ['--lab', 'tcli'];
  t.teardown(async () => lab('down', ...own));
  const up = JSON.parse(
    await lab('up', ...own, '--hosts', '2', '--rate', '10mbit', '--json'),
  ) as LabState;
  t.is(up.hosts.length, 2);
  t.regex(await lab('exec', ...own, '2', 'ip', 'addr', 'show', 'eth0'), /inet 198\.18\./);
  const changed = JSON.parse(await lab('rate', '1', '5mbit', '0', ...own, '--json')) as LabState;
  t.deepEqual(changed.hosts[0]?.rate, { up: 5 * MBIT, down: 0 });
  t.regex(await lab('cut', '2', ...own), /cut/);
  t.regex(await lab('status', ...own), /lab tcli, 2 hosts/);
  const failed = await runCommand([...main, 'exec', ...own, '1', 'sh', '-c', 'exit 7'], workplace);
  t.is(failed.exitCode, 7);
  t.is(await lab('down', ...own), 'removed: tcli');
  t.deepEqual(await leftOf('tcli'), []);
  const gone = await runCommand([...main, 'cut', '1', ...own], workplace);
  t.regex(gone.stderr, /there is no lab tcli/);
});

test('npm run lab says what is wrong with a command', async (t) => {
  await using workplace = await Workplace.open();
  const main = [process.execPath, join(checkout, 'bench', 'lab', 'main.ts')];
  t.regex(await outputOf([...main, '--help'], workplace), /npm run lab -- up --hosts N/);
  const refused = await runCommand([...main, 'up', '--hosts', 'many'], workplace);
  t.is(refused.exitCode, 1);
  t.regex(
    refused.stderr,
    problem === undefined ? /--hosts: a number from 1, got many/ : /a lab needs/,
  );
});

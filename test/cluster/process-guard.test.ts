import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { eventually } from '../../bench/cluster/eventually.ts';
import { mounting } from '../support/mounting-test.ts';
import { Tmpfs } from '../support/tmpfs.ts';

/** Guards the folder given, and a process of its own, whose number it says. */
const HARNESS = `
const [guardFile, folder] = process.argv.slice(1);
const { ProcessGuard } = await import(guardFile);
const { spawn } = await import('node:child_process');
const guard = ProcessGuard.start(folder);
const { pid } = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
guard.add(pid);
process.stdout.write(String(pid));
setInterval(() => undefined, 60_000);
`;

const guardFile = join(import.meta.dirname, '../../bench/cluster/process-guard.ts');

async function startHarness(folder: string): Promise<{ kill: () => void; pid: number }> {
  const flags = ['--input-type=module', '--eval', HARNESS, guardFile, folder];
  const harness = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [said] = (await once(harness.stdout, 'data')) as [Buffer];
  return { kill: () => harness.kill('SIGKILL'), pid: Number(said.toString()) };
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Waits for it; false when it stays. */
async function isGone(path: string): Promise<boolean> {
  const answer = eventually(path, async () => ((await isThere(path)) ? undefined : true));
  return answer.catch(() => false);
}

test('a harness killed with -9 leaves no process and no folder', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-guard-'));
  const harness = await startHarness(folder);
  t.true(await isThere(`/proc/${harness.pid}`));
  harness.kill();
  t.true(await isGone(folder));
  t.true(await isGone(`/proc/${harness.pid}`));
});

mounting('what is mounted in the folder goes with it', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-guard-'));
  const inside = join(folder, 'host-1', 'disk');
  await mkdir(inside, { recursive: true });
  await Tmpfs.mount(inside, { mib: 1 });
  const harness = await startHarness(folder);
  harness.kill();
  t.true(await isGone(folder));
});

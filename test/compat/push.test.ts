// A real registry tells a supernode of pushes, configured as docs/warm-up.md says: hosts have the image before anybody
// pulls it, and pulls through their mirrors take manifests alone.
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { SystemRandom } from '../../core/base/random.ts';
import { Cluster } from '../../bench/cluster/cluster.ts';
import { eventually } from '../../bench/cluster/eventually.ts';
import { freePorts } from '../../bench/cluster/free-ports.ts';
import { makeImage } from '../../bench/registry/image.ts';
import type { Image } from '../../bench/registry/image.ts';
import { pushImage, startRegistry } from '../../bench/registry/registry-process.ts';
import type { JobSummary } from '../../supernode/warm-up/job-record.ts';
import { mirrorOf } from '../registry/pull.ts';
import { endedWarmUp, warmUps } from '../warm-up/warm-up-client.ts';
import { faultsOfFolder, runClient, skopeo, succeeded } from './clients.ts';
import { emptyRun, inPrivate } from './private-root.ts';
import { Recorder } from './recorder.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const LOOPBACK = '127.0.0.1';
const PLAIN_HTTP_PORT = 80;
const KEY = 'the-key-of-the-registry';
const HOSTS = 2;
const TAGS = 100;
/** Warm-ups that a supernode runs at a time, of docs/limits.md. */
const MAX_RUNNING = 16;
const random = new SystemRandom();

/** A cell, and a registry that is told where to report pushes; clients reach it through `recorder`. */
class PushLab implements AsyncDisposable {
  readonly cluster: Cluster;
  readonly recorder: Recorder;
  /** `127.x.y.z`, on port 80: one word in a path. */
  readonly name: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    parts: Pick<PushLab, 'cluster' | 'recorder' | 'name'>,
    stack: AsyncDisposableStack,
  ) {
    this.cluster = parts.cluster;
    this.recorder = parts.recorder;
    this.name = parts.name;
    this.#stack = stack;
  }

  static async start(keyFile: string): Promise<PushLab> {
    await using stack = new AsyncDisposableStack();
    const supernodeArgs = ['--push-to', 'all', '--push-key-file', keyFile];
    const cluster = stack.use(await Cluster.start({ hosts: HOSTS, supernodeArgs }));
    const { workplace } = cluster;
    const folder = await workplace.subfolder('registry');
    const [port = 0] = await freePorts(LOOPBACK, 1);
    const lines = await documentedNotifications(cluster.apiUrl);
    const program = await startRegistry(workplace, { name: 'telling', folder, port, lines });
    stack.defer(async () => program.kill('SIGKILL'));
    const name = `127.${64 + random.below(128)}.${random.below(256)}.${1 + random.below(254)}`;
    const listen = { host: name, port: PLAIN_HTTP_PORT };
    const recorder = stack.use(await Recorder.start(listen, { host: LOOPBACK, port }));
    return new PushLab({ cluster, recorder, name }, stack.move());
  }

  /** Pushes an image with skopeo. */
  async push(image: Image, repository: string): Promise<void> {
    const { workplace } = this.cluster;
    const folder = await workplace.subfolder(`push-${image.config.digest.slice(7, 19)}`);
    await writeFile(join(folder, 'version'), 'Directory Transport Version: 1.1\n');
    await writeFile(join(folder, 'manifest.json'), image.manifest);
    for (const { path, digest } of [image.config, ...image.layers]) {
      await copyFile(path, join(folder, digest.replace('sha256:', '')));
    }
    const words = ['skopeo', '--insecure-policy', 'copy', '--dest-tls-verify=false'];
    const argv = [...words, `dir:${folder}`, `docker://${this.name}/${repository}:v1`];
    const env = { TMPDIR: folder };
    succeeded(await runClient(inPrivate(emptyRun, argv), { workplace, env }));
  }

  /** Most memory that the supernode had resident, MiB. */
  async peakMiB(): Promise<number> {
    const status = await readFile(`/proc/${this.cluster.supernode.pid}/status`, 'utf8');
    return Math.round(Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / KIB);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** The lines of docs/warm-up.md for docker-registry, with this supernode and this key. */
async function documentedNotifications(apiUrl: string): Promise<string[]> {
  const page = await readFile(new URL('../../docs/warm-up.md', import.meta.url), 'utf8');
  const block = /```yaml\n# docker-registry\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  const lines = block
    .replace('http://supernode:8001', apiUrl)
    .replace('KEY-OF-PUSH-KEY-FILE', KEY)
    .trimEnd();
  return lines.split('\n');
}

let lab: PushLab | undefined;

function labOfAll(): PushLab {
  if (lab === undefined) throw new TypeError('the lab was never started');
  return lab;
}

test.before(async (t) => {
  t.timeout(300_000);
  const folder = await mkdtemp(join(tmpdir(), 'push-key-'));
  try {
    const keyFile = join(folder, 'keys');
    await writeFile(keyFile, `${KEY}\n`, { mode: 0o600 });
    lab = await PushLab.start(keyFile);
  } finally {
    await rm(folder, { recursive: true });
  }
});
test.afterEach.always((t) => {
  if (!t.passed && lab !== undefined) t.log(lab.cluster.lastLogs());
});
test.after.always(async () => lab?.[Symbol.asyncDispose]());

/** The warm-ups that pushes began, once there are so many that have not been seen before. */
async function begun(
  { cluster }: PushLab,
  count: number,
  seen: ReadonlySet<string>,
): Promise<readonly JobSummary[]> {
  return eventually(`${count} warm-ups begun by pushes`, async () => {
    const jobs = (await warmUps(cluster)).filter(({ id }) => !seen.has(id));
    return jobs.length >= count ? jobs : undefined;
  });
}

test.serial('skopeo pushes, hosts have it, and pulls take manifests alone', async (t) => {
  const pushed = labOfAll();
  const { cluster, recorder, name } = pushed;
  const { workplace } = cluster;
  const layers = [
    { kind: 'random', bytes: 3 * MIB },
    { kind: 'text', bytes: 4 * MIB },
    { kind: 'random', bytes: 10_000 },
  ] as const;
  const image = await makeImage(await workplace.subfolder('image'), { seed: 1, layers });
  await pushed.push(image, 'lab/app');
  const [first, ...more] = await begun(pushed, 1, new Set());
  t.deepEqual(more, []);
  const job = await endedWarmUp(cluster, first?.id ?? '');
  t.like(job, { source: 'push', state: 'done', hosts: { total: HOSTS, done: HOSTS } });
  t.is(job.image, `http://${name}/lab/app@${image.digest}`);
  t.is(recorder.allBlobBytes, image.blobBytes, 'one copy of each blob left the registry');
  recorder.reset();
  for (const [at, host] of cluster.hosts.entries()) {
    const folder = await workplace.subfolder(`pull-${at}`);
    const mirror = (await mirrorOf(host)).replace('http://', '');
    succeeded(await skopeo(`${mirror}/${name}/lab/app:v1`, { workplace, folder }));
    t.deepEqual(await faultsOfFolder(folder, image), []);
  }
  t.is(recorder.allBlobBytes, 0);
  const sent = recorder.requests.filter(({ bodyBytes, status }) => bodyBytes > 0 && status < 300);
  t.true(sent.length > 0);
  t.deepEqual(
    sent.filter(({ url }) => !url.startsWith('/v2/lab/app/manifests/') && url !== '/v2/'),
    [],
  );
});

test.serial('a hundred tags pushed at once are brought in bounded memory', async (t) => {
  t.timeout(300_000);
  const pushed = labOfAll();
  const { cluster, recorder, name } = pushed;
  const seen = new Set((await warmUps(cluster)).map(({ id }) => id));
  const folder = await cluster.workplace.subfolder('tags');
  const images: Image[] = [];
  const layers = [{ kind: 'random', bytes: 200 * KIB }] as const;
  for (let at = 0; at < TAGS; at += 1) {
    images.push(await makeImage(folder, { seed: 100 + at, layers }));
  }
  const before = await pushed.peakMiB();
  recorder.reset();
  let most = 0;
  await Promise.all(
    images.map(async (image, at) =>
      pushImage(`http://${name}`, image, { repository: 'lab/tags', tag: `v${at}` }),
    ),
  );
  const jobs = await eventually(
    'all tags brought',
    async () => {
      const now = (await warmUps(cluster)).filter(({ id }) => !seen.has(id));
      const count = (states: readonly string[]): number =>
        now.filter(({ state }) => states.includes(state)).length;
      most = Math.max(most, count(['resolving', 'running']));
      const isOver = now.length >= TAGS && count(['waiting', 'resolving', 'running']) === 0;
      return isOver ? now : undefined;
    },
    { withinMs: 240_000 },
  );
  for (const job of jobs) t.like(job, { state: 'done', hosts: { total: HOSTS, done: HOSTS } });
  t.is(jobs.length, TAGS);
  const expected = images.map(({ digest }) => `http://${name}/lab/tags@${digest}`);
  t.is(new Set([...expected, ...jobs.map(({ image }) => image)]).size, TAGS, 'each tag once');
  t.is(new Set(jobs.map(({ image }) => image)).size, TAGS);
  t.true(most <= MAX_RUNNING, `${most} ran at a time`);
  const sizes = images.reduce((sum, { blobBytes }) => sum + blobBytes, 0);
  t.is(recorder.allBlobBytes, sizes, 'one copy of each blob left the registry');
  const peak = await pushed.peakMiB();
  t.log(`supernode at most ${peak} MiB resident, ${before} before; ${most} ran at a time`);
  t.true(peak < 400, `${peak} MiB`);
});

/**
 * Commands on many hosts: real dfdaemons that run a real program, for how soon a caller has its end; and light hosts
 * that answer at once, for what the supernode itself can pass on. Every call is audited, signed, answered and kept.
 */
import { writeFile } from 'node:fs/promises';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { Cluster } from '../cluster/cluster.ts';
import { Workplace } from '../cluster/workplace.ts';
import { ApiClient } from '../../ops/cli/api-client.ts';
import { processCpuSeconds } from '../measure/process-usage.ts';
import { newToken } from './crowd.ts';
import { CrowdProcess } from './crowd-process.ts';
import { endOfCall } from './end-of-call.ts';

/** What is measured. */
export interface CallsCase {
  /** Real dfdaemons. */
  readonly hosts: number;
  /** Light hosts. */
  readonly light: number;
  /** Calls to one real host, one after the other. */
  readonly rounds: number;
  /** How long light hosts are called as fast as it goes. */
  readonly seconds: number;
  /** Calls that have not ended, at a time. */
  readonly atOnce: number;
  /** Slow calls in line, over all hosts, when fast ones are timed again. */
  readonly queued: number;
  /** The folder to make data folders in; default that of the system. */
  readonly parent?: string;
}

/** Everything one run found; times in milliseconds. */
export interface CallsResult {
  readonly calls: CallsCase;
  /** `true` on one real host, from the request to the end. */
  readonly oneMs: readonly number[];
  /** `true` on all real hosts. */
  readonly allMs: readonly number[];
  /** As `oneMs`, while slow calls stand in line for the same hosts. */
  readonly amidSlowMs: readonly number[];
  /** Of one processor, by a dfdaemon that has nothing to do; the mean of all. */
  readonly idleCores: number;
  /** One call to all light hosts. */
  readonly lightMs: readonly number[];
  /** One query to all light hosts, of which all fit. */
  readonly queryMs: readonly number[];
  readonly sustained: {
    readonly calls: number;
    readonly seconds: number;
    readonly ms: readonly number[];
    /** CPU seconds of the supernode, by whom it is bounded. */
    readonly supernodeCpu: number;
    readonly lost: number;
    readonly doubled: number;
  };
}

export interface CallsRunning {
  readonly signal: AbortSignal;
  readonly onStep: (text: string) => void;
}

const clock = new SystemClock();
const KEY = 'a-key-for-the-bench-alone';
const PER_PROCESS = 500;
const CONNECTING = 48;
const LIGHT_ROUNDS = 5;
const QUERY_ROUNDS = 20;
/** What calls have left to do is done by then. */
const SETTLE_MS = 15_000;
const IDLE_MS = 20_000;
/** What slow calls run: as long as nobody waits for it here. */
const SLOW_COMMANDS = `commands:
  'true': { program: /bin/true }
  sleep: { program: /bin/sleep, parameters: [{ name: seconds, type: integer }], lane: slow }
`;

export async function runCalls(calls: CallsCase, running: CallsRunning): Promise<CallsResult> {
  const { signal, onStep } = running;
  const { hosts } = calls;
  const parent = calls.parent === undefined ? {} : { parent: calls.parent };
  await using files = await Workplace.open(parent);
  const keys = join(files.folder, 'keys');
  await writeFile(keys, `${KEY}\n`, { mode: 0o600 });
  const commands = join(files.folder, 'commands.yaml');
  await writeFile(commands, SLOW_COMMANDS, { mode: 0o600 });
  onStep(`starting a supernode and ${hosts} dfdaemons`);
  await using cluster = await Cluster.start({
    hosts,
    ...parent,
    signal,
    supernodeArgs: ['--api-key-file', keys],
    daemonArgs: () => ['--call-commands', commands],
  });
  using kept = new DisposableStack();
  const agent = kept.adopt(new Agent({ keepAlive: true, maxSockets: 512 }), (it) => it.destroy());
  const client = new ApiClient(cluster.apiUrl, KEY, { agent });
  const real = await callReal(calls, { cluster, client, running });
  onStep(`connecting ${calls.light} light hosts`);
  await Promise.all(cluster.hosts.map(async (host) => host.daemon[Symbol.asyncDispose]()));
  await using stack = new AsyncDisposableStack();
  const processes = await connectLight(calls, { cluster, stack, signal });
  const lightPeers = (
    await Promise.all(
      processes.map(async (process) => (await process.order({ do: 'peers' })).peers),
    )
  ).flat();
  onStep('one call to all light hosts');
  const lightMs: number[] = [];
  for (let round = 0; round < LIGHT_ROUNDS; round += 1) {
    lightMs.push(await timed(client, 'all', calls.light));
  }
  onStep('a query to all light hosts');
  const queryMs: number[] = [];
  for (let round = 0; round < QUERY_ROUNDS; round += 1) {
    queryMs.push(await timedQuery(client, calls.light));
  }
  onStep(`calls to one light host each, ${calls.atOnce} at once, for ${calls.seconds} s`);
  const sustained = await sustain(calls, { cluster, client, processes, peers: lightPeers });
  return { calls, ...real, lightMs, queryMs, sustained };
}

/** What is found with real dfdaemons. */
async function callReal(
  { hosts, rounds, queued }: CallsCase,
  parts: {
    readonly cluster: Cluster;
    readonly client: ApiClient;
    readonly running: CallsRunning;
  },
): Promise<Pick<CallsResult, 'oneMs' | 'allMs' | 'amidSlowMs' | 'idleCores'>> {
  const { cluster, client, running } = parts;
  const { signal, onStep } = running;
  const peers = await Promise.all(cluster.hosts.map(async (host) => (await host.status()).peer));
  const oneByOne = async (): Promise<number[]> => {
    const ms: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      ms.push(await timed(client, `host=${peers[round % peers.length]}`, 1));
    }
    return ms;
  };
  onStep('calls to real hosts');
  const oneMs = await oneByOne();
  const allMs: number[] = [];
  for (let round = 0; round < rounds / 10; round += 1) {
    allMs.push(await timed(client, 'all', hosts));
  }
  onStep(`nothing, for ${(SETTLE_MS + IDLE_MS) / 1000} s`);
  await clock.sleep(SETTLE_MS, { signal });
  const before = await cpuOf(cluster);
  const restedMs = clock.monotonic();
  await clock.sleep(IDLE_MS, { signal });
  const idleCores =
    ((await cpuOf(cluster)) - before) / ((clock.monotonic() - restedMs) / 1000) / hosts;
  onStep(`putting ${queued} slow calls in line`);
  const slow = { command: 'sleep', args: ['3600'], lane: 'slow', on: 'all' } as const;
  const times = { waitMs: 3_600_000, timeoutMs: 7_200_000 };
  const ids: string[] = [];
  for (let left = queued; left > 0; left -= hosts) {
    const begun = await client.ask('call.run', { ...slow, ...times, args: [...slow.args] });
    ids.push(begun.id);
  }
  onStep('calls to real hosts, amid them');
  const amidSlowMs = await oneByOne();
  for (const id of ids) await client.ask('call.cancel', { id });
  return { oneMs, allMs, idleCores, amidSlowMs };
}

/** CPU seconds that all dfdaemons have taken. */
async function cpuOf(cluster: Cluster): Promise<number> {
  const seconds = await Promise.all(
    cluster.hosts.map(async ({ daemon }) => (await processCpuSeconds(daemon.pid)) ?? 0),
  );
  return seconds.reduce((sum, each) => sum + each, 0);
}

async function timed(client: ApiClient, on: string, hosts: number): Promise<number> {
  const beganMs = clock.monotonic();
  const { id } = await client.ask('call.run', { command: 'true', on });
  const counts = await endOfCall(client, id);
  if (counts.ok === hosts) return clock.monotonic() - beganMs;
  throw new CodedError('ERR_INTERNAL', `ended well on ${counts.ok} of ${hosts} hosts`);
}

async function timedQuery(client: ApiClient, hosts: number): Promise<number> {
  const beganMs = clock.monotonic();
  let answered = 0;
  for await (const event of client.follow('host.query', { where: 'memoryAvailableBytes > 1GiB' })) {
    if (event.type === 'ended') ({ answered } = event.counts);
  }
  if (answered === hosts) return clock.monotonic() - beganMs;
  throw new CodedError('ERR_INTERNAL', `${answered} of ${hosts} hosts answered`);
}

async function connectLight(
  calls: CallsCase,
  parts: {
    readonly cluster: Cluster;
    readonly stack: AsyncDisposableStack;
    readonly signal: AbortSignal;
  },
): Promise<CrowdProcess[]> {
  const { cluster, stack, signal } = parts;
  const joinToken = await newToken(cluster, signal);
  const processes: CrowdProcess[] = [];
  for (let left = calls.light; left > 0; left -= PER_PROCESS) {
    const options = { workplace: cluster.workplace, supernode: cluster.meshAddress };
    const process = await CrowdProcess.start(`light-${processes.length + 1}`, options);
    processes.push(stack.use(process));
    const hosts = Math.min(PER_PROCESS, left);
    await process.order({
      do: 'connect',
      joinToken,
      hosts,
      parallel: CONNECTING,
      takesCalls: true,
    });
  }
  return processes;
}

async function sustain(
  calls: CallsCase,
  parts: {
    readonly cluster: Cluster;
    readonly client: ApiClient;
    readonly processes: readonly CrowdProcess[];
    readonly peers: readonly string[];
  },
): Promise<CallsResult['sustained']> {
  const { cluster, client, processes, peers } = parts;
  const before = await ranBy(processes);
  const cpu = async (): Promise<number> => (await processCpuSeconds(cluster.supernode.pid)) ?? 0;
  const cpuBefore = await cpu();
  const beganMs = clock.monotonic();
  const ms: number[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (clock.monotonic() - beganMs < calls.seconds * 1000) {
      const peer = peers[next % peers.length] ?? '';
      next += 1;
      ms.push(await timed(client, `host=${peer}`, 1));
    }
  };
  await Promise.all(Array.from({ length: calls.atOnce }, lane));
  const seconds = (clock.monotonic() - beganMs) / 1000;
  const after = await ranBy(processes);
  return {
    calls: ms.length,
    seconds,
    ms,
    supernodeCpu: (await cpu()) - cpuBefore,
    lost: ms.length - (after.ran - before.ran),
    doubled: after.doubled - before.doubled,
  };
}

async function ranBy(
  processes: readonly CrowdProcess[],
): Promise<{ readonly ran: number; readonly doubled: number }> {
  const all = await Promise.all(processes.map(async (process) => process.order({ do: 'calls' })));
  return {
    ran: all.reduce((sum, { ran }) => sum + ran, 0),
    doubled: all.reduce((sum, { doubled }) => sum + doubled, 0),
  };
}

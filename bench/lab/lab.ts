/**
 * Hosts in network namespaces, each on a port of a bridge with its own rate up and down. The bridges stand in a
 * namespace too, one for each idc, joined by links that may be thin. With a delay every host talks through a second
 * device whose frames all pass one process that holds them back (delay-relay.ts): kernels without netem do no delay.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { CodedError, systemCode } from '../../core/base/error.ts';
import { eventually } from '../cluster/eventually.ts';
import {
  FIRST_RELAY_PORT,
  LabAddresses,
  MAX_LABS,
  MAX_LAB_HOSTS,
  STATE_DIR,
  harnessDevice,
  labName,
  namespaceOf,
  switchOf,
} from './lab-names.ts';
import { requireLab, runBatch, runTool } from './lab-tools.ts';
import { lossScript, offloadArguments, rateArguments } from './shaping.ts';
import { LabGuard, removeLab } from './teardown.ts';

/** Bits per second each way; 0 is no limit. */
export interface LinkRate {
  readonly up: number;
  readonly down: number;
}

/** How a lab is made. */
export interface LabOptions {
  readonly name: string;
  /** Names of the hosts, each with the number of its idc from 0. */
  readonly hosts: readonly {
    readonly name: string;
    readonly idc?: number;
    readonly rate?: LinkRate;
  }[];
  /** Of every host that has none of its own. */
  readonly rate?: LinkRate;
  /** From any host to any other, one way; default 0. */
  readonly delayMs?: number;
  /** Share of the packets that come in at a host and are dropped, 0 to 1; default 0. */
  readonly loss?: number;
  /** Of the link between the first idc and each other one, each way; default 0. */
  readonly thin?: number;
  readonly signal?: AbortSignal | undefined;
}

/** One host as it is now. */
export interface LabHost {
  readonly name: string;
  readonly number: number;
  readonly namespace: string;
  /** Where other hosts, and the harness, reach it. */
  readonly address: string;
  readonly idc: number;
  readonly rate: LinkRate;
  readonly isCut: boolean;
}

/** Everything of a lab that is not in the kernel. */
export interface LabState {
  readonly name: string;
  readonly network: number;
  readonly delayMs: number;
  readonly loss: number;
  readonly thin: number;
  readonly hosts: readonly LabHost[];
}

const WIRE = 'eth0';
const OVER = 'vx0';
/** Frames of the delay relay carry 50 bytes more, and what is inside shall be no smaller than elsewhere. */
const RELAYED_MTU = 1_550;
const MAX_DELAY_MS = 2_000;
const VXLAN_ID = 77;
const PARALLEL = 8;
/**
 * Hosts are many from so many on: each stays on one processor, as its caches and the wake-ups between its threads do (16
 * dfdaemons kept two processors 79 % busy instead of 86 %), and its packets are longer (shaping.ts).
 */
const MANY_A_PROCESSOR = 4;
/**
 * What most hosts have, or where the kernel keeps namespaces from it what is nearest. The model of BBR takes what
 * a bucket lets through at once for the rate of the link, and floods it.
 */
const CONGESTION_CONTROL = `
cd /proc/sys/net/ipv4 && { echo cubic >tcp_congestion_control || echo reno >tcp_congestion_control; } 2>/dev/null
`;

/** Bridges hand each frame to the packet filter of IP where the kernel is told nothing else: a cost that no switch has. */
const NO_FILTERS =
  'for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ -e $f ] && echo 0 >$f; done; true';

/** A lab that is up. */
export class Lab implements AsyncDisposable {
  #state: LabState;
  readonly #guard: LabGuard | undefined;

  private constructor(state: LabState, guard: LabGuard | undefined) {
    this.#state = state;
    this.#guard = guard;
  }

  /** Makes a lab; it is gone when disposed, or when this process is, unless `keep()` is called. */
  static async up(options: LabOptions): Promise<Lab> {
    requireLab();
    checkOptions(options);
    const name = labName(options.name);
    await claimName(name);
    const guard = LabGuard.start(name);
    try {
      const state = plannedState(options, await claimNetwork(name));
      await build(state, options.signal);
      const lab = new Lab(state, guard);
      await lab.#save();
      return lab;
    } catch (error) {
      await guard[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** A lab that somebody else made and kept; ERR_NOT_FOUND when there is none of this name. */
  static async open(name: string): Promise<Lab> {
    requireLab();
    try {
      const text = await readFile(join(folderOf(labName(name)), 'state.json'), 'utf8');
      return new Lab(JSON.parse(text) as LabState, undefined);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
      throw new CodedError('ERR_NOT_FOUND', `there is no lab ${name}`, { cause: error });
    }
  }

  get state(): LabState {
    return this.#state;
  }

  get hosts(): readonly LabHost[] {
    return this.#state.hosts;
  }

  /** Where hosts reach whoever runs the lab; no limits, no delay. */
  get harnessAddress(): string {
    return new LabAddresses(this.#state.network).harness;
  }

  /** ERR_USAGE when there is no such host. */
  host(name: string): LabHost {
    const host = this.hosts.find((each) => each.name === name);
    if (host !== undefined) return host;
    const { name: lab } = this.#state;
    throw new CodedError('ERR_USAGE', `there is no host ${name} in lab ${lab}`);
  }

  /** What a command line begins with to run on this host. */
  enter(name: string): readonly string[] {
    const { namespace, number } = this.host(name);
    const processor = number % availableParallelism();
    const place = areMany(this.#state) ? ['taskset', '-c', `${processor}`] : [];
    return ['ip', 'netns', 'exec', namespace, ...place];
  }

  /** Gives a host another rate. */
  async setRate(name: string, rate: LinkRate): Promise<void> {
    const host = this.#changed(name, { rate });
    await shape(this.#state, host);
    await this.#save();
  }

  /** Takes a host off the network; what runs on it goes on. */
  async cut(name: string): Promise<void> {
    await this.#plug(name, { isCut: true });
  }

  /** Puts it back. */
  async heal(name: string): Promise<void> {
    await this.#plug(name, { isCut: false });
  }

  /** Bytes that have crossed from the first idc to this one, and back, with all headers. */
  async crossed(idc: number): Promise<{ readonly into: number; readonly out: number }> {
    const device = toIdc(idc);
    const space = switchOf(this.#state.name);
    const text = await runTool('ip', ['-n', space, '-s', '-j', 'link', 'show', 'dev', device]);
    const [found] = JSON.parse(text) as { stats64: Record<'tx' | 'rx', { bytes: number }> }[];
    const stats = found?.stats64;
    return { into: stats?.tx.bytes ?? 0, out: stats?.rx.bytes ?? 0 };
  }

  /** Bytes that have come to this host, with all headers: counters of devices know one of each offloaded packet only. */
  async received(name: string): Promise<number> {
    const [space, port] = [switchOf(this.#state.name), portOf(this.host(name).number)];
    const text = await runTool('tc', ['-n', space, '-s', '-j', 'qdisc', 'show', 'dev', port]);
    const queues = JSON.parse(text) as { root?: boolean; bytes: number }[];
    return queues.find(({ root }) => root === true)?.bytes ?? 0;
  }

  /** The lab stays up when this process ends. */
  async keep(): Promise<void> {
    await this.#guard?.release();
  }

  /** Kills what runs in the lab and removes it, if this process made it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#guard?.[Symbol.asyncDispose]();
  }

  async #plug(name: string, change: { readonly isCut: boolean }): Promise<void> {
    const { number } = this.#changed(name, change);
    const line = ['link', 'set', portOf(number), change.isCut ? 'down' : 'up'];
    await runBatch('ip', [line], switchOf(this.#state.name));
    await this.#save();
  }

  #changed(name: string, change: Partial<LabHost>): LabHost {
    const changed = { ...this.host(name), ...change };
    const hosts = this.hosts.map((host) => (host.name === name ? changed : host));
    this.#state = { ...this.#state, hosts };
    return changed;
  }

  async #save(): Promise<void> {
    const file = join(folderOf(this.#state.name), 'state.json');
    await writeFile(`${file}.new`, `${JSON.stringify(this.#state)}\n`);
    await rename(`${file}.new`, file);
  }
}

function problem(text: string): CodedError {
  return new CodedError('ERR_USAGE', text);
}

function checkOptions({ hosts, delayMs = 0, loss = 0 }: LabOptions): void {
  if (hosts.length < 1 || hosts.length > MAX_LAB_HOSTS) {
    throw problem(`hosts: from 1 to ${MAX_LAB_HOSTS}, got ${hosts.length}`);
  }
  if (new Set(hosts.map(({ name }) => name)).size < hosts.length) {
    throw problem('hosts: two of one name');
  }
  for (const { name } of hosts) {
    if (!/^[a-z0-9]{1,16}$/.test(name) || name === 'switch') {
      throw problem(`hosts: named by 1 to 16 of a-z and 0-9, not "switch", got ${name}`);
    }
  }
  if (!(delayMs >= 0 && delayMs <= MAX_DELAY_MS)) {
    throw problem(`delay: from 0 to ${MAX_DELAY_MS} ms, got ${delayMs}`);
  }
  if (!(loss >= 0 && loss < 1)) throw problem(`loss: from 0 to below 1, got ${loss}`);
  if (delayMs > 0 && hosts.some(({ idc = 0 }) => idc > 0)) {
    throw problem('delay: not together with idcs, since all delayed frames pass one place');
  }
}

function plannedState(options: LabOptions, network: number): LabState {
  const { name, rate = { up: 0, down: 0 }, delayMs = 0, loss = 0, thin = 0 } = options;
  const addresses = new LabAddresses(network);
  const hosts = options.hosts.map((host, at) => {
    const number = at + 1;
    const address = delayMs > 0 ? addresses.over(number) : addresses.wire(number);
    const where = { number, namespace: namespaceOf(name, host.name), address };
    return { name: host.name, ...where, idc: host.idc ?? 0, rate: host.rate ?? rate, isCut: false };
  });
  return { name, network, delayMs, loss, thin, hosts };
}

async function claimName(name: string): Promise<void> {
  await mkdir(STATE_DIR, { recursive: true });
  try {
    await mkdir(folderOf(name));
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    const message = `lab ${name} is up; npm run lab -- down --lab ${name} removes it`;
    throw new CodedError('ERR_BUSY', message, { cause: error });
  }
  // What a killed one of this name may have left.
  await removeLab(name);
  await mkdir(folderOf(name), { recursive: true });
}

async function claimNetwork(name: string): Promise<number> {
  for (let network = 0; network < MAX_LABS; network += 1) {
    try {
      await symlink(name, join(STATE_DIR, `network-${network}`));
      return network;
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error;
    }
  }
  throw new CodedError('ERR_BUSY', `${MAX_LABS} labs are up; npm run lab -- down removes them`);
}

async function build(state: LabState, signal: AbortSignal | undefined): Promise<void> {
  await buildSwitch(state);
  const queue = [...state.hosts];
  const work = async (): Promise<void> => {
    for (let host = queue.shift(); host !== undefined; host = queue.shift()) {
      signal?.throwIfAborted();
      await buildHost(state, host);
    }
  };
  const done = await Promise.allSettled(Array.from({ length: PARALLEL }, work));
  const failure = done.find((each) => each.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
  if (state.delayMs > 0) await startRelay(state, signal);
}

async function buildSwitch(state: LabState): Promise<void> {
  const { name, network, thin, delayMs } = state;
  const space = switchOf(name);
  const addresses = new LabAddresses(network);
  const mtu = mtuOf(state);
  const own = harnessDevice(name);
  const peer = ['type', 'veth', 'peer', 'name', 'harness', 'netns', space, 'mtu', mtu];
  await runTool('ip', ['netns', 'add', space]);
  await runTool('ip', ['netns', 'exec', space, 'sh', '-c', NO_FILTERS]);
  await runBatch('ip', [
    ['link', 'add', own, 'mtu', mtu, ...peer],
    ['addr', 'add', `${addresses.harness}/20`, 'dev', own],
    ['link', 'set', own, 'up'],
    // With a delay hosts listen where the relay brings frames, and the harness goes there directly.
    ...(delayMs > 0 ? [['route', 'add', `${addresses.over(0)}/20`, 'dev', own]] : []),
  ]);
  const idcs = Math.max(...state.hosts.map(({ idc }) => idc)) + 1;
  const others = Array.from({ length: idcs - 1 }, (_item, at) => at + 1);
  await runBatch(
    'ip',
    [
      ...[0, ...others].flatMap((idc) => [
        ['link', 'add', bridgeOf(idc), 'type', 'bridge'],
        ['link', 'set', bridgeOf(idc), 'mtu', mtu, 'up'],
      ]),
      ...others.flatMap((idc) => [
        ['link', 'add', toIdc(idc), 'type', 'veth', 'peer', 'name', fromIdc(idc)],
        ['link', 'set', toIdc(idc), 'mtu', mtu, 'master', bridgeOf(0), 'up'],
        ['link', 'set', fromIdc(idc), 'mtu', mtu, 'master', bridgeOf(idc), 'up'],
      ]),
      ['link', 'set', 'harness', 'master', bridgeOf(0), 'up'],
      ...(delayMs > 0 ? [['addr', 'add', `${addresses.relay}/20`, 'dev', bridgeOf(0)]] : []),
      ['link', 'set', 'lo', 'up'],
    ],
    space,
  );
  const links = others.flatMap((idc) => [toIdc(idc), fromIdc(idc)]);
  await runBatch(
    'tc',
    links.map((device) => rateArguments(device, thin, areMany(state))),
    space,
  );
}

async function buildHost(state: LabState, host: LabHost): Promise<void> {
  const { namespace, number } = host;
  const space = switchOf(state.name);
  const addresses = new LabAddresses(state.network);
  const mtu = mtuOf(state);
  await runTool('ip', ['netns', 'add', namespace]);
  const peer = ['type', 'veth', 'peer', 'name', WIRE, 'netns', namespace, 'mtu', mtu];
  await runBatch(
    'ip',
    [
      ['link', 'add', portOf(number), 'mtu', mtu, ...peer],
      ['link', 'set', portOf(number), 'master', bridgeOf(host.idc), 'up'],
    ],
    space,
  );
  await runBatch(
    'ip',
    [
      ['link', 'set', 'lo', 'up'],
      ['addr', 'add', `${addresses.wire(number)}/20`, 'dev', WIRE],
      ['link', 'set', WIRE, 'up'],
    ],
    namespace,
  );
  await runTool('ip', ['netns', 'exec', namespace, 'sh', '-c', CONGESTION_CONTROL]);
  if (!keepsOffload(state)) {
    // An offloaded "packet" is up to 64 KiB: loss would hit dozens of segments at once, and the relay takes frames.
    const off = ['tso', 'off', 'gso', 'off', 'gro', 'off'];
    await runTool('ip', ['netns', 'exec', namespace, 'ethtool', '-K', WIRE, ...off]);
    await runTool('ip', ['netns', 'exec', space, 'ethtool', '-K', portOf(number), ...off]);
  }
  if (state.delayMs > 0) await addRelayed(state, host);
  await shape(state, host);
  if (state.loss > 0) {
    const nft = ['netns', 'exec', namespace, 'nft', '-f', '-'];
    await runTool('ip', nft, lossScript(WIRE, state.loss));
  }
}

/** The device whose frames go through the relay. */
async function addRelayed(state: LabState, { namespace, number }: LabHost): Promise<void> {
  const addresses = new LabAddresses(state.network);
  const port = `${FIRST_RELAY_PORT + number}`;
  const tunnel = ['type', 'vxlan', 'id', `${VXLAN_ID}`, 'remote', addresses.relay];
  tunnel.push('dstport', port, 'dev', WIRE);
  await runBatch(
    'ip',
    [
      ['link', 'add', OVER, 'address', macOf(number), 'mtu', '1500', ...tunnel],
      ['addr', 'add', `${addresses.over(number)}/20`, 'dev', OVER],
      ['link', 'set', OVER, 'up'],
    ],
    namespace,
  );
  // Frames pass a socket, where nobody completes their checksums later.
  const off = ['tx', 'off', 'gro', 'off'];
  await runTool('ip', ['netns', 'exec', namespace, 'ethtool', '-K', OVER, ...off]);
}

async function shape(state: LabState, host: LabHost): Promise<void> {
  const { up, down } = host.rate;
  const port = portOf(host.number);
  const space = switchOf(state.name);
  const isOfMany = areMany(state);
  await runBatch('ip', [offloadArguments(WIRE, up, isOfMany)], host.namespace);
  await runBatch('tc', [rateArguments(WIRE, up, isOfMany)], host.namespace);
  await runBatch('ip', [offloadArguments(port, down, isOfMany)], space);
  await runBatch('tc', [rateArguments(port, down, isOfMany)], space);
}

function areMany({ hosts }: LabState): boolean {
  return hosts.length >= MANY_A_PROCESSOR * availableParallelism();
}

async function startRelay(state: LabState, signal: AbortSignal | undefined): Promise<void> {
  const addresses = new LabAddresses(state.network);
  const logFile = join(folderOf(state.name), 'relay.log');
  const log = openSync(logFile, 'a');
  const words = ['netns', 'exec', switchOf(state.name), process.execPath];
  words.push(join(import.meta.dirname, 'delay-relay.ts'), '--address', addresses.relay);
  words.push('--delay-ms', `${state.delayMs}`);
  words.push(...state.hosts.map(({ number }) => `${number}=${addresses.wire(number)}`));
  // It ends with the lab: whoever takes a lab down kills what is in its namespaces.
  const child = spawn('ip', words, { detached: true, stdio: ['ignore', log, log] });
  closeSync(log);
  child.unref();
  await once(child, 'spawn');
  const look = async (): Promise<true | undefined> => {
    const text = await readFile(logFile, 'utf8');
    if (child.exitCode === null) return text.includes('"ready"') ? true : undefined;
    throw new CodedError('ERR_INTERNAL', `the delay relay ended with ${child.exitCode}\n${text}`);
  };
  await eventually('the delay relay', look, { signal });
}

function keepsOffload({ loss, delayMs }: LabState): boolean {
  return loss === 0 && delayMs === 0;
}

function mtuOf({ delayMs }: LabState): string {
  return `${delayMs > 0 ? RELAYED_MTU : 1_500}`;
}

function folderOf(name: string): string {
  return join(STATE_DIR, `lab-${name}`);
}

const bridgeOf = (idc: number): string => `idc${idc}`;
const portOf = (number: number): string => `port${number}`;
const toIdc = (idc: number): string => `toidc${idc}`;
const fromIdc = (idc: number): string => `fromidc${idc}`;

/** The number of a host in the last two bytes, where the relay reads it. */
function macOf(number: number): string {
  const [high, low] = [number >> 8, number & 255].map((byte) => byte.toString(16).padStart(2, '0'));
  return `02:6f:64:6c:${high}:${low}`;
}

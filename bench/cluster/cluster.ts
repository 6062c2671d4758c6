import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../../core/base/error.ts';
import { ClusterHost } from './cluster-host.ts';
import type { HostStatus } from './cluster-host.ts';
import { outputOf } from './command.ts';
import { eventually } from './eventually.ts';
import { freePorts, isOwnAddress } from './free-ports.ts';
import { askApi, askJson } from './local-api.ts';
import type { Place, Places } from './place.ts';
import { Program } from './program.ts';
import { Workplace } from './workplace.ts';
import type { WorkplaceOptions } from './workplace.ts';

/** What a cluster is made of. */
export interface ClusterOptions extends WorkplaceOptions {
  readonly hosts: number;
  readonly supernodeArgs?: readonly string[];
  /** Further arguments of the dfdaemon of the host with this number, from 1. */
  readonly daemonArgs?: (host: number) => readonly string[];
  /** Default: this machine's loopback. */
  readonly places?: Places;
}

/** What the supernode knows of one version of a task. */
export interface KnownVersion {
  readonly version: string;
  readonly length?: number;
  readonly hosts: number;
  readonly completeHosts: number;
  readonly fromPeers: number;
  readonly fromSeed: number;
  readonly fromOrigin: number;
  readonly seed?: { readonly state: string; readonly originBytes: number };
}

const LOOPBACK_ADDRESS = '127.0.0.1';
const LOOPBACK = '127.0.0.0/8';
/** Mesh, link, HTTP; and link, proxy: what a program takes where nobody else is. */
const SUPERNODE_PORTS = [8002, 8003, 8001];
const HOST_PORTS = [65_002, 65_001];
const PORT_TRIES = 3;
const CONNECT_MS = 30_000;

/** A supernode and hosts as real processes, each host on an address of its own. */
export class Cluster implements AsyncDisposable {
  readonly workplace: Workplace;
  readonly hosts: ClusterHost[] = [];
  readonly #options: ClusterOptions;
  #supernode: Program | undefined;
  #ports: readonly [mesh: number, link: number, http: number] = [0, 0, 0];
  #tokenFile = '';
  #hasOwnAddresses = true;

  private constructor(workplace: Workplace, options: ClusterOptions) {
    this.workplace = workplace;
    this.#options = options;
  }

  /** Resolves when every program serves and every host is connected; on failure nothing is left running. */
  static async start(options: ClusterOptions): Promise<Cluster> {
    const cluster = new Cluster(await Workplace.open(options), options);
    try {
      await cluster.#startSupernode();
      if (options.places === undefined) {
        cluster.#hasOwnAddresses = await isOwnAddress(addressOf(1));
      }
      await cluster.addHosts(options.hosts);
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  get supernode(): Program {
    if (this.#supernode === undefined) throw new TypeError('the supernode was never started');
    return this.#supernode;
  }

  /** Base of the supernode's HTTP API. */
  get apiUrl(): string {
    return `http://${this.#supernodePlace.address}:${this.#ports[2]}`;
  }

  /** Where hosts connect to the supernode. */
  get meshAddress(): string {
    return `${this.#supernodePlace.address}:${this.#ports[0]}`;
  }

  /** The host with this number, from 1. */
  host(number: number): ClusterHost {
    const host = this.hosts[number - 1];
    if (host === undefined) throw new RangeError(`there is no host ${number}`);
    return host;
  }

  /** Process numbers of the programs that run, by name. */
  get pids(): Record<string, number> {
    const programs = [this.supernode, ...this.hosts.map((host) => host.daemon)];
    return Object.fromEntries(
      programs.filter((program) => program.isRunning).map(({ name, pid }) => [name, pid]),
    );
  }

  /** Starts `count` more hosts at once and waits until they are connected. */
  async addHosts(count: number): Promise<ClusterHost[]> {
    const first = this.hosts.length + 1;
    const numbers = Array.from({ length: count }, (_item, at) => first + at);
    const started = await Promise.allSettled(
      numbers.map(async (number) => this.#startHost(number)),
    );
    const hosts = started.flatMap((result) =>
      result.status === 'fulfilled' ? [result.value] : [],
    );
    this.hosts.push(...hosts);
    const failure = started.find((result) => result.status === 'rejected');
    if (failure !== undefined) throw CodedError.from(failure.reason);
    await Promise.all(hosts.map(async (host) => this.connected(host)));
    return hosts;
  }

  /** Resolves when the host says that it is connected to the supernode. */
  async connected(host: ClusterHost, withinMs = CONNECT_MS): Promise<void> {
    let last: HostStatus['supernode'] | undefined;
    const look = async (): Promise<true | undefined> => {
      last = (await host.status()).supernode;
      return last.state === 'connected' ? true : undefined;
    };
    try {
      await eventually(`${host.name} connected`, look, { withinMs, signal: this.#options.signal });
    } catch (error) {
      const { code, message } = CodedError.from(error);
      const logs = [this.supernode.lastLog(), host.daemon.lastLog()].join('\n');
      const text = `${message} (${last?.reason ?? 'no reason given'})\n${logs}`;
      throw new CodedError(code, text, { cause: error });
    }
  }

  /** JSON of the supernode's HTTP API. */
  async api(path: string): Promise<unknown> {
    return askJson(this.#api, path);
  }

  /** What the supernode knows of a task, newest version last; empty when nothing. */
  async versions(task: string): Promise<readonly KnownVersion[]> {
    const { status, text } = await askApi(this.#api, `/api/v1/tasks/${task}`);
    if (status === 404) return [];
    return (JSON.parse(text) as { versions: KnownVersion[] }).versions;
  }

  /** The ends of all logs, for the message of a failure. */
  lastLogs(): string {
    const programs = [this.supernode, ...this.hosts.map((host) => host.daemon)];
    return programs.map((program) => program.lastLog()).join('\n');
  }

  /** Stops everything, hosts first, and removes every file. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await Promise.all(this.hosts.map(async (host) => host.daemon[Symbol.asyncDispose]()));
      await this.#supernode?.[Symbol.asyncDispose]();
    } finally {
      await this.workplace[Symbol.asyncDispose]();
    }
  }

  get #api(): { host: string; port: number } {
    return { host: this.#supernodePlace.address, port: this.#ports[2] };
  }

  get #supernodePlace(): Place {
    return this.#options.places?.supernode ?? { address: LOOPBACK_ADDRESS, enter: [] };
  }

  get #originAllow(): string[] {
    return ['--origin-allow', this.#options.places?.origins ?? LOOPBACK];
  }

  #placeOf(number: number): Place {
    const address = this.#hasOwnAddresses ? addressOf(number) : LOOPBACK_ADDRESS;
    return this.#options.places?.host(number) ?? { address, enter: [] };
  }

  async #startSupernode(): Promise<void> {
    const { workplace } = this;
    const { installation, guard, env } = workplace;
    const dataDir = await workplace.subfolder('supernode');
    const place = this.#supernodePlace;
    const look = async (): Promise<true | undefined> => isHealthy(this.#api);
    this.#supernode = await this.#withFreePorts(place, SUPERNODE_PORTS, async (ports) => {
      const [mesh = 0, link = 0, http = 0] = ports;
      this.#ports = [mesh, link, http];
      const words = ['--data-dir', dataDir, '--listen', place.address];
      words.push('--mesh-port', `${mesh}`, '--link-port', `${link}`, '--http-port', `${http}`);
      words.push(...this.#originAllow, ...(this.#options.supernodeArgs ?? []));
      const argv = [...place.enter, ...installation('supernode'), ...words];
      const logFile = join(workplace.folder, 'supernode.log');
      const program = { name: 'supernode', argv, logFile, guard, env, look };
      return Program.start(program, this.#options.signal);
    });
    const argv = [...installation('supernode'), 'token', 'create', '--data-dir', dataDir];
    const token = await outputOf(argv, { guard, env, signal: this.#options.signal });
    this.#tokenFile = join(workplace.folder, 'join-token');
    await writeFile(this.#tokenFile, `${token}\n`, { mode: 0o600 });
  }

  async #startHost(number: number): Promise<ClusterHost> {
    const { workplace } = this;
    const { installation, guard, env } = workplace;
    const name = `host-${number}`;
    const folder = await workplace.subfolder(name);
    const socket = join(folder, 'dfdaemon.sock');
    const place = this.#placeOf(number);
    const look = async (): Promise<true | undefined> => isHealthy({ socketPath: socket });
    const daemon = await this.#withFreePorts(place, HOST_PORTS, async ([link = 0, proxy = 0]) => {
      const words = ['--data-dir', join(folder, 'data'), '--socket', socket];
      words.push('--supernode', `${this.#supernodePlace.address}:${this.#ports[0]}`);
      words.push('--join-token', `@${this.#tokenFile}`, '--listen', place.address);
      words.push('--link-port', `${link}`, '--proxy-port', `${proxy}`);
      words.push(...this.#originAllow, ...(this.#options.daemonArgs?.(number) ?? []));
      const argv = [...place.enter, ...installation('dfdaemon'), ...words];
      const logFile = join(folder, 'dfdaemon.log');
      return Program.start({ name, argv, logFile, guard, env, look }, this.#options.signal);
    });
    return new ClusterHost({ name, address: place.address, folder, socket }, { daemon, workplace });
  }

  /** Tries again with other ports when somebody else was faster; in a place of its own nobody is. */
  async #withFreePorts(
    { address, enter }: Place,
    usual: readonly number[],
    start: (ports: readonly number[]) => Promise<Program>,
  ): Promise<Program> {
    if (enter.length > 0) return start(usual);
    for (let tries = 1; ; tries += 1) {
      try {
        return await start(await freePorts(address, usual.length));
      } catch (error) {
        const isTaken = error instanceof Error && error.message.includes('ERR_ADDRESS_IN_USE');
        if (!isTaken || tries === PORT_TRIES) throw error;
      }
    }
  }
}

/** 127.0.0.2 for the first host; 250 to a block. */
function addressOf(number: number): string {
  return `127.0.${Math.floor((number - 1) / 250)}.${((number - 1) % 250) + 2}`;
}

async function isHealthy(address: Parameters<typeof askApi>[0]): Promise<true | undefined> {
  try {
    const { status } = await askApi(address, '/healthz');
    return status === 200 ? true : undefined;
  } catch {
    return undefined;
  }
}

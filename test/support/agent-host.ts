import type { ExecutionContext } from 'ava';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import type { Log } from '../../core/base/log.ts';
import { randomHex } from '../../core/base/random.ts';
import { digestOfHosts, issueCallOrder, openCallResult } from '../../core/identity/call-order.ts';
import type { CallOrder, CallResult } from '../../core/identity/call-order.ts';
import { issueControlCertificate } from '../../core/identity/control-certificate.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { LevelStateStore } from '../../core/store/level-state-store.ts';
import type { StateStore } from '../../core/store/state-store.ts';
import type { CallWay } from '../../core/swarm/call-taker.ts';
import type { Call, FromHost } from '../../core/wire/messages.ts';
import { AllowMap } from '../../ops/agent/allow-map.ts';
import { CallAgent } from '../../ops/agent/call-agent.ts';
import type { LaneLimits } from '../../ops/agent/call-agent.ts';
import { CallGroups } from '../../ops/agent/call-groups.ts';
import { CallJournal } from '../../ops/agent/call-journal.ts';
import { Launcher } from '../../ops/agent/launcher.ts';
import { ownUser } from '../../ops/agent/local-user.ts';
import { until } from './until.ts';

/** When the tests begin, by the clock of the cell. */
export const NOW = 1_800_000_000_000;
const clock = new SystemClock();

const commands = {
  commands: {
    true: { program: '/bin/true' },
    false: { program: '/bin/false' },
    say: { program: '/usr/bin/printf', rest: true },
    append: { program: '/bin/sh', args: ['-c', 'echo "$0" >> "$1"'], rest: true },
    wait: { program: '/bin/sh', args: ['-c', 'echo ready; exec sleep 1000'], grace: '5s' },
    flood: { program: '/usr/bin/head', args: ['-c', '300000', '/dev/zero'] },
    bound: { program: '/bin/true', limits: { memory: '1g' } },
    gone: { program: '/nonexistent/program' },
  },
};

/** A cell with real keys, and one host of it whose agent is opened, and opened again, on one folder. */
export class AgentHost {
  readonly cellKey = HostKey.generate();
  readonly control = HostKey.generate();
  readonly key = HostKey.generate();
  readonly sent: FromHost[] = [];
  readonly warnings: object[] = [];
  readonly directory: string;
  certificate = issueControlCertificate(this.cellKey, { control: this.control.peerId, now: NOW });
  revoked: string | undefined;
  now = NOW;
  isConnected = true;
  isDiskFull = false;
  isStuck = false;
  /** False: as on a host that can make none. */
  hasGroups = true;
  readonly allowMap = new AllowMap(commands, {
    defaultUser: ownUser().name,
    socket: '/nonexistent',
  });
  agent: CallAgent | undefined;
  groups: CallGroups | undefined;
  #store: LevelStateStore | undefined;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async open(
    t: ExecutionContext,
    limits?: LaneLimits,
    { hasGroups = true } = {},
  ): Promise<AgentHost> {
    const host = new AgentHost(await mkdtemp(join(tmpdir(), 'odonata-agent-')));
    host.hasGroups = hasGroups;
    t.teardown(async () => {
      await host.close();
      await rm(host.directory, { recursive: true, force: true });
    });
    await host.start(limits);
    return host;
  }

  async start(limits?: LaneLimits): Promise<CallAgent> {
    const log: Log = { ...silentLog, warn: (facts) => this.warnings.push(facts) };
    const self = ownUser();
    this.#store = await LevelStateStore.open(join(this.directory, 'calls'));
    const { journal, begun } = await CallJournal.open(this.#onFullDisk(this.#store));
    this.groups = await this.#groups();
    this.agent = new CallAgent({
      way: this.#way(),
      allowMap: this.allowMap,
      launcher: await Launcher.find(self, { log: silentLog }),
      groups: this.groups,
      journal,
      begun,
      maxRevocationAgeMs: 86_400_000,
      clock,
      log,
      ...(limits === undefined ? {} : { limits }),
    });
    return this.agent;
  }

  async #groups(): Promise<CallGroups> {
    if (!this.hasGroups) return CallGroups.none();
    const { limits: wanted } = this.allowMap;
    return CallGroups.open({ dataDir: this.directory, wanted, clock, log: silentLog });
  }

  async close(): Promise<void> {
    await this.agent?.[Symbol.asyncDispose]();
    await this.#store?.close();
  }

  get running(): CallAgent {
    if (this.agent === undefined) throw new Error('not started');
    return this.agent;
  }

  order(fields: Partial<CallOrder> = {}): CallOrder {
    return {
      cell: this.cellKey.peerId,
      call: randomHex(8),
      host: this.key.peerId,
      hosts: digestOfHosts([this.key.peerId]),
      principal: 'tester',
      issued: this.now,
      expires: this.now + 60_000,
      lane: 'fast',
      command: 'true',
      args: [],
      timeoutMs: 60_000,
      maxOutputBytes: 65_536,
      ...fields,
    };
  }

  message(fields: Partial<CallOrder> = {}, signer = this.control): Call {
    const order = issueCallOrder(signer, this.order(fields));
    return { type: 'call', order, certificate: this.certificate };
  }

  /** The result of a call, once it is told. */
  async result(call: string): Promise<CallResult> {
    await until(() => this.results(call).length > 0);
    const [result] = this.results(call);
    if (result === undefined) throw new Error('no result');
    return result;
  }

  results(call: string): CallResult[] {
    return this.allResults().filter((result) => result.call === call);
  }

  allResults(): CallResult[] {
    return this.sent
      .flatMap((message) => (message.type === 'call-states' ? message.ended : []))
      .map(openCallResult);
  }

  output(call: string): string {
    const parts = this.sent.flatMap((message) =>
      message.type === 'call-output' && message.call === call ? [message] : [],
    );
    return parts.map(({ data }) => Buffer.from(data, 'base64').toString()).join('');
  }

  async run(fields: Partial<CallOrder> = {}): Promise<CallResult> {
    const order = this.order(fields);
    this.running.take(this.message(order));
    return this.result(order.call);
  }

  /** The store itself, but that nothing can be written while the disk is full. */
  #onFullDisk(store: LevelStateStore): StateStore {
    return {
      get: async (key) => store.get(key),
      range: (range, options) => store.range(range, options),
      commit: async (changes, options) => {
        if (this.isDiskFull) throw new CodedError('ERR_STORE_IO', 'no space left');
        return store.commit(changes, options);
      },
      watch: (range, options) => store.watch(range, options),
      close: async () => store.close(),
      [Symbol.asyncDispose]: async () => store.close(),
    };
  }

  #way(): CallWay {
    const send = (message: FromHost): void => {
      if (this.isConnected) this.sent.push(message);
    };
    return {
      key: this.key,
      cell: this.cellKey.peerId,
      now: () => this.now,
      isRevoked: (peer) => peer === this.revoked,
      staleness: () => undefined,
      send,
      sendInTurn: async (message) => {
        if (this.isStuck) await new Promise(() => undefined);
        send(message);
      },
    };
  }
}

/** Whether the host has told the cell that it has the call, which runs or waits. */
export function isTold(host: AgentHost, call: string): boolean {
  return host.sent.some(
    (message) => message.type === 'call-states' && message.running.includes(call),
  );
}

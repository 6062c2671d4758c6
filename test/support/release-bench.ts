import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { ManualClock, SystemClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { SeededRandom } from '../../core/base/random.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { LevelStateStore } from '../../core/store/level-state-store.ts';
import type { StateStore } from '../../core/store/state-store.ts';
import { OpsControl } from '../../ops/control/index.ts';
import type { PolicyRule } from '../../ops/control/policy-rule.ts';
import { operator } from '../../ops/control/principal.ts';
import type { Caller } from '../../ops/control/principal.ts';
import type { ReleaseRequest } from '../../ops/control/release-record.ts';
import type { ReleasePhase, ReleaseState } from '../../ops/control/release-state.ts';
import { ReleaseStore } from '../../ops/control/release-store.ts';
import { ReleasingHost } from './releasing-host.ts';
import { nobodyRevoked } from './revocations.ts';

export const alice: Caller = { principal: operator, source: 'test' };

/** One life of the control side. */
export interface Life extends AsyncDisposable {
  readonly ops: OpsControl;
  readonly store: ReleaseStore;
}

/** A folder with the state of a cell, its hosts, and the control side of it, which may live several times. */
export class ReleaseBench {
  readonly clock = new ManualClock();
  readonly hosts: readonly ReleasingHost[];
  /** What was logged as an error. */
  readonly errors: string[] = [];
  readonly #dataDir: string;
  readonly #cell = HostKey.generate();
  #lives = 0;

  private constructor(dataDir: string, hosts: readonly ReleasingHost[]) {
    this.#dataDir = dataDir;
    this.hosts = hosts;
  }

  /** Hosts as `NAME IDC`. */
  static async open(t: ExecutionContext, hosts: readonly string[]): Promise<ReleaseBench> {
    const dataDir = await mkdtemp(join(tmpdir(), 'releases-'));
    t.teardown(async () => rm(dataDir, { recursive: true }));
    const made = hosts.map((host) => {
      const [name = '', idc] = host.split(' ');
      return new ReleasingHost(name, idc);
    });
    return new ReleaseBench(dataDir, made);
  }

  /** The rows, which one life has at a time. */
  async rows(): Promise<StateStore> {
    return LevelStateStore.open(join(this.#dataDir, 'ops'));
  }

  /** The control side on these rows, which it closes in the end, with all hosts connected. */
  async live(given?: StateStore): Promise<Life> {
    const rows = given ?? (await this.rows());
    this.#lives += 1;
    const ops = await OpsControl.on(rows, {
      dataDir: this.#dataDir,
      cell: this.#cell.peerId,
      cellKey: async () => this.#cell,
      revocations: nobodyRevoked,
      clock: this.clock,
      random: new SeededRandom(this.#lives),
      log: { ...silentLog, error: (_facts, message) => this.errors.push(message) },
    });
    const store = await ReleaseStore.open(rows);
    for (const host of this.hosts) host.connect(ops.desk);
    return { ops, store, [Symbol.asyncDispose]: async () => ops[Symbol.asyncDispose]() };
  }
}

/** Makes a version of a package known. */
export async function publish({ ops }: Life, name: string, version: string): Promise<void> {
  const digest = `sha256:${'a'.repeat(64)}`;
  const url = `http://packages.example/${name}-${version}.tgz`;
  await ops.uploads.publish({ name, version, digest, length: 1, url }, alice);
}

/** Previews a release of `web 2` to all hosts in two batches, or another one, and starts what was shown; its id. */
export async function start(
  { ops }: Life,
  wish: Partial<ReleaseRequest> = {},
  caller = alice,
): Promise<string> {
  const request = { application: 'web', version: '2', on: 'all', batches: { count: 2 }, ...wish };
  const { plan } = await ops.releases.preview(request, caller);
  return (await ops.releases.start({ ...request, plan }, caller)).id;
}

/** Where a release stands once it is so. */
export async function reached(
  { store }: Pick<Life, 'store'>,
  id: string,
  isSo: ReleasePhase | ((state: ReleaseState) => boolean),
): Promise<ReleaseState> {
  const isTrue = typeof isSo === 'function' ? isSo : ({ phase }: ReleaseState) => phase === isSo;
  const clock = new SystemClock();
  for (;;) {
    const { state } = await store.state(id);
    if (isTrue(state)) return state;
    await clock.sleep(5);
  }
}

/** Lets a principal do what the rule says, and makes a key for it. */
export async function withKey(
  { ops: { door, principals, policies } }: Life,
  principal: string,
  rule: Partial<PolicyRule> = {},
): Promise<Caller> {
  const all: PolicyRule = { effect: 'allow', principals: [principal], verbs: ['release.*'] };
  const policy = { ...all, ...rule };
  const name = `of-${principal}`;
  await door.perform(
    { verb: 'policy.put', caller: alice, input: { name, policy }, object: { id: name } },
    async () => policies.put(name, policy),
  );
  const input = { principal };
  const issued = await door.perform(
    { verb: 'key.create', caller: alice, input, object: { id: principal } },
    async () => principals.create(input),
  );
  const found = principals.find(`Bearer ${issued.key}`);
  if (found === undefined) throw new TypeError('a key that was just made');
  return { principal: found, source: 'test' };
}

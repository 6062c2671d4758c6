// One package on this host: its versions side by side, the link to the one in use, and what is known of what runs. What
// counts stands in a store of its own, which one process has at a time: it is the lock of the package, too. A folder of a
// version that no row speaks of was begun and not finished, and is taken away.
import { lstat, mkdir, open, readdir, readlink, rename, rm, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Type } from 'typebox';
import type { Static } from 'typebox';
import type { Clock } from '../../../core/base/clock.ts';
import { CodedError, systemCode } from '../../../core/base/error.ts';
import { randomHex } from '../../../core/base/random.ts';
import { LevelStateStore } from '../../../core/store/level-state-store.ts';
import { onOutput } from '../../../core/store/output-error.ts';
import type { StateChange, StateStore } from '../../../core/store/state-store.ts';
import { parser } from '../../../core/wire/parse-message.ts';

/** Another call of the package may have it so long, then this one gives up. */
const LOCK_WAIT_MS = 60_000;

const VersionRow = Type.Object({
  version: Type.String(),
  /** `sha256:HEX` of the archive. */
  digest: Type.String(),
  /** When it was installed, ms since 1970. */
  at: Type.Number(),
});
const parseVersion = parser(VersionRow, { code: 'ERR_STORE_IO' });

/** What was started of a version. */
const ServiceRow = Type.Object({
  directory: Type.String(),
  /** In the environment of all its processes. */
  mark: Type.String(),
  /** Absent: whoever started it died before he had written down which process it is. */
  process: Type.Optional(Type.Object({ pid: Type.Integer(), started: Type.Integer() })),
});
const parseService = parser(ServiceRow, { code: 'ERR_STORE_IO' });
export type ServiceRow = Static<typeof ServiceRow>;

/** A switch that has begun: until it has ended well, `from` is what a failure goes back to. */
const SwitchRow = Type.Object({
  from: Type.Union([Type.String(), Type.Null()]),
  to: Type.Union([Type.String(), Type.Null()]),
});
const parseSwitch = parser(SwitchRow, { code: 'ERR_STORE_IO' });

/** An unpacked version, whose install program has ended well. */
export interface InstalledVersion extends Static<typeof VersionRow> {
  /** Its name among the versions. */
  readonly directory: string;
}

/** Folders of versions, by name; undefined: none. */
export interface BegunSwitch {
  readonly from: string | undefined;
  readonly to: string | undefined;
}

const VERSION = 'version/';
const SERVICE = 'service';
const SWITCH = 'switch';
const FORMER = 'former';
/** A version is made under this name. */
const FRESH = '.new';
/** A version that is being taken away has a name that begins so: it is none any more. */
const GONE = /^\.old-[0-9a-f]{16}$/;
const DIRECTORY = /^[0-9A-Za-z][0-9A-Za-z._+-]{0,63}-[0-9a-f]{12}$/;

/** What the folder of a version is called. */
export function directoryOf(version: string, digest: string): string {
  return `${version}-${digest.slice('sha256:'.length, 'sha256:'.length + 12)}`;
}

/** The version that a folder of that name is of. */
export function versionOf(directory: string): string {
  return directory.slice(0, -'-0123456789ab'.length);
}

/** A package's folder, held by this process alone. */
export class PackageFolder implements AsyncDisposable {
  readonly path: string;
  readonly #store: StateStore;

  private constructor(path: string, store: StateStore) {
    this.path = path;
    this.#store = store;
  }

  /** ERR_OUTPUT_UNWRITABLE without the folder, ERR_STORE_LOCKED when another call has it for long, ERR_STORE_…. */
  static async open(path: string, { clock }: { readonly clock: Clock }): Promise<PackageFolder> {
    await onOutput(path, async () => {
      for (const name of ['versions', 'log']) await makeFolder(join(path, name));
    });
    const store = await LevelStateStore.openWhenFree(join(path, 'state'), {
      clock,
      waitMs: LOCK_WAIT_MS,
    });
    return new PackageFolder(path, store);
  }

  /** Where a version lies. */
  pathOf(directory: string): string {
    return join(this.path, 'versions', directory);
  }

  /** The installed versions, the newest first. */
  async versions(): Promise<InstalledVersion[]> {
    const versions: InstalledVersion[] = [];
    for await (const { key, value } of this.#store.range({ gte: VERSION, lt: 'version0' })) {
      versions.push({ directory: key.slice(VERSION.length), ...parseVersion(value) });
    }
    return versions.toSorted((a, b) => b.at - a.at);
  }

  /** An empty folder to make a version in; what an earlier attempt left is taken away. */
  async fresh(): Promise<string> {
    const path = this.pathOf(FRESH);
    await onOutput(path, async () => {
      await rm(path, { recursive: true, force: true });
      await mkdir(path, { mode: 0o755 });
    });
    return path;
  }

  /** Gives what was made in `fresh()` its own name; it counts only once `add()` has resolved. */
  async place(directory: string): Promise<string> {
    const path = this.pathOf(directory);
    await onOutput(path, async () => {
      await rm(path, { recursive: true, force: true });
      await rename(this.pathOf(FRESH), path);
    });
    return path;
  }

  async add({ directory, ...row }: InstalledVersion): Promise<void> {
    await this.#put(VERSION + directory, row);
  }

  /** Takes away the oldest versions beyond `keep`, none that is or was in use, and all that is no whole version. */
  async prune(keep: number): Promise<void> {
    const used = await this.#used();
    const versions = await this.versions();
    const dropped = versions.filter(({ directory }, at) => at >= keep && !used.has(directory));
    // First the rows: a folder that is taken away halfway is no version any more.
    await this.#store.commit(
      dropped.map(({ directory }) => ({ type: 'del', key: VERSION + directory })),
    );
    await this.sweep();
  }

  /** Takes away all that is no whole version, as a process leaves it that was killed. */
  async sweep(): Promise<void> {
    const kept = new Set([
      ...(await this.versions()).map(({ directory }) => directory),
      ...(await this.#used()),
    ]);
    const folder = join(this.path, 'versions');
    await onOutput(folder, async () => {
      for (const name of await readdir(folder)) {
        const isOurs = name === FRESH || GONE.test(name) || DIRECTORY.test(name);
        if (isOurs && !kept.has(name)) await this.#remove(name);
      }
    });
  }

  /** First it has no name of a version any more; a link goes, and not what it points to. */
  async #remove(name: string): Promise<void> {
    const gone = GONE.test(name) ? name : `.old-${randomHex(8)}`;
    if (gone !== name) await rename(this.pathOf(name), this.pathOf(gone));
    await rm(this.pathOf(gone), { recursive: true, force: true });
  }

  async #used(): Promise<Set<string>> {
    const begun = await this.begunSwitch();
    const service = await this.service();
    const former = (await this.#store.get(FORMER))?.value;
    const used = [await this.current(), service?.directory, begun?.from, begun?.to, former];
    return new Set(used.filter((name) => typeof name === 'string'));
  }

  /** The version that `current` points to. */
  async current(): Promise<string | undefined> {
    try {
      return basename(await readlink(join(this.path, 'current')));
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      const why = systemCode(error) === 'EINVAL' ? 'it is no link' : 'it cannot be read';
      throw new CodedError('ERR_OUTPUT_UNWRITABLE', `${this.path}/current: ${why}`, {
        cause: error,
      });
    }
  }

  /** The version that was last found healthy: while a switch has not ended, what `current` points to was not yet. */
  async standing(): Promise<string | undefined> {
    const begun = await this.begunSwitch();
    return begun === undefined ? this.current() : begun.from;
  }

  /** Lets `current` point to a version, or takes it away; whoever looks finds one or the other. */
  async setCurrent(directory: string | undefined): Promise<void> {
    const path = join(this.path, 'current');
    await onOutput(path, async () => {
      if (directory === undefined) {
        await rm(path, { force: true });
      } else {
        const fresh = join(this.path, '.current.new');
        await rm(fresh, { force: true });
        await symlink(join('versions', directory), fresh);
        await rename(fresh, path);
      }
      await using folder = await open(this.path);
      await folder.sync();
    });
  }

  async service(): Promise<ServiceRow | undefined> {
    const row = await this.#store.get(SERVICE);
    return row === undefined ? undefined : parseService(row.value);
  }

  async setService(service: ServiceRow | undefined): Promise<void> {
    if (service === undefined) await this.#store.commit([{ type: 'del', key: SERVICE }]);
    else await this.#put(SERVICE, service);
  }

  /** The switch that somebody has begun and not ended. */
  async begunSwitch(): Promise<BegunSwitch | undefined> {
    const row = await this.#store.get(SWITCH);
    if (row === undefined) return undefined;
    const { from, to } = parseSwitch(row.value);
    return { from: from ?? undefined, to: to ?? undefined };
  }

  async setBegunSwitch(begun: BegunSwitch): Promise<void> {
    await this.#put(SWITCH, { from: begun.from ?? null, to: begun.to ?? null });
  }

  /** It has ended. `former`: what ran before, when another version runs now; it stays installed until the next one. */
  async setEndedSwitch(former?: string): Promise<void> {
    const ended: StateChange = { type: 'del', key: SWITCH };
    const kept: StateChange[] =
      former === undefined ? [] : [{ type: 'put', key: FORMER, value: former }];
    await this.#store.commit([ended, ...kept]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store.close();
  }

  async #put(key: string, value: unknown): Promise<void> {
    const change: StateChange = { type: 'put', key, value };
    await this.#store.commit([change]);
  }
}

/** What is taken away in it must lie in it: a link to elsewhere is refused. */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o755 });
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    if ((await lstat(path)).isDirectory()) return;
    throw new CodedError('ERR_OUTPUT_UNWRITABLE', `${path}: it is no folder`, { cause: error });
  }
}

// Taking a version of a package out of the table. Not while somebody may need it: a release that has not ended, a host
// that is owed it, or one that runs it as far as is known here.
import { CodedError } from '../../core/base/error.ts';
import { keysWith } from '../../core/store/state-store.ts';
import type { StateStore } from '../../core/store/state-store.ts';
import type { Door } from './door.ts';
import type { HostTable } from './host-table.ts';
import type { OwedTable } from './owed-table.ts';
import type { PackageRecord } from './package-record.ts';
import type { PackageTable } from './package-table.ts';
import type { Caller } from './principal.ts';
import type { ReleaseRecord } from './release-record.ts';
import type { HostProgress, ReleaseState } from './release-state.ts';
import type { ReleaseStore } from './release-store.ts';
import type { Repairs } from './repairs.ts';
import type { Uploads } from './uploads.ts';

export interface PackageRemovalParts {
  readonly door: Pick<Door, 'perform'>;
  readonly packages: PackageTable;
  readonly uploads: Pick<Uploads, 'release'>;
  readonly store: ReleaseStore;
  readonly owed: OwedTable;
  readonly hosts: Pick<HostTable, 'isRetired'>;
  readonly repairs: Pick<Repairs, 'alone'>;
  readonly state: StateStore;
}

interface Version {
  readonly name: string;
  readonly version: string;
}

/** Content of versions that were removed, until it is away: this program may be killed in between. */
const PREFIX = 'blob-gone/';

/** Removes versions that nobody needs any more, and what was uploaded of them. */
export class PackageRemoval {
  readonly #parts: PackageRemovalParts;

  private constructor(parts: PackageRemovalParts) {
    this.#parts = parts;
  }

  /** Ends what the last run was killed in. */
  static async open(parts: PackageRemovalParts): Promise<PackageRemoval> {
    const removal = new PackageRemoval(parts);
    for await (const { key } of parts.state.range(keysWith(PREFIX))) {
      await removal.#free(key.slice(PREFIX.length));
    }
    return removal;
  }

  /**
   * Removes a version; hosts that have it keep it. `isFreed`: its content was uploaded and no other version has it, so
   * it is away too. ERR_NOT_FOUND, ERR_CONFLICT while it is needed, and what the door refuses.
   */
  async remove(
    wanted: Version,
    caller: Caller,
  ): Promise<PackageRecord & { readonly isFreed: boolean }> {
    const { door, packages, repairs } = this.#parts;
    const { name, version } = wanted;
    const object = { id: `${name}/${version}` };
    // No release begins with it, and no host is told to install it, between the look and the end of it.
    return repairs.alone(async () => {
      const input = { name, version };
      const asked = { verb: 'package.remove', caller, input, object } as const;
      const removed = await door.perform(asked, async () => {
        const effect = await packages.remove(name, version);
        await this.#refuseNeeded(wanted);
        const { digest } = effect.detail;
        const gone = { type: 'put', key: `${PREFIX}${String(digest)}`, value: true } as const;
        return { ...effect, changes: [...effect.changes, gone] };
      });
      return { ...removed, isFreed: await this.#free(removed.digest) };
    });
  }

  async #free(digest: string): Promise<boolean> {
    const { packages, uploads, state } = this.#parts;
    const isFreed = !packages.refersTo(digest) && (await uploads.release(digest));
    await state.commit([{ type: 'del', key: `${PREFIX}${digest}` }]);
    return isFreed;
  }

  async #refuseNeeded(wanted: Version): Promise<void> {
    const { name, version } = wanted;
    const { owed, store } = this.#parts;
    const claims = [...owed.all()].filter(
      ({ application, should, stage }) =>
        application === name && should === version && stage !== 'mended',
    );
    const [claim] = claims;
    if (claim !== undefined) {
      throw needed(wanted, `release ${claim.release} owes it to ${claims.length} hosts`);
    }
    const open = await store.openOf(name);
    const record = open === undefined ? undefined : await store.find(open);
    if (record !== undefined) {
      const { state } = await store.state(record.id);
      const isFormer = Object.values(state.hosts).some(({ former }) => former === version);
      if (record.version === version || isFormer) {
        throw needed(wanted, `release ${record.id} has not ended`);
      }
    }
    const running = await this.#runningOn(wanted);
    if (running > 0) throw needed(wanted, `${running} hosts run it, as far as is known`);
  }

  /** How many hosts said last that they run it: of each what the newest release or repair knows. */
  async #runningOn({ name, version }: Version): Promise<number> {
    const { store, owed, hosts } = this.#parts;
    const last = new Map<string, string | null>();
    for (const { application, peer, has } of owed.all()) {
      if (application === name && has !== undefined) last.set(peer, has);
    }
    for await (const record of store.of(name)) {
      const { state } = await store.state(record.id);
      for (const [peer, has] of knownIn(record, state)) if (!last.has(peer)) last.set(peer, has);
    }
    return [...last].filter(([peer, has]) => has === version && !hosts.isRetired(peer)).length;
  }
}

function knownIn(record: ReleaseRecord, { hosts }: ReleaseState): [string, string | null][] {
  return Object.entries(hosts).flatMap(([peer, host]): [string, string | null][] => {
    const has = currentOf(record, host);
    return has === undefined ? [] : [[peer, has]];
  });
}

/** Releases of former versions did not keep what hosts said; what they were led to is as good. */
function currentOf(
  { version }: ReleaseRecord,
  { has, stage, former }: HostProgress,
): string | null | undefined {
  if (has !== undefined) return has;
  return stage === 'switched' ? version : former;
}

function needed({ name, version }: Version, why: string): CodedError {
  return new CodedError('ERR_CONFLICT', `${name} ${version} is needed: ${why}`, {
    detail: { name, version },
  });
}

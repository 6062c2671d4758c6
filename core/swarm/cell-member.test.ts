import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { startNode } from '../../test/support/mesh-nodes.ts';
import { until } from '../../test/support/until.ts';
import { SystemClock } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { SystemRandom } from '../base/random.ts';
import { issueCellMap, issueCertificate } from '../identity/cell.ts';
import { issueControlCertificate } from '../identity/control-certificate.ts';
import { HostKey } from '../identity/host-key.ts';
import { issueRecord } from '../identity/membership.ts';
import type { StampedList } from '../identity/revocation-age.ts';
import { digestOfRevoked, issueRevocationStamp } from '../identity/revocation-stamp.ts';
import { removeFolder, temporaryFolder } from '../store/fixtures/content.ts';
import { protocols } from '../wire/messages.ts';
import type { FromSupernode, Membership } from '../wire/messages.ts';
import { CellMember } from './cell-member.ts';

const clock = new SystemClock();
const DAY_MS = 86_400_000;
const nothing = (): void => undefined;

/** A supernode with a real certificate that says what the test wants, and the folder of a host of its cell. */
class Relay {
  readonly cellKey = HostKey.generate();
  readonly supernode = HostKey.generate();
  readonly control = HostKey.generate();
  readonly host = HostKey.generate();
  readonly now = clock.now();
  readonly folder: string;
  /** What it says to a host that connects. */
  says: Membership;
  /** And then. */
  adds: FromSupernode[] = [];
  #address = '';

  private constructor(folder: string) {
    this.folder = folder;
    this.says = this.membership({});
  }

  static async open(t: ExecutionContext): Promise<Relay> {
    const folder = await temporaryFolder();
    t.teardown(async () => removeFolder(folder));
    const relay = new Relay(folder);
    const privateKeyProtobuf = relay.supernode.libp2pPrivateKey();
    const mesh = await startNode({ listens: true, privateKeyProtobuf });
    t.teardown(async () => mesh[Symbol.asyncDispose]());
    relay.#address = `127.0.0.1:${mesh.port}`;
    mesh.setAdmission(async () => ({ v: 1, membership: relay.says }));
    await mesh.handle(
      protocols.control,
      { open: 'members', maxSessionsPerPeer: 2 },
      async (session) => {
        for (const message of relay.adds) session.send(message);
        await session.closed;
      },
    );
    await mkdir(join(folder, 'identity'), { recursive: true });
    const known = { v: 1, cell: relay.cellKey.peerId, membership: relay.says };
    await writeFile(join(folder, 'identity', 'membership.json'), JSON.stringify(known));
    return relay;
  }

  membership(more: Pick<Membership, 'map' | 'revocations'>): Membership {
    const { peerId: supernode } = this.supernode;
    const { peerId } = this.host;
    return {
      type: 'membership',
      record: issueRecord(this.supernode, { peerId, role: 'host', idc: 'a', now: this.now }),
      certificates: [issueCertificate(this.cellKey, { supernode, now: this.now })],
      now: this.now,
      ...more,
    };
  }

  map(epoch: number, revoked: readonly string[]): string {
    return issueCellMap(this.supernode, { epoch, supernodes: [], revoked });
  }

  stamp(epoch: number, revoked: readonly string[], issued = this.now): StampedList {
    const [cell, digest] = [this.cellKey.peerId, digestOfRevoked(revoked)];
    const control = this.control.peerId;
    return {
      stamp: issueRevocationStamp(this.control, { cell, epoch, digest, issued }),
      certificate: issueControlCertificate(this.cellKey, { control, now: this.now }),
    };
  }

  /** The host, not connected yet. */
  async member(): Promise<CellMember> {
    const { folder: dataDir, host: key } = this;
    const pool = { linkPort: undefined, setTrust: async () => undefined };
    return CellMember.open(
      { dataDir, supernodes: [this.#address] },
      { key, pool, clock, random: new SystemRandom(), log: silentLog },
    );
  }
}

function connect(member: CellMember): void {
  const tasks = { onConnected: nothing, onUpdate: nothing, onCheck: nothing, onUnwanted: nothing };
  member.start({ active: 0, ...tasks });
}

test('a host knows after a restart whom it knew to be revoked, though its supernode tells it no more', async (t) => {
  const relay = await Relay.open(t);
  const revoked = [HostKey.generate().peerId];
  const [gone = ''] = revoked;
  const limit = { now: relay.now, maxAgeMs: DAY_MS, epoch: 5 };
  relay.says = relay.membership({
    map: relay.map(5, revoked),
    revocations: relay.stamp(5, revoked),
  });
  {
    await using member = await relay.member();
    const way = member.callWay();
    t.regex(way.staleness(limit) ?? '', /newer list/);
    connect(member);
    await until(() => way.isRevoked(gone));
    t.is(way.staleness(limit), undefined);
  }
  const withheld = [
    {},
    { map: relay.map(4, []) },
    { map: relay.map(4, []), revocations: relay.stamp(4, []) },
  ];
  for (const said of withheld) {
    relay.says = relay.membership(said);
    {
      await using member = await relay.member();
      connect(member);
      await until(() => member.client.isConnected);
    }
    await using again = await relay.member();
    const way = again.callWay();
    t.true(way.isRevoked(gone));
    t.is(way.staleness(limit), undefined);
    t.regex(way.staleness({ ...limit, now: relay.now + 2 * DAY_MS }) ?? '', /48\.0 h old/);
  }
});

test('a host keeps the newer dates of its revocations that it hears, and none that its supernode makes', async (t) => {
  const relay = await Relay.open(t);
  relay.says = relay.membership({ map: relay.map(5, []), revocations: relay.stamp(5, []) });
  const later = relay.now + DAY_MS;
  const { certificate } = relay.stamp(5, []);
  const [cell, digest] = [relay.cellKey.peerId, digestOfRevoked([])];
  const own = { cell, epoch: 5, digest, issued: relay.now + 10 * DAY_MS };
  relay.adds = [
    {
      type: 'revocations',
      list: { stamp: issueRevocationStamp(relay.supernode, own), certificate },
    },
    { type: 'revocations', list: relay.stamp(5, [], later) },
  ];
  const atEnd = { now: later + DAY_MS, maxAgeMs: DAY_MS, epoch: 5 };
  {
    await using member = await relay.member();
    connect(member);
    await until(() => member.callWay().staleness(atEnd) === undefined);
    t.true(member.client.isConnected, 'a date that is wrong ends nothing');
  }
  await using again = await relay.member();
  t.is(again.callWay().staleness(atEnd), undefined);
  t.regex(again.callWay().staleness({ ...atEnd, now: atEnd.now + 3_600_000 }) ?? '', /25\.0 h old/);
});

import { join } from 'node:path';
import { SteadyClock } from '../core/base/clock.ts';
import type { Clock } from '../core/base/clock.ts';
import { CodedError } from '../core/base/error.ts';
import type { Log } from '../core/base/log.ts';
import type { Random } from '../core/base/random.ts';
import { selfSignedCertificate } from '../core/identity/certificate.ts';
import type { HostKey } from '../core/identity/host-key.ts';
import { MeshNode } from '../core/net/mesh/mesh-node.ts';
import type { MeshSession } from '../core/net/mesh/mesh-node.ts';
import { DEFAULT_REQUESTS } from '../core/origin/origin-host-limit.ts';
import type { OriginHostLimit } from '../core/origin/origin-host-limit.ts';
import { refuseNewer } from '../core/store/folder-format.ts';
import { PieceStore } from '../core/store/piece-store.ts';
import { HostLimits } from '../core/swarm/host-limits.ts';
import { TransferPool } from '../core/swarm/transfer-pool.ts';
import { Hello, protocols } from '../core/wire/messages.ts';
import { parser } from '../core/wire/parse-message.ts';
import { blobSocketPath } from '../ops/control/blob-server.ts';
import type { Revocations } from '../ops/control/host-table.ts';
import { OpsControl } from '../ops/control/index.ts';
import { restampMs } from '../ops/control/revocation-stamps.ts';
import { ControlCounts } from './control-counts.ts';
import { Adoptions } from './control/adoptions.ts';
import { HostAddresses } from './control/host-addresses.ts';
import { CELL_WAITING, HostSession } from './control/host-session.ts';
import { SourceBudget } from './control/source-budget.ts';
import { Swarm } from './control/swarm.ts';
import type { SwarmParts } from './control/swarm.ts';
import { WaitingLimit } from './control/waiting-limit.ts';
import { Authority } from './membership/authority.ts';
import { readCellKey } from './membership/cell-keys.ts';
import { joinService } from './membership/join-service.ts';
import { Seeds } from './seed/seeds.ts';
import { SwarmTable } from './swarm-table/swarm-table.ts';
import { CellLimits } from './traffic/cell-limits.ts';
import { limitSeed } from './traffic/seed-share.ts';
import { SeedWarmer } from './warm-up/seed-warmer.ts';
import { startWarmUps } from './warm-up/start-warm-ups.ts';
import type { PushOptions } from './warm-up/push-options.ts';
import type { WarmUps } from './warm-up/warm-ups.ts';

/** Everything a supernode is told; sizes in bytes, rates in bytes per second (0: no limit). */
export interface SupernodeOptions {
  readonly dataDir: string;
  readonly listen: string;
  readonly advertise: readonly string[];
  /** Networks in which hosts may name addresses that they do not connect from; default none. */
  readonly advertiseAllow?: readonly string[];
  /** Where it stands, and its seed with it; undefined: as near to one idc as to another. */
  readonly idc?: string | undefined;
  readonly meshPort: number;
  readonly linkPort: number;
  readonly httpPort: number;
  readonly originAllow: readonly string[];
  readonly originRate: number;
  /** Hosts of origins with limits of their own. */
  readonly originHosts?: readonly OriginHostLimit[];
  readonly uploadRate: number;
  readonly encryption: 'tls' | 'none';
  /** Default auto. */
  readonly compression?: 'auto' | 'off';
  readonly quota?: number;
  readonly reserve?: number;
  readonly workers?: number;
  /** Most bytes of what is uploaded for hosts; default 10 GiB. */
  readonly blobQuota?: number;
  /** Where images come from that a registry tells of, and what it wants to see. */
  readonly push?: PushOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** The parts of a running supernode that its APIs and metrics look at. */
export interface Supernode extends AsyncDisposable {
  readonly authority: Authority;
  readonly table: SwarmTable;
  readonly seeds: Seeds;
  readonly warmUps: WarmUps;
  readonly limits: CellLimits;
  readonly ops: OpsControl;
  readonly store: PieceStore;
  readonly pool: TransferPool;
  readonly mesh: MeshNode;
  readonly meshPort: number;
  readonly linkPort: number;
  readonly counts: ControlCounts;
}

const parseHello = parser(Hello);
const SWEEP_MS = 60_000;
/** Drift that is worth telling. */
const WALL_JUMP_MS = 60_000;
/** Records live 24 h. */
const TRUST_MS = 3_600_000;

/** What earlier parts ask of later ones. */
interface Hooks {
  onAltered(key: string): void;
  disconnect(peer: string): Promise<void>;
}

/** Starts a supernode: identity, store, workers, seed, swarm, and the two mesh protocols, in that order. */
export async function startSupernode(given: SupernodeOptions): Promise<Supernode> {
  const { random, log } = given;
  // The time of the cell: whoever sets this machine's clock must not make everything signed expire.
  const clock = new SteadyClock(given.clock);
  const options = { ...given, clock };
  // Before anything else is opened, and so written to.
  await refuseNewer(join(options.dataDir, 'store'));
  await using stack = new AsyncDisposableStack();
  const authority = stack.use(
    await Authority.open({
      dataDir: options.dataDir,
      clock,
      log,
      addresses: meshAddresses(options),
    }),
  );
  const store = stack.use(await openStore(options));
  const hooks: Hooks = { onAltered: () => undefined, disconnect: async () => undefined };
  const seedLimits = seedLimitsOf(options);
  const pool = stack.use(await startPool(options, { authority, limits: seedLimits, hooks }));
  store.onRemove = async (task) => pool.dropTask(task);
  await shareTrust(options, { authority, pool, stack });
  const linkPort = pool.linkPort ?? options.linkPort;
  const table = new SwarmTable();
  const addresses = linkAddresses(options, linkPort);
  const self = { peer: authority.key.peerId, addresses, idc: options.idc };
  const ticket: SwarmParts['ticket'] = (about) => authority.ticket(about);
  const swarm = new Swarm({ self, table, pool, clock, random, log, ticket });
  stack.defer(async () => swarm.close());
  stack.use(authority.onChange(() => swarm.tell((session) => session.tellMembership())));
  const seeds = startSeeds(options, { authority, store, pool, swarm });
  hooks.onAltered = (key) => seeds.recheck(key);
  stack.defer(async () => seeds.close());
  sweepNowAndThen(store, { clock, log, stack });
  const { warmUps, guard } = await startWarmUps(options, stack);
  warmUps.listener.connected(new SeedWarmer(self.peer, { seeds, listener: warmUps.listener }));
  const counts = new ControlCounts();
  const limits = stack.use(await CellLimits.open(join(options.dataDir, 'limits'), { clock, log }));
  stack.use(limitSeed(self.peer, { ...self, cell: limits, limits: seedLimits, clock, log }));
  const ops = stack.use(await openOps(options, { authority, hooks }));
  dateRevocations({ authority, swarm, ops, clock, stack });
  const served = { authority, pool, swarm, counts, warmUps, limits, ops };
  const mesh = stack.use(await startMesh(options, served));
  hooks.disconnect = async (peer) =>
    mesh.disconnect(peer, new CodedError('ERR_NOT_MEMBER', 'retired'));
  const meshPort = mesh.port ?? options.meshPort;
  guard.addOwnPorts([meshPort, linkPort, options.httpPort]);
  await authority.setAddresses(meshAddresses({ ...options, meshPort }));
  const kept = { authority, table, seeds, warmUps, limits, ops, store, pool, mesh, counts };
  const parts = { ...kept, linkPort, meshPort };
  const resources = stack.move();
  return {
    ...parts,
    [Symbol.asyncDispose]: async () => resources.disposeAsync(),
  };
}

/** Keeps the store within its bounds, and tells when the wall clock was set. */
function sweepNowAndThen(
  store: PieceStore,
  parts: { readonly clock: SteadyClock; readonly log: Log; readonly stack: AsyncDisposableStack },
): void {
  const { clock, log, stack } = parts;
  const sweep = clock.every(SWEEP_MS, () => {
    store.sweep().catch((error: unknown) => log.warn({ err: error }, 'sweep failed'));
    const aheadMs = Math.round(clock.wallAheadMs);
    if (Math.abs(aheadMs) > WALL_JUMP_MS) {
      log.warn(
        { aheadMs },
        'the wall clock was set; the time of the cell follows at the next start',
      );
    }
  });
  stack.defer(() => sweep.cancel());
}

/** Hosts hear again and again, from the key that signs their calls, that what they know of revocations is still so. */
function dateRevocations(parts: {
  readonly authority: Authority;
  readonly swarm: Swarm;
  readonly ops: OpsControl;
  readonly clock: Clock;
  readonly stack: AsyncDisposableStack;
}): void {
  const { authority, swarm, ops, clock, stack } = parts;
  authority.stampWith((map) => ops.stamps.of(map));
  const timer = clock.every(restampMs, () => {
    const map = authority.trust.cellMap();
    const list = map === undefined ? undefined : ops.stamps.anew(map);
    if (list !== undefined) swarm.tell((session) => session.tellRevocations(list));
  });
  stack.defer(() => timer.cancel());
}

/** Calls, and everything else that is asked of hosts. */
async function openOps(
  { dataDir, blobQuota, clock, random, log }: SupernodeOptions,
  { authority, hooks }: { readonly authority: Authority; readonly hooks: Hooks },
): Promise<OpsControl> {
  const { cell } = authority;
  const cellKey = async (): Promise<HostKey | undefined> => readCellKey(dataDir, cell);
  const revocations: Revocations = {
    isRevoked: (peer) => authority.isRevoked(peer),
    epoch: () => authority.epoch(),
    checkRoom: (peer) => authority.checkRoom(peer),
    revoke: async (peer) => {
      await authority.revoke(peer);
      await hooks.disconnect(peer);
    },
  };
  return OpsControl.open({ dataDir, cell, cellKey, blobQuota, revocations, clock, random, log });
}

/** Gives the workers this supernode's record and whom to trust: now, whenever that changes, and before the record expires. */
async function shareTrust(
  options: SupernodeOptions,
  parts: {
    readonly authority: Authority;
    readonly pool: TransferPool;
    readonly stack: AsyncDisposableStack;
  },
): Promise<void> {
  const { clock, log } = options;
  const { authority, pool, stack } = parts;
  const share = async (): Promise<void> => {
    const record = authority.ownRecord();
    await pool.setTrust({
      cell: authority.trust.toData(),
      record,
      now: clock.now(),
      isSupervised: true,
    });
  };
  await share();
  const again = (): void => {
    share().catch((error: unknown) => log.warn({ err: error }, 'workers not told of the cell'));
  };
  const timer = clock.every(TRUST_MS, again);
  stack.defer(() => timer.cancel());
  stack.use(authority.onChange(again));
}

/** The seed, and what takes tasks up again after a restart; both speak through the swarm. */
function startSeeds(
  options: SupernodeOptions,
  parts: {
    readonly authority: Authority;
    readonly store: PieceStore;
    readonly pool: TransferPool;
    readonly swarm: Swarm;
  },
): Seeds {
  const { clock, random, log } = options;
  const { authority, store, pool, swarm } = parts;
  const seeds = new Seeds({
    key: authority.key,
    store,
    pool,
    clock,
    log,
    listener: swarm,
    isElsewhere: (task, piece) => swarm.isElsewhere(task, piece),
    isInDemand: (seed) => swarm.isInDemand(seed.stored),
    adopt: async (seed) => adoptions.adopt(seed),
    hostsBack: async ({ taskId: task, version }, signal) =>
      adoptions.hostsBack({ task, version }, signal),
  });
  const { trust } = authority;
  const adoptions: Adoptions = new Adoptions({ seeds, pool, trust, clock, random, log });
  swarm.attach({ seeds, adoptions });
  return seeds;
}

async function openStore(options: SupernodeOptions): Promise<PieceStore> {
  const { dataDir, clock, log, quota, reserve } = options;
  return PieceStore.open({
    directory: join(dataDir, 'store'),
    clock,
    log,
    ...(quota === undefined || quota === 0 ? {} : { quotaBytes: quota }),
    ...(reserve === undefined ? {} : { reserveBytes: reserve }),
  });
}

function seedLimitsOf(options: SupernodeOptions): HostLimits {
  const { uploadRate, originRate, originHosts, clock } = options;
  return new HostLimits(
    { download: 0, upload: uploadRate, origin: originRate },
    clock,
    originHosts,
  );
}

async function startPool(
  options: SupernodeOptions,
  parts: {
    readonly authority: Authority;
    readonly limits: HostLimits;
    readonly hooks: { onAltered(key: string): void };
  },
): Promise<TransferPool> {
  const { authority, limits, hooks } = parts;
  const { certificatePem, keyPem } = selfSignedCertificate(authority.key, {
    now: options.clock.now(),
  });
  const { clock, random, log } = options;
  return TransferPool.start({
    clock,
    random,
    log,
    ...(options.workers === undefined ? {} : { workers: options.workers }),
    listen: { host: options.listen, port: options.linkPort },
    onAltered: (key) => hooks.onAltered(key),
    origin: {
      allow: options.originAllow,
      rate: limits.limiters.origin.shared,
      connectionsPerHost: DEFAULT_REQUESTS,
      blobSocket: blobSocketPath(options.dataDir),
      ...(options.originHosts === undefined ? {} : { hosts: options.originHosts }),
    },
    originRates: limits.parts.originHosts,
    link: {
      hostKeyPem: authority.key.exportPem(),
      certificatePem,
      certificateKeyPem: keyPem,
      encryption: options.encryption,
      isCompressing: options.compression !== 'off',
      uploadRate: limits.limiters.upload.shared,
    },
  });
}

/** The mesh node with both protocols: joining for anyone with a token, control for members. */
async function startMesh(
  options: SupernodeOptions,
  parts: {
    readonly authority: Authority;
    readonly pool: TransferPool;
    readonly swarm: Swarm;
    readonly counts: ControlCounts;
    readonly warmUps: WarmUps;
    readonly limits: CellLimits;
    readonly ops: OpsControl;
  },
): Promise<MeshNode> {
  const { clock, random, log, listen, meshPort, httpPort } = options;
  const { authority, pool, swarm, counts, limits, ops } = parts;
  const warmUps = parts.warmUps.listener;
  const mesh = await MeshNode.start({
    privateKeyProtobuf: authority.key.libp2pPrivateKey(),
    listen: { host: listen, port: meshPort },
    clock,
    random,
    log,
    isRevoked: (peer) => authority.isRevoked(peer),
  });
  // Before the first host can ask for anything.
  await pool.addOwnPorts([mesh.port ?? meshPort, httpPort]);
  const budget = new SourceBudget(clock);
  const waiting = new WaitingLimit(CELL_WAITING);
  const ports = [mesh.port ?? meshPort, pool.linkPort ?? options.linkPort, httpPort];
  const own = { hosts: [...options.advertise, listen], ports };
  const addresses = new HostAddresses({ allow: options.advertiseAllow ?? [], own });
  mesh.setAdmission(async ({ peerId: peer, hello }) => {
    const { record } = parseHello(hello);
    const { role, idc } = authority.verifyMember(record, peer);
    const member = { peerId: peer, role: role === 'seed' ? role : 'host', idc } as const;
    return { v: 1, membership: authority.membershipFor(member) };
  });
  await mesh.handle(
    protocols.join,
    { open: 'anyone', maxSessionsPerPeer: 1 },
    joinService(authority, { clock, log }),
  );
  await mesh.handle(
    protocols.control,
    { open: 'members', maxSessionsPerPeer: 2 },
    async (session: MeshSession) => {
      const hello = parseHello(session.hello);
      const record = authority.verifyMember(hello.record, session.remotePeerId);
      log.info({ peer: session.remotePeerId, address: session.remoteAddress }, 'host connected');
      const membershipFor = authority.membershipFor.bind(authority);
      const { desk: calls, queries, hosts } = ops;
      const mine = { swarm, budget, waiting, addresses, warmUps, limits, calls, queries, hosts };
      const shared = { ...mine, clock, log, counts, membershipFor };
      await new HostSession(session, { record, hello }, shared).run();
    },
  );
  return mesh;
}

function meshAddresses(options: SupernodeOptions): string[] {
  return hostsOf(options).map((host) => `${host}:${options.meshPort}`);
}

function linkAddresses(options: SupernodeOptions, port: number): string[] {
  return hostsOf(options).map((host) => `${host}:${port}`);
}

/** Where others reach this supernode. */
function hostsOf(options: SupernodeOptions): string[] {
  const hosts = options.advertise.length > 0 ? options.advertise : [options.listen];
  if (hosts.some((host) => host === '0.0.0.0' || host === '::')) {
    throw new CodedError(
      'ERR_USAGE',
      '--advertise must name an address when --listen is a wildcard',
    );
  }
  return hosts.map((host) => (host.includes(':') ? `[${host}]` : host));
}

import type { Clock } from '../core/base/clock.ts';
import { CodedError } from '../core/base/error.ts';
import type { ServedParts } from './api/http-api.ts';
import type { ServingStatus, SupernodeActions } from './api/supernode-view.ts';
import { TableView } from './api/table-view.ts';
import type { Supernode } from './index.ts';
import type { MetricsSnapshot, SupernodeMetrics } from './metrics.ts';

/** A supernode as far as its operators are concerned. */
export type OperatedSupernode = Pick<
  Supernode,
  'authority' | 'table' | 'seeds' | 'warmUps' | 'limits' | 'ops' | 'pool' | 'mesh' | 'counts'
>;

/** What the HTTP API and the admin socket show of a running supernode, and what they can have done. */
export function operatorParts(
  supernode: OperatedSupernode,
  parts: { readonly clock: Clock; readonly metrics: SupernodeMetrics },
): ServedParts {
  const { table, seeds } = supernode;
  const { clock, metrics } = parts;
  return {
    view: new TableView({
      table,
      clock,
      status: () => statusOf(supernode, clock),
      seed: (task, version) => seeds.find(task, version),
    }),
    actions: actionsOf(supernode),
    warmUps: supernode.warmUps,
    limits: supernode.limits,
    ops: supernode.ops,
    metrics: async () => metrics.render(await snapshotOf(supernode)),
  };
}

function statusOf({ authority, pool }: OperatedSupernode, clock: Clock): ServingStatus {
  const problems: string[] = [];
  if (authority.certificateExpires <= clock.now()) {
    problems.push('the certificate of this supernode has expired: its cell key is needed');
  }
  if (pool.workers.alive === 0) problems.push('no transfer worker is running');
  return { isReady: problems.length === 0, problems };
}

function actionsOf({ authority, mesh }: OperatedSupernode): SupernodeActions {
  return {
    createToken: async (options) => authority.createToken(options),
    tokens: async () => authority.tokens(),
    deleteToken: async (id) => authority.deleteToken(id),
    revoke: async (peer) => {
      await authority.revoke(peer);
      // Its key gets no new connection; the one it has ends here.
      await mesh.disconnect(peer, new CodedError('ERR_NOT_MEMBER', 'this host is revoked'));
    },
  };
}

async function snapshotOf(supernode: OperatedSupernode): Promise<MetricsSnapshot> {
  const { authority, table, seeds, warmUps, limits, ops, pool, mesh, counts } = supernode;
  const transfer = await pool.stats();
  const versions = [...table.versions()];
  const hosts = new Map<string, number>();
  for (const { role, isConnected } of table.hosts.values()) {
    if (isConnected) hosts.set(role, (hosts.get(role) ?? 0) + 1);
  }
  let heldPieces = 0;
  for (const { peers } of versions) {
    for (const { pieces } of peers.values()) heldPieces += pieces.count;
  }
  return {
    hosts,
    tasks: new Set(versions.map(({ task }) => task)).size,
    taskVersions: versions.length,
    heldPieces,
    connections: mesh.counts.members + mesh.counts.strangers,
    originRequests: seeds.requests,
    originBytes: transfer.originBytes,
    uploadBytes: transfer.bytesOut,
    compression: transfer.compression,
    links: transfer.links,
    registrations: counts.registrations,
    joins: authority.joins,
    messages: counts.messages,
    piecesAnnounced: counts.piecesAnnounced,
    warmUps: warmUps.open,
    warmUpsEnded: warmUps.ended,
    calls: ops.desk.active,
    callResults: ops.desk.outcomes,
    queriedHosts: ops.queries.outcomes,
    blobs: ops.uploads.blobs,
    blobBytes: ops.uploads.usedBytes,
    releases: ops.releases.standing(),
    releasesEnded: ops.releases.ended,
    owedHosts: ops.releases.owedHosts(),
    approvals: ops.approvals.standing(),
    approvalEvents: ops.approvals.counts,
    budgets: limits.budgets,
    outstanding: limits.outstanding,
    revokedHosts: authority.trust.cellMap()?.revoked.length ?? 0,
    certificateExpires: authority.certificateExpires,
  };
}

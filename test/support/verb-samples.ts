import type { VerbInput, VerbName } from '../../ops/control/verbs.ts';

const HEX = '0123456789abcdef';
const digest = `sha256:${HEX.repeat(4)}`;
const call = 'abcdefgh12';
const release = {
  application: 'web',
  version: '1.2.3',
  on: 'idc=hz,-host=web 1',
  batches: { count: 4 },
  maxFailures: 2,
} as const;

/** Of each verb an input that fits, with a field of every place that it has. */
export const verbSamples: { readonly [Name in VerbName]: VerbInput<Name> } = {
  'key.create': { principal: 'ann@site', ttlMs: 60_000 },
  'key.rotate': { id: HEX, overlapMs: 5 },
  'key.lock': { id: HEX },
  'key.list': { limit: 3, after: 'a/b c&d=é' },
  'policy.put': {
    name: 'deploy',
    policy: { effect: 'allow', principals: ['ann'], verbs: ['call.run'], hosts: ['idc=hz'] },
  },
  'policy.remove': { name: 'deploy' },
  'policy.list': { limit: 3 },
  'approval.list': { after: HEX },
  'approval.show': { id: HEX },
  'approval.give': { id: HEX },
  'approval.deny': { id: HEX, reason: 'not before the freeze is over' },
  'call.run': { command: 'uptime', args: ['-s', '', 'a&b'], on: 'all', timeoutMs: 9 },
  'call.cancel': { id: call },
  'call.list': { limit: 2, before: call },
  'call.show': { id: call, limit: 2, after: 'x+y z' },
  'call.follow': { id: call },
  'blob.put': { digest, length: 3 },
  'package.publish': { name: 'web', version: '1.2.3', digest, length: 3 },
  'package.remove': { name: 'web', version: '1.2.3+a' },
  'package.list': { after: 'web/1.2.3' },
  'package.versions': { name: 'web', limit: 1 },
  'release.preview': release,
  'release.start': { ...release, plan: digest },
  'release.control': { id: call, wish: 'rollback' },
  'release.repairs': { id: call, on: 'idc=a' },
  'release.repair': { id: call, plan: digest },
  'release.list': { limit: 2, before: call },
  'release.show': { id: call },
  'release.follow': { id: call },
  'host.list': { on: 'label=role:web&db,all', state: 'retired', limit: 1 },
  'host.show': { peer: '12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf' },
  'host.query': { where: 'load1 > 2', on: 'all', columns: ['load1'], timeoutMs: 100 },
  'host.label': { on: 'host=web-1', set: { role: 'web' }, remove: ['old'] },
  'host.retire': { host: 'web-1' },
  'audit.list': { order: 'newest', after: 7, kind: 'call.run' },
  'audit.export': {},
  'audit.prune': { before: 5, exported: { seq: 7, hash: HEX.repeat(4) } },
};

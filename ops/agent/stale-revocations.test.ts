import test from 'ava';
import type { ExecutionContext } from 'ava';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { randomHex } from '../../core/base/random.ts';
import { digestOfHosts, issueCallOrder, openCallResult } from '../../core/identity/call-order.ts';
import type { CallOrder, CallResult } from '../../core/identity/call-order.ts';
import { issueCellMap, issueCertificate } from '../../core/identity/cell.ts';
import { issueControlCertificate } from '../../core/identity/control-certificate.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { RevocationAge } from '../../core/identity/revocation-age.ts';
import type { StampedList } from '../../core/identity/revocation-age.ts';
import { digestOfRevoked, issueRevocationStamp } from '../../core/identity/revocation-stamp.ts';
import { CellTrust } from '../../core/identity/trust.ts';
import type { CallTaker, CallWay } from '../../core/swarm/call-taker.ts';
import type { FromHost } from '../../core/wire/messages.ts';
import { until } from '../../test/support/until.ts';
import { startCallAgent } from './index.ts';
import { ownUser } from './local-user.ts';

const NOW = 1_800_000_000_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const clock = new SystemClock();
const STALE = { outcome: 'refused', code: 'ERR_REVOCATIONS_STALE' };

/** The real agent of a host, and what whoever passes things on to it lets through. */
class RelayedHost {
  readonly cellKey = HostKey.generate();
  readonly supernode = HostKey.generate();
  readonly control = HostKey.generate();
  readonly key = HostKey.generate();
  readonly sent: FromHost[] = [];
  readonly trust = new CellTrust(this.cellKey.peerId);
  readonly age = new RevocationAge(this.trust);
  readonly folder: string;
  /** Cell time, as the relay says. */
  now = NOW;
  /** The list in force, by those who sign. */
  list: { readonly epoch: number; readonly revoked: readonly string[] } = { epoch: 1, revoked: [] };
  /** False: the control is of a version that dates no lists. */
  isDating = true;
  #agent: CallTaker | undefined;

  private constructor(folder: string) {
    this.folder = folder;
    const { peerId: supernode } = this.supernode;
    this.trust.addCertificate(issueCertificate(this.cellKey, { supernode, now: NOW }));
  }

  static async open(t: ExecutionContext): Promise<RelayedHost> {
    const host = new RelayedHost(await mkdtemp(join(tmpdir(), 'odonata-stale-')));
    t.teardown(async () => {
      await host.#agent?.[Symbol.asyncDispose]();
      await rm(host.folder, { recursive: true, force: true });
    });
    const commandsFile = join(host.folder, 'commands.yaml');
    const user = ownUser().name;
    await writeFile(
      commandsFile,
      `commands:
  look: { program: /bin/true, readOnly: true, runAs: ${user} }
  append: { program: /bin/sh, args: ['-c', 'echo ran >> "$0"'], rest: true, runAs: ${user} }
scripts: { runAs: ${user} }
files: [{ folder: ${host.folder}, runAs: ${user} }]
packages: { web: { folder: ${host.folder}, runAs: ${user} } }
`,
      { mode: 0o600 },
    );
    host.#agent = await startCallAgent({
      way: host.#way(),
      dataDir: host.folder,
      commandsFile,
      socket: '/nonexistent',
      maxRevocationAgeMs: DAY_MS,
      clock,
      log: silentLog,
    });
    host.#agent.onConnected();
    return host;
  }

  /** The map in force, as a supernode signs it. */
  map(list = this.list, now = this.now): void {
    const envelope = issueCellMap(this.supernode, { ...list, supernodes: [] });
    this.trust.applyCellMap(envelope, now);
  }

  /** The date of the list in force, as the control key signs it. */
  stamp(issued = this.now): StampedList {
    const { epoch, revoked } = this.list;
    const cell = this.cellKey.peerId;
    const digest = digestOfRevoked(revoked);
    return {
      stamp: issueRevocationStamp(this.control, { cell, epoch, digest, issued }),
      certificate: this.certificate(),
    };
  }

  certificate(): string {
    return issueControlCertificate(this.cellKey, { control: this.control.peerId, now: NOW });
  }

  /** What comes of an order of the real control key, signed at `issued` and passed on. */
  async run(
    fields: Pick<CallOrder, 'command'> & Partial<CallOrder>,
    issued = this.now,
  ): Promise<CallResult> {
    const call = randomHex(8);
    const order = issueCallOrder(this.control, {
      cell: this.cellKey.peerId,
      call,
      host: this.key.peerId,
      hosts: digestOfHosts([this.key.peerId]),
      principal: 'tester',
      issued,
      expires: issued + 60_000,
      lane: 'fast',
      args: [],
      timeoutMs: 60_000,
      maxOutputBytes: 1_000,
      ...(this.isDating ? { epoch: this.list.epoch } : {}),
      ...fields,
    });
    this.#agent?.take({ type: 'call', order, certificate: this.certificate() });
    const told = (): CallResult[] =>
      this.sent
        .flatMap((message) => (message.type === 'call-states' ? message.ended : []))
        .map(openCallResult)
        .filter((result) => result.call === call);
    await until(() => told().length > 0);
    const [result] = told();
    if (result === undefined) throw new Error('no result');
    return result;
  }

  async append(issued = this.now): Promise<CallResult> {
    return this.run({ command: 'append', args: [join(this.folder, 'counter')] }, issued);
  }

  async ran(): Promise<number> {
    const text = await readFile(join(this.folder, 'counter'), 'utf8').catch(() => '');
    return text.split('\n').length - 1;
  }

  #way(): CallWay {
    const send = (message: FromHost): void => void this.sent.push(message);
    return {
      key: this.key,
      cell: this.cellKey.peerId,
      now: () => this.now,
      isRevoked: (peer) => this.trust.isRevoked(peer),
      staleness: (limit) => this.age.problem(limit),
      send,
      sendInTurn: async (message) => send(message),
    };
  }
}

test('a relay that withholds newer lists gets nothing done that is not read-only, once the last is too old', async (t) => {
  const host = await RelayedHost.open(t);
  host.map();
  t.true(host.age.take(host.stamp(), host.now));
  t.is((await host.append()).outcome, 'ok');
  host.now += DAY_MS;
  t.is((await host.append()).outcome, 'ok', 'it is as old as it may be');
  host.now += HOUR_MS;
  const refused = await host.append();
  t.like(refused, STALE);
  t.regex(
    refused.message ?? '',
    /list of revocations of this host is 25\.0 h old, and may be 24\.0 h/,
  );
  t.is(refused.began, undefined);
  t.is((await host.run({ command: 'look' })).outcome, 'ok', 'what only reads is run');
  t.is(await host.ran(), 2);
  // It is no use to pass an old date on again, nor one that the relay makes itself.
  t.false(host.age.take(host.stamp(NOW), host.now));
  const own = { ...host.stamp(), stamp: issueRevocationStamp(host.supernode, dateOf(host)) };
  t.throws(() => host.age.take(own, host.now), { code: 'ERR_SIGNATURE' });
  t.like(await host.append(), STALE);
  // The real one makes it good.
  t.true(host.age.take(host.stamp(), host.now));
  t.is((await host.append()).outcome, 'ok');
});

test('a relay that withholds a list is found out by the next order of the control key, whatever the time is', async (t) => {
  const host = await RelayedHost.open(t);
  const gone = HostKey.generate().peerId;
  host.map();
  t.true(host.age.take(host.stamp(), host.now));
  const former = host.list;
  host.list = { epoch: 2, revoked: [gone] };
  t.like(await host.append(), STALE);
  // With the date of the new list and the old list itself.
  t.true(host.age.take(host.stamp(), host.now));
  t.like(await host.append(), STALE);
  // With a list of its own: a supernode's key signs any.
  host.map({ ...former, epoch: 3 });
  t.false(host.trust.isRevoked(gone));
  const refused = await host.append();
  t.like(refused, STALE);
  t.regex(refused.message ?? '', /another than the control key dated/);
  t.is((await host.run({ command: 'look' })).outcome, 'ok');
  t.is(await host.ran(), 0);
});

test('a relay that holds the time of the cell back makes no list younger', async (t) => {
  const host = await RelayedHost.open(t);
  host.map();
  t.true(host.age.take(host.stamp(), host.now));
  // It says that no time has passed; the order says when it was signed.
  t.like(await host.append(NOW + DAY_MS + HOUR_MS), { outcome: 'refused', code: 'ERR_SIGNATURE' });
  host.now = NOW + DAY_MS - 30_000;
  t.like(await host.append(NOW + DAY_MS + 20_000), STALE);
  t.is(await host.ran(), 0);
});

test('a relay that withholds every date is found out: the orders themselves say that lists are dated', async (t) => {
  const host = await RelayedHost.open(t);
  host.map();
  const refused = await host.append();
  t.like(refused, STALE);
  t.regex(refused.message ?? '', /never given a dated list/);
  t.is((await host.run({ command: 'look' })).outcome, 'ok');
  t.is(await host.ran(), 0);
});

test('scripts, files and packages are not for a host that has not heard who is revoked', async (t) => {
  const host = await RelayedHost.open(t);
  const digest = `sha256:${'0'.repeat(64)}`;
  const url = 'http://127.0.0.1:1/x';
  const orders = [
    { command: 'script.run', args: [url, digest] },
    { command: 'file.put', args: [url, digest, join(host.folder, 'x'), '0644', '-'] },
    { command: 'package.install', args: ['web', '1', url, digest] },
    { command: 'package.switch', args: ['web', '1', '1000'] },
  ];
  for (const order of orders) t.like(await host.run(order), STALE, order.command);
});

test('a cell of an earlier version, which dates nothing, is served as it was', async (t) => {
  const host = await RelayedHost.open(t);
  host.map();
  host.isDating = false;
  host.now += 100 * HOUR_MS;
  t.is((await host.append()).outcome, 'ok');
  t.is(await host.ran(), 1);
});

function dateOf(host: RelayedHost): Parameters<typeof issueRevocationStamp>[1] {
  const { epoch, revoked } = host.list;
  const digest = digestOfRevoked(revoked);
  return { cell: host.cellKey.peerId, epoch, digest, issued: host.now };
}

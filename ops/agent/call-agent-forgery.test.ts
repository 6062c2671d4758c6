import test from 'ava';
import type { ExecutionContext } from 'ava';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CallResult } from '../../core/identity/call-order.ts';
import { issueControlCertificate } from '../../core/identity/control-certificate.ts';
import { seal } from '../../core/identity/envelope.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import type { Call } from '../../core/wire/messages.ts';
import { AgentHost, NOW } from '../../test/support/agent-host.ts';
import { until } from '../../test/support/until.ts';

/** What came of a message that is not to be run: refused, or nothing at all; in no case it has run. */
async function refusedBy(
  t: ExecutionContext,
  host: AgentHost,
  message: Call,
): Promise<CallResult[]> {
  const before = host.running.counts.refused;
  host.running.take(message);
  await until(() => host.running.counts.refused > before);
  await host.running.idle();
  t.is(host.running.counts.taken, 0);
  t.is(host.warnings.length, 1);
  t.like(host.warnings[0], { code: 'ERR_SIGNATURE' });
  return host.allResults();
}

test('a relay that edits a call is refused', async (t) => {
  const host = await AgentHost.open(t);
  const order = host.order({ command: 'say', args: ['harmless'] });
  const message = host.message(order);
  const [version, kind, , signer, signature] = message.order.split('.');
  const body = { v: 1, ...order, args: ['harmful'] };
  const payload = Buffer.from(JSON.stringify(body)).toString('base64url');
  const edited = [version, kind, payload, signer, signature].join('.');
  const [result] = await refusedBy(t, host, { ...message, order: edited });
  t.like(result, { outcome: 'refused', code: 'ERR_SIGNATURE' });
  // The id is not used up: the call as it was signed still runs.
  host.running.take(message);
  await until(() => host.results(order.call).length === 2);
  t.is(host.results(order.call)[1]?.outcome, 'ok');
  t.is(host.output(order.call), 'harmless');
});

test('a relay that replays a call does not make it run again, whenever it does so', async (t) => {
  const host = await AgentHost.open(t);
  const file = join(host.directory, 'counter');
  const order = host.order({ command: 'append', args: ['once', file] });
  const message = host.message(order);
  // At once, while it runs, after its end, after the cell has heard it, and after a restart.
  host.running.take(message);
  host.running.take(message);
  await host.result(order.call);
  host.running.take(message);
  await host.running.idle();
  host.running.take({ type: 'calls-heard', calls: [order.call] });
  await host.running.idle();
  host.running.take(message);
  await host.running.idle();
  t.deepEqual(host.running.counts, { taken: 1, refused: 0, repeated: 3 });
  await host.close();
  await host.start();
  host.running.take(message);
  await host.running.idle();
  t.deepEqual(host.running.counts, { taken: 0, refused: 0, repeated: 1 });
  t.is(await readFile(file, 'utf8'), 'once\n');
  // The same id in another order that the cell signed is the same call.
  host.running.take(host.message({ ...order, expires: NOW + 90_000 }));
  await host.running.idle();
  t.is(await readFile(file, 'utf8'), 'once\n');
});

test('a relay that delays a call until it has expired is refused', async (t) => {
  const host = await AgentHost.open(t);
  const message = host.message({ call: 'delayed000' });
  host.now += 60_000 + 60_000;
  const [result] = await refusedBy(t, host, message);
  t.like(result, { outcome: 'refused', code: 'ERR_SIGNATURE', message: 'the call has expired' });
});

test('a relay that gives a call to another host than it is for is refused, and hears nothing', async (t) => {
  const host = await AgentHost.open(t);
  const other = HostKey.generate().peerId;
  const message = host.message({ call: 'elsewhere0', host: other });
  t.deepEqual(await refusedBy(t, host, message), []);
});

test('a call that a supernode made up itself is refused, whatever it certifies', async (t) => {
  const supernode = HostKey.generate();
  const now = NOW;
  // With the certificate of the real key; with one of its own making; with the cell's certificate that it is a
  // supernode; and with one of another cell.
  const certificates = [
    (host: AgentHost) => host.certificate,
    () => issueControlCertificate(supernode, { control: supernode.peerId, now }),
    (host: AgentHost) =>
      seal(
        'certificate',
        { v: 1, control: supernode.peerId, notBefore: now, expires: now * 2 },
        host.cellKey,
      ),
    () => issueControlCertificate(HostKey.generate(), { control: supernode.peerId, now }),
  ];
  for (const certificateOf of certificates) {
    const host = await AgentHost.open(t);
    const message = host.message({ call: 'invented00' }, supernode);
    const certificate = certificateOf(host);
    const [result] = await refusedBy(t, host, { ...message, certificate });
    t.like(result, { outcome: 'refused', code: 'ERR_SIGNATURE' });
  }
});

test('CallAgent refuses a control key that is revoked, expired or not yet good, another cell, and the future', async (t) => {
  const cases: ((host: AgentHost) => Call)[] = [
    (host) => {
      host.revoked = host.control.peerId;
      return host.message();
    },
    (host) => {
      host.now += 400 * 86_400_000;
      return host.message();
    },
    (host) => {
      host.now -= 86_400_000;
      return host.message();
    },
    (host) => host.message({ cell: HostKey.generate().peerId }),
    (host) => host.message({ issued: host.now + 60_001, expires: host.now + 60_002 }),
  ];
  for (const make of cases) {
    const host = await AgentHost.open(t);
    await refusedBy(t, host, make(host));
  }
});

test('CallAgent stops though a supernode takes nothing of what it is told, and forgeries do not pile up', async (t) => {
  const host = await AgentHost.open(t);
  host.isStuck = true;
  const forger = HostKey.generate();
  for (let at = 0; at < 300; at += 1) host.running.take(host.message({}, forger));
  await host.running.quiet();
  t.is(host.running.counts.refused, 300);
  t.true(host.running.untold <= 100, String(host.running.untold));
  await host.close();
  t.deepEqual(host.sent, []);
});

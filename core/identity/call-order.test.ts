import test from 'ava';
import {
  callLimits,
  digestOfHosts,
  issueCallOrder,
  issueCallResult,
  maxCallTtlMs,
  openCallOrder,
  openCallResult,
} from './call-order.ts';
import type { CallOrder, CallResult } from './call-order.ts';
import { issueControlCertificate, openControlCertificate } from './control-certificate.ts';
import { seal } from './envelope.ts';
import { HostKey } from './host-key.ts';

const cell = HostKey.generate();
const control = HostKey.generate();
const host = HostKey.generate();
const none = digestOfHosts([]);

const order: CallOrder = {
  cell: cell.peerId,
  call: '0mabcdefg01234567',
  host: host.peerId,
  hosts: digestOfHosts([host.peerId]),
  principal: 'alice@example.org',
  issued: 1_000,
  expires: 61_000,
  lane: 'fast',
  command: 'echo',
  args: [';', '$(x)', '`x`', 'a\nb', '--x', '', '漢字 🐉', '\'"\\'],
  runAs: 'nobody',
  timeoutMs: 60_000,
  maxOutputBytes: 65_536,
};

const result: CallResult = {
  call: order.call,
  host: host.peerId,
  outcome: 'failed',
  code: 'ERR_TIMEOUT',
  message: 'it took too long',
  exitCode: 1,
  signal: 'SIGTERM',
  began: 2_000,
  ended: 3_000,
  stdoutBytes: 3,
  stdoutDigest: none,
  stderrBytes: 0,
  stderrDigest: none,
};

test('an order says after its way what it said before, byte for byte', (t) => {
  t.deepEqual(openCallOrder(issueCallOrder(control, order)), { order, signer: control.peerId });
  const { runAs: _runAs, ...plain } = order;
  t.deepEqual(openCallOrder(issueCallOrder(control, plain)).order, plain);
});

test('an order that hosts would refuse is not issued, and the field is named', (t) => {
  const bad: readonly [string, Partial<CallOrder>][] = [
    ['args', { args: ['a\0b'] }],
    ['args', { args: ['\ud800'] }],
    ['args', { args: Array.from({ length: callLimits.args + 1 }, () => '') }],
    ['args', { args: ['x'.repeat(callLimits.argBytes + 1)] }],
    ['command', { command: '/bin/sh' }],
    ['command', { command: '' }],
    ['call', { call: '../../etc' }],
    ['host', { host: 'web-1' }],
    ['expires', { expires: order.issued - 1 }],
    ['expires', { expires: order.issued + maxCallTtlMs + 1 }],
    ['timeoutMs', { timeoutMs: 0 }],
    ['timeoutMs', { timeoutMs: callLimits.timeoutMs + 1 }],
    ['maxOutputBytes', { maxOutputBytes: callLimits.outputBytes + 1 }],
    ['runAs', { runAs: 'root,daemon' }],
    ['principal', { principal: 'a b' }],
  ];
  for (const [field, change] of bad) {
    t.throws(() => issueCallOrder(control, { ...order, ...change }), {
      code: 'ERR_SIGNATURE',
      message: new RegExp(`"${field}"`),
    });
  }
});

test('what was changed on the way is refused', (t) => {
  const envelope = issueCallOrder(control, order);
  const parts = envelope.split('.');
  const body = JSON.parse(Buffer.from(parts[2] ?? '', 'base64url').toString());
  const edited = Buffer.from(JSON.stringify({ ...body, args: ['other'] })).toString('base64url');
  const swapped = [...parts.slice(0, 2), edited, ...parts.slice(3)].join('.');
  t.throws(() => openCallOrder(swapped), { code: 'ERR_SIGNATURE' });
  // The same words under another kind are no order.
  t.throws(() => openCallOrder(seal('ticket', body, control)), { code: 'ERR_SIGNATURE' });
});

test('a result is believed of the host that signed it alone', (t) => {
  t.deepEqual(openCallResult(issueCallResult(host, result)), result);
  const forged = issueCallResult(HostKey.generate(), result);
  t.throws(() => openCallResult(forged), { code: 'ERR_SIGNATURE', message: /another host/ });
  for (const change of [{ outcome: 'fine' }, { code: 'oops' }, { stdoutDigest: 'x' }]) {
    const wrong = { ...result, ...change } as CallResult;
    t.throws(() => issueCallResult(host, wrong), { code: 'ERR_SIGNATURE' });
  }
});

test('the set of hosts of a call has one digest, in whatever order they are named', (t) => {
  const [one, two] = [host.peerId, cell.peerId];
  t.is(digestOfHosts([one, two]), digestOfHosts([two, one, two]));
  t.not(digestOfHosts([one]), digestOfHosts([one, two]));
});

test('a control certificate holds when the key of the cell signed it, and no other', (t) => {
  const certificate = issueControlCertificate(cell, { control: control.peerId, now: 5, ttlMs: 10 });
  t.deepEqual(openControlCertificate(certificate, cell.peerId), {
    control: control.peerId,
    notBefore: 5,
    expires: 15,
  });
  t.throws(() => openControlCertificate(certificate, host.peerId), { code: 'ERR_SIGNATURE' });
});

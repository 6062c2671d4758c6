import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, setDefaultCACertificates, getCACertificates } from 'node:tls';
import { promisify } from 'node:util';
import test from 'ava';
import { ManualClock, SystemClock } from '../../core/base/clock.ts';
import { eventually } from '../../bench/cluster/eventually.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import type { FaultOrigin } from '../../bench/origin/fault-origin.ts';
import { InterceptCa } from './intercept-ca.ts';
import { startProxy } from './proxy-fixture.contract.ts';
import type { ProxyServer } from './proxy-server.ts';

const run = promisify(execFile);
const clock = new SystemClock();
const host = '127.0.0.1';

async function folder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'odonata-ca-'));
  return { path, [Symbol.asyncDispose]: async () => rm(path, { recursive: true }) };
}

/** An https origin on loopback whose certificate this process trusts; and one that nobody does. */
async function secureOrigin(options: { readonly isTrusted: boolean }): Promise<FaultOrigin> {
  await using dir = await folder();
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const names = [
    '-days',
    '2',
    '-subj',
    '/CN=origin',
    '-addext',
    `subjectAltName=IP:${host},DNS:localhost`,
  ];
  const files = ['-keyout', join(dir.path, 'key'), '-out', join(dir.path, 'cert')];
  await run('openssl', [...args, ...names, ...files]);
  const key = await readFile(join(dir.path, 'key'), 'utf8');
  const cert = await readFile(join(dir.path, 'cert'), 'utf8');
  if (options.isTrusted) setDefaultCACertificates([...getCACertificates('default'), cert]);
  return startOrigin({ tls: { key, cert } });
}

/** Opens a tunnel; the status of the proxy's answer, its text and the connection. */
async function openTunnel(
  proxy: ProxyServer,
  authority: string,
): Promise<{ status: number; socket: Socket; text: string }> {
  const asked = httpRequest({ host, port: proxy.port, method: 'CONNECT', path: authority });
  asked.end();
  const [answer, socket, head] = await once(asked, 'connect');
  let text = String(head);
  if (answer.statusCode !== 200) for await (const chunk of socket) text += String(chunk);
  return { status: answer.statusCode, socket, text };
}

/** GET inside of a tunnel, trusting one CA only. */
async function getInside(
  proxy: ProxyServer,
  options: { authority: string; path: string; ca: string; headers?: Record<string, string> },
): Promise<{ status: number; text: string; headers: Record<string, unknown> }> {
  const { authority, path, ca, headers = {} } = options;
  const { socket } = await openTunnel(proxy, authority);
  const name = authority.split(':')[0] ?? '';
  const secure = connectTls({
    socket,
    ca,
    host: name,
    ...(name === host ? {} : { servername: name }),
  });
  await once(secure, 'secureConnect');
  const asked = httpRequest({
    createConnection: () => secure,
    path,
    headers: { host: authority, ...headers },
  });
  asked.end();
  const [answer] = await once(asked, 'response');
  let text = '';
  for await (const chunk of answer) text += String(chunk);
  secure.destroy();
  return { status: answer.statusCode, text, headers: answer.headers };
}

test('InterceptCa.open() makes a CA once, with a key for its owner alone and a certificate for all', async (t) => {
  await using dir = await folder();
  const ca = await InterceptCa.open(dir.path, { clock });
  t.is(ca.certificateFile, join(dir.path, 'proxy', 'ca.crt'));
  t.is((await stat(join(dir.path, 'proxy', 'ca.key'))).mode & 0o777, 0o600);
  t.is((await stat(ca.certificateFile)).mode & 0o777, 0o644);
  const again = await InterceptCa.open(dir.path, { clock });
  t.is(again.certificatePem, ca.certificatePem);
  const certificate = new X509Certificate(ca.certificatePem);
  t.true(certificate.ca);
  t.true(certificate.verify(certificate.publicKey));
  // A crash between key and certificate: the next one has the same name and key, so that leaves stay good.
  await rm(ca.certificateFile);
  const renewed = await InterceptCa.open(dir.path, { clock });
  t.is(new X509Certificate(renewed.certificatePem).subject, certificate.subject);
  await writeFile(join(dir.path, 'proxy', 'ca.key'), 'no key', { mode: 0o600 });
  await t.throwsAsync(InterceptCa.open(dir.path, { clock }), { code: 'ERR_KEY_FILE' });
});

test('openssl accepts the certificates of hosts, of addresses of both kinds too', async (t) => {
  await using dir = await folder();
  const ca = await InterceptCa.open(dir.path, { clock });
  for (const name of [
    'example.test',
    '192.0.2.7',
    '2001:db8::7',
    `${'a'.repeat(60)}.example.test`,
  ]) {
    const file = join(dir.path, 'leaf.crt');
    await writeFile(file, ca.certificateFor(name));
    const kind = name.includes('.test') ? '-verify_hostname' : '-verify_ip';
    const args = ['verify', '-x509_strict', '-purpose', 'sslserver', kind, name];
    const { stdout } = await run('openssl', [...args, '-CAfile', ca.certificateFile, file]);
    t.regex(stdout, /: OK/);
    await t.throwsAsync(
      run('openssl', [
        'verify',
        '-verify_hostname',
        'other.test',
        '-CAfile',
        ca.certificateFile,
        file,
      ]),
    );
  }
});

test('certificates of hosts are kept, and made anew long before they end', async (t) => {
  await using dir = await folder();
  const manual = new ManualClock(Date.parse('2026-01-01'));
  const ca = await InterceptCa.open(dir.path, { clock: manual });
  const first = ca.contextFor('a.test');
  t.is(ca.contextFor('A.test'), first);
  t.not(ca.contextFor('b.test'), first);
  manual.advance(60 * 86_400_000);
  t.not(ca.contextFor('a.test'), first);
});

test('requests inside of a tunnel that is opened go through the rules', async (t) => {
  await using dir = await folder();
  await using origin = await secureOrigin({ isTrusted: true });
  origin.set('/open', { content: { seed: 1, length: 10 }, headers: { 'x-from': 'origin' } });
  await using proxy = await startProxy({
    dataDir: dir.path,
    intercept: ['localhost', host],
    connectPorts: [origin.port],
    rules: [{ url: '/closed$', to: 'reject' }],
  });
  const ca = await readFile(join(dir.path, 'proxy', 'ca.crt'), 'utf8');
  for (const name of [host, 'localhost']) {
    const authority = `${name}:${origin.port}`;
    const open = await getInside(proxy, { authority, path: '/open', ca });
    t.is(open.status, 200);
    t.is(open.headers['x-from'], 'origin');
    t.is(open.headers['via'], '1.1 odonata-test');
    const shut = await getInside(proxy, { authority, path: '/closed', ca });
    t.is(shut.status, 403);
    t.regex(shut.text, /^ERR_FORBIDDEN: rule 1 of the proxy refuses it/);
    const elsewhere = await getInside(proxy, {
      authority,
      path: '/open',
      ca,
      headers: { host: 'elsewhere.test' },
    });
    t.is(elsewhere.status, 400);
  }
  t.is(origin.stats('/closed').requests, 0);
  await eventually('tunnels that clients left are gone', () => proxy.active === 0 || undefined);
});

test('a tunnel whose origin shows no certificate that holds, or speaks no TLS, fails before its handshake', async (t) => {
  await using dir = await folder();
  await using untrusted = await secureOrigin({ isTrusted: false });
  await using plain = await startOrigin();
  await using proxy = await startProxy({
    dataDir: dir.path,
    intercept: ['*'],
    connectPorts: [untrusted.port, plain.port],
  });
  for (const { port } of [untrusted, plain]) {
    const { status, text } = await openTunnel(proxy, `${host}:${port}`);
    t.is(status, 502);
    t.regex(text, /^ERR_ORIGIN_UNREACHABLE: .*TLS: /);
  }
  t.is(proxy.active, 0);
});

test('a client that does not trust the CA, or sends no TLS, ends the tunnel and nothing else', async (t) => {
  await using dir = await folder();
  await using origin = await secureOrigin({ isTrusted: true });
  await using proxy = await startProxy({
    dataDir: dir.path,
    intercept: [host],
    connectPorts: [origin.port],
  });
  const first = await openTunnel(proxy, `${host}:${origin.port}`);
  const secure = connectTls({ socket: first.socket, host });
  const [error] = await once(secure, 'error');
  t.regex(String(error), /certificate/);
  const second = await openTunnel(proxy, `${host}:${origin.port}`);
  second.socket.on('error', () => undefined);
  second.socket.write('GET / HTTP/1.1\r\n\r\n');
  second.socket.resume();
  await once(second.socket, 'close');
  const health = await fetch(`http://${host}:${proxy.port}/healthz`);
  t.is(health.status, 200);
});

test('hosts that are not named keep their tunnels closed', async (t) => {
  await using dir = await folder();
  await using origin = await secureOrigin({ isTrusted: true });
  await using proxy = await startProxy({
    dataDir: dir.path,
    intercept: ['*.localhost', 'host'],
    connectPorts: [origin.port],
  });
  const { socket } = await openTunnel(proxy, `localhost:${origin.port}`);
  const secure = connectTls({ socket, host: 'localhost', servername: 'localhost' });
  await once(secure, 'secureConnect');
  t.is(secure.getPeerCertificate().subject.CN, 'origin');
  secure.destroy();
});

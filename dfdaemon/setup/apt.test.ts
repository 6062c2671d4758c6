import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { TestMachine, testClientSetup } from './client-setup.contract.ts';

const CONFIG = '/etc/apt/apt.conf.d/95odonata';
const DETECT = '/etc/apt/odonata-proxy-detect';
const run = promisify(execFile);

testClientSetup(test, {
  client: 'apt',
  path: '/etc/apt/apt.conf',
  texts: { settings: 'APT::Install-Recommends "false"; // Acquire::http::Proxy "http://x";\n' },
  later: (text) => `${text}\nAPT::Get::Assume-Yes "true";\n`,
});

/** What the program says of a server on this port. */
async function detected(port: number): Promise<string> {
  using machine = new TestMachine();
  await machine.setUp('apt', { port });
  const { stdout } = await run(join(machine.root, DETECT), ['http://deb.debian.org/'], {
    encoding: 'utf8',
  });
  return stdout;
}

async function portOf(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

test('the program of setup apt names dfdaemon while that is well, and DIRECT when it is ill or gone', async (t) => {
  let status = 200;
  const server = createServer((_, response) => response.writeHead(status).end());
  t.teardown(() => void server.close());
  const port = await portOf(server);
  t.is(await detected(port), `http://127.0.0.1:${port}\n`);
  status = 503;
  t.is(await detected(port), 'DIRECT\n');
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
  t.is(await detected(port), 'DIRECT\n');
});

test('the program of setup apt says DIRECT of a port that takes connections and is silent', async (t) => {
  await using server = createTcpServer((socket) => socket.on('error', () => undefined).resume());
  t.is(await detected(await portOf(server)), 'DIRECT\n');
});

test('setup apt makes a program that everybody may run and a file that names it', async (t) => {
  using machine = new TestMachine();
  await machine.setUp('apt');
  t.is(machine.mode(DETECT), 0o755);
  t.is(machine.mode(CONFIG), 0o644);
  t.regex(
    machine.get(CONFIG) ?? '',
    /^Acquire::http::Proxy-Auto-Detect "\/etc\/apt\/odonata-proxy-detect";$/m,
  );
});

const proxies = [
  'Acquire::http::Proxy "http://proxy.corp:3128";',
  'acquire::HTTP::proxy "http://proxy.corp:3128";',
  'Acquire { Retries "3"; http { Timeout "5"; Proxy "http://proxy.corp:3128"; }; };',
  'Acquire::http { No-Cache "true"; Proxy::a.example "DIRECT"; Proxy-Auto-Detect "/x"; };',
  'Acquire::http::ProxyAutoDetect "/x";',
];
for (const line of proxies) {
  test(`setup apt refuses beside ${line}`, async (t) => {
    using machine = new TestMachine();
    machine.put('/etc/apt/apt.conf.d/50proxy', `/* mine */ ${line}\n`);
    const error = await t.throwsAsync(machine.setUp('apt'), { code: 'ERR_CLIENT_CONFIG' });
    t.regex(error?.message ?? '', /^\/etc\/apt\/apt\.conf\.d\/50proxy: /);
    t.notRegex(error?.message ?? '', /corp/);
  });
}

const harmless = [
  'Acquire::https::Proxy "http://proxy.corp:3128";',
  '# Acquire::http::Proxy "http://x";',
  '/* Acquire::http::Proxy "http://x"; */',
  'Acquire::http::Proxy::a.example "DIRECT";',
  'Acquire::http::Proxy "DIRECT";',
  'Acquire { http { Timeout "5"; }; ftp { Proxy "ftp://x"; }; };',
];
for (const line of harmless) {
  test(`setup apt goes well with ${line}`, async (t) => {
    using machine = new TestMachine();
    machine.put('/etc/apt/apt.conf', `${line}\n`);
    await t.notThrowsAsync(machine.setUp('apt'));
  });
}

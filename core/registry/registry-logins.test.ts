import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { RegistryLogins, readLogins } from './registry-logins.ts';

const secret = (text: string): string => Buffer.from(text).toString('base64');

test('RegistryLogins.find() takes the login of the longest part of a name, and knows the names of Docker Hub', (t) => {
  const logins = RegistryLogins.parse(
    JSON.stringify({
      auths: {
        'https://index.docker.io/v1/': { auth: secret('hub:pa:ss\0\0') },
        'Registry.test:5000': { auth: secret('all:a') },
        'registry.test:5000/team/app': { username: 'one', password: 'b' },
        'quay.test': { registrytoken: 'given' },
      },
      credHelpers: { 'gcr.test': 'gcloud' },
    }),
  );
  const all = { username: 'all', password: 'a' };
  t.deepEqual(logins.find('registry-1.docker.io', 'library/x'), {
    username: 'hub',
    password: 'pa:ss',
  });
  t.deepEqual(logins.find('docker.io', ''), { username: 'hub', password: 'pa:ss' });
  t.deepEqual(logins.find('registry.test:5000', 'team/app'), { username: 'one', password: 'b' });
  t.deepEqual(logins.find('registry.test:5000', 'team/app/sub'), {
    username: 'one',
    password: 'b',
  });
  t.deepEqual(logins.find('registry.test:5000', 'team/application'), all);
  t.deepEqual(logins.find('registry.test:5000', ''), all);
  t.deepEqual(logins.find('quay.test', 'x'), { token: 'given' });
  t.is(logins.find('registry.test', 'team/app'), undefined, 'another port is another registry');
  t.is(logins.find('gcr.test', 'x'), undefined);
});

test('RegistryLogins.parse() names the field that is wrong and nothing that it holds', (t) => {
  const cases: [unknown, RegExp][] = [
    [[], /^auths: /],
    [{ auths: [] }, /^auths: /],
    [{ auths: { 'a.test': 'hunter2' } }, /^auths\/a\.test: expected an object/],
    [{ auths: { 'a.test': {} } }, /^auths\/a\.test: holds no "auth"/],
    [{ auths: { 'a.test': { auth: secret('hunter2') } } }, /^auths\/a\.test\/auth: /],
    [{ auths: { 'a.test': { identitytoken: 'hunter2' } } }, /^auths\/a\.test\/identitytoken: /],
    [{ auths: { 'https:///': { auth: secret('a:hunter2') } } }, /^auths\/https:/],
  ];
  for (const [value, expected] of cases) {
    const error = t.throws(() => RegistryLogins.parse(JSON.stringify(value)), {
      code: 'ERR_CONFIG',
    });
    t.regex(error.message, expected);
    t.false(/hunter2/.test(error.message));
  }
  const malformed = t.throws(() => RegistryLogins.parse('{"auths": hunter2'), {
    code: 'ERR_CONFIG',
  });
  t.false(/hunter2/.test(malformed.message));
});

test('readLogins() refuses a file that others may read, and names it', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-logins-'));
  t.teardown(async () => rm(folder, { recursive: true }));
  const path = join(folder, 'auth.json');
  await t.throwsAsync(readLogins(path), {
    code: 'ERR_CONFIG',
    message: `${path}: cannot be read (ENOENT)`,
  });
  await writeFile(path, '{"auths":{"a.test":{}}}', { mode: 0o600 });
  await t.throwsAsync(readLogins(path), {
    message: /auth\.json: auths\/a\.test: holds no "auth"/,
  });
  await writeFile(path, JSON.stringify({ auths: { 'a.test': { auth: secret('u:p') } } }));
  const { logins, version } = await readLogins(path);
  t.deepEqual(logins.places, ['a.test']);
  for (const mode of [0o640, 0o604]) {
    await chmod(path, mode);
    await t.throwsAsync(readLogins(path), { message: /open to group or others: chmod 600/ });
  }
  await chmod(path, 0o600);
  t.not((await readLogins(path)).version, version, 'its mode was changed meanwhile');
});

import { generateKeyPairSync } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import test from 'ava';
import { HostKey } from './host-key.ts';
import { verifySignature } from './peer-id.ts';

async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'host-key-'));
  try {
    await run(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

test('HostKey.libp2pPrivateKey() is the same key to libp2p', async (t) => {
  const key = HostKey.generate();
  const theirs = privateKeyFromProtobuf(key.libp2pPrivateKey());
  t.is(peerIdFromPrivateKey(theirs).toString(), key.peerId);
  t.deepEqual(Buffer.from(privateKeyToProtobuf(theirs)), Buffer.from(key.libp2pPrivateKey()));
  const bytes = Buffer.from('to be signed');
  t.true(await theirs.publicKey.verify(bytes, key.sign(bytes)));
});

test('HostKey.fromPem() gives back what exportPem() wrote', (t) => {
  const key = HostKey.generate();
  const copy = HostKey.fromPem(key.exportPem());
  t.is(copy.peerId, key.peerId);
  t.true(verifySignature(key.peerId, Buffer.from('x'), copy.sign(Buffer.from('x'))));
});

test('HostKey.fromPem() refuses what is no ed25519 private key', (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pems = [
    '',
    'not a key',
    privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    publicKey.export({ format: 'pem', type: 'spki' }).toString(),
    HostKey.generate().exportPem().slice(0, 80),
  ];
  for (const pem of pems) t.throws(() => HostKey.fromPem(pem), { code: 'ERR_KEY_FILE' });
});

test('HostKey shows no secret when it is printed', (t) => {
  const key = HostKey.generate();
  const [, secret = ''] = key.exportPem().split('\n');
  t.true(secret.length > 40);
  for (const text of [inspect(key), JSON.stringify(key)]) {
    t.false(text.includes(secret));
  }
});

test('HostKey.load() makes a key that only its owner can read, and finds it again', async (t) => {
  await withFolder(async (folder) => {
    const file = join(folder, 'deep', 'er', 'host.key');
    const key = await HostKey.load(file);
    t.is((await stat(file)).mode & 0o777, 0o600);
    t.is((await stat(join(folder, 'deep'))).mode & 0o777, 0o700);
    t.is((await stat(join(folder, 'deep', 'er'))).mode & 0o777, 0o700);
    t.deepEqual(await readdir(join(folder, 'deep', 'er')), ['host.key']);
    t.is(await readFile(file, 'utf8'), key.exportPem());
    t.is((await HostKey.load(file)).peerId, key.peerId);
  });
});

test('HostKey.load() gives one key to all who start together', async (t) => {
  await withFolder(async (folder) => {
    const file = join(folder, 'host.key');
    const keys = await Promise.all(Array.from({ length: 10 }, async () => HostKey.load(file)));
    t.is(new Set(keys.map(({ peerId }) => peerId)).size, 1);
    t.deepEqual(await readdir(folder), ['host.key']);
  });
});

test('HostKey.load() refuses a file that group or others may use, and leaves it', async (t) => {
  await withFolder(async (folder) => {
    const file = join(folder, 'host.key');
    const { peerId } = await HostKey.load(file);
    for (const mode of [0o640, 0o604, 0o620, 0o602, 0o644]) {
      await chmod(file, mode);
      await t.throwsAsync(HostKey.load(file), { code: 'ERR_KEY_FILE' }, mode.toString(8));
    }
    await chmod(file, 0o600);
    t.is((await HostKey.load(file)).peerId, peerId);
  });
});

test('HostKey.load() refuses what is not a key, and never overwrites it', async (t) => {
  await withFolder(async (folder) => {
    const file = join(folder, 'host.key');
    for (const content of ['', 'not a key', 'x'.repeat(10_000)]) {
      await writeFile(file, content, { mode: 0o600 });
      await t.throwsAsync(HostKey.load(file), { code: 'ERR_KEY_FILE' });
      t.is(await readFile(file, 'utf8'), content);
    }
    await mkdir(join(folder, 'folder.key'));
    await t.throwsAsync(HostKey.load(join(folder, 'folder.key')), { code: 'ERR_KEY_FILE' });
    await t.throwsAsync(HostKey.load(join(file, 'below-a-file')), { code: 'ERR_KEY_FILE' });
  });
});

import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { ApiKeys } from './api-keys.ts';

test('ApiKeys.load() takes a private file with keys, and names what is wrong with others', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'http-api-'));
  t.teardown(async () => rm(folder, { recursive: true }));
  const file = join(folder, 'keys');
  const write = async (text: string, mode: number): Promise<void> => {
    await writeFile(file, text);
    await chmod(file, mode);
  };
  await write('# operators\nkey-one\r\n\n  key-two\n', 0o640);
  const keys = await ApiKeys.load(file);
  t.true(keys.accepts('Bearer key-one'));
  t.true(keys.accepts('Bearer key-two'));
  t.false(keys.accepts('Bearer #'));
  t.is(keys.mostOf('Bearer key-one'), 'release');
  await write('key-one\nkey-two  priority=normal\n', 0o600);
  const bounded = await ApiKeys.load(file);
  t.is(bounded.mostOf('Bearer key-two'), 'normal');
  t.is(bounded.mostOf('Bearer priority=normal'), undefined);
  await write('key-one priority=urgent\n', 0o600);
  await t.throwsAsync(ApiKeys.load(file), { code: 'ERR_CONFIG', message: /line 1/ });
  t.false(keys.accepts(undefined));
  await write('key-one\n', 0o644);
  await t.throwsAsync(ApiKeys.load(file), { code: 'ERR_CONFIG', message: /chmod 600/ });
  await write('# none\n', 0o600);
  await t.throwsAsync(ApiKeys.load(file), { code: 'ERR_CONFIG', message: /no key/ });
  await write('ok\ntwo words\n', 0o600);
  await t.throwsAsync(ApiKeys.load(file), { code: 'ERR_CONFIG', message: /line 2/ });
  await t.throwsAsync(ApiKeys.load(join(folder, 'absent')), { message: /ENOENT/ });
});

import { execFileSync } from 'node:child_process';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import { headerLines } from './header-lines.ts';

const nothing = { input: (): AsyncIterable<Uint8Array> => inputOf('') };

async function* inputOf(text: string): AsyncGenerator<Uint8Array> {
  for (const byte of Buffer.from(text)) yield Buffer.of(byte);
}

async function fileOf(text: string, mode = 0o600): Promise<string> {
  const path = join(temporaryFolder('headers'), 'headers');
  await writeFile(path, text);
  await chmod(path, mode);
  return path;
}

test('headerLines() puts the lines of a file where it was named', async (t) => {
  const path = await fileOf('Authorization: Basic c2VjcmV0\r\n\nX-Name: a: b\n  \nLast: é');
  const lines = await headerLines(['First: 1', `@${path}`, 'End: 2'], nothing);
  t.deepEqual(lines, [
    'First: 1',
    'Authorization: Basic c2VjcmV0',
    'X-Name: a: b',
    'Last: é',
    'End: 2',
  ]);
});

test('headerLines() reads standard input for @-, and only then', async (t) => {
  const places = { input: () => inputOf('A: 1\nB: 2\n') };
  t.deepEqual(await headerLines(['@-', 'C: 3'], places), ['A: 1', 'B: 2', 'C: 3']);
  let isAsked = false;
  const unread = { input: () => ((isAsked = true), inputOf('')) };
  t.deepEqual(await headerLines(['C: 3'], unread), ['C: 3']);
  t.false(isAsked);
  await t.throwsAsync(headerLines(['@-', '@-'], places), { message: /can be read once/ });
});

test('headerLines() reads what a shell hands over as a pipe', async (t) => {
  const module = join(import.meta.dirname, 'header-lines.ts');
  const code = `import { headerLines } from ${JSON.stringify(module)};
    process.stdout.write((await headerLines([process.argv[1]], {})).join());`;
  const script = '"$0" --input-type=module -e "$1" @<(echo "A: 1")';
  t.is(String(execFileSync('bash', ['-c', script, process.execPath, code])), 'A: 1');
});

test('headerLines() refuses files that others may read, and what holds no headers, and tells nothing of it', async (t) => {
  const secret = 'Authorization: Basic c2VjcmV0';
  const cases: readonly (readonly [string, RegExp])[] = [
    [`@${await fileOf(secret, 0o644)}`, /headers is open to group or others: chmod 600 it$/],
    [`@${await fileOf(secret, 0o640)}`, /open to group or others/],
    [`@${await fileOf(`${secret}\nc2VjcmV0\n`)}`, /headers, line 2: expected 'Name: value'$/],
    [`@${await fileOf('@other: c2VjcmV0')}`, /line 1: expected/],
    [`@${await fileOf('A: c2VjcmV0\n'.repeat(6_000))}`, /is longer than 65536 bytes/],
    ['@/nowhere/headers', /cannot read \/nowhere\/headers \(ENOENT\)/],
    ['@/', /open to group|EISDIR/],
    ['@', /expected a file name after @/],
  ];
  for (const [line, message] of cases) {
    const error = await t.throwsAsync(headerLines([line], nothing), { code: 'ERR_USAGE', message });
    t.regex(error?.message ?? '', /^--header: /);
    t.false(error?.message.includes('c2VjcmV0'));
  }
});

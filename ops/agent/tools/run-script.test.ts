import test from 'ava';
import type { ExecutionContext } from 'ava';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ErrorCode } from '../../../core/base/error-codes.ts';
import { CodedError } from '../../../core/base/error.ts';
import { scriptLimits } from '../../../core/base/script-limits.ts';
import { ownUser } from '../local-user.ts';
import { runScript } from './run-script.ts';
import type { ScriptOptions } from './run-script.ts';

interface Bench extends ScriptOptions {
  readonly parent: string;
  readonly output: string;
}

async function bench(t: ExecutionContext, refuse: readonly string[] = []): Promise<Bench> {
  const parent = await mkdtemp(join(tmpdir(), 'odonata-script-test-'));
  t.teardown(async () => rm(parent, { recursive: true, force: true }));
  return { user: ownUser(), marker: 'm'.repeat(32), refuse, parent, output: join(parent, 'out') };
}

async function* content(...chunks: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield Buffer.from(chunk);
}

test('runScript() passes arguments as they are, tells the exit code, and leaves nothing', async (t) => {
  const options = await bench(t);
  const script = `#!/bin/sh\nfor each in "$@"; do printf '%s|' "$each"; done > ${options.output}\nexit 7\n`;
  const args = ['; rm -rf /', '$(id)', '', 'a\nb', '-n'];
  t.is(await runScript(content('#!/bin', script.slice(6)), args, options), 7);
  t.is(await readFile(options.output, 'utf8'), `${args.join('|')}|`);
  t.deepEqual(await readdir(options.parent), ['out']);
});

test('runScript() gives a script nothing of the environment but what every command has', async (t) => {
  const options = await bench(t);
  const names = '#!/bin/sh\nenv | cut -d= -f1 | sort | tr "\\n" " " > ';
  t.is(await runScript(content(`${names}${options.output}\n`), [], options), 0);
  const found = (await readFile(options.output, 'utf8')).trim().split(' ');
  const known = ['HOME', 'LANG', 'LOGNAME', 'ODONATA_CALL', 'PATH', 'PWD', 'SHLVL', 'USER', '_'];
  t.deepEqual(
    found.filter((name) => !known.includes(name)),
    [],
  );
});

test('runScript() tells of a script that a signal ended', async (t) => {
  t.is(await runScript(content('#!/bin/sh\nkill -KILL $$\n'), [], await bench(t)), 137);
});

test('runScript() runs nothing of what it refuses', async (t) => {
  const options = await bench(t, ['\\brm .*-[a-z]*r[a-z]* /( |$)']);
  const touch = `#!/bin/sh\ntouch ${options.output}\n`;
  const broken = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from(touch);
    throw new CodedError('ERR_DIGEST_MISMATCH', 'something else');
  };
  const cases: [AsyncIterable<Uint8Array>, ErrorCode][] = [
    [content(`${touch}rm  -fr\t/ \n`), 'ERR_FORBIDDEN'],
    [content(touch.slice(2)), 'ERR_REQUEST'],
    [content(touch, ' '.repeat(scriptLimits.bytes)), 'ERR_REQUEST'],
    [content('#!/no/such/program\n'), 'ERR_COMMAND_START'],
    [broken(), 'ERR_DIGEST_MISMATCH'],
  ];
  for (const [script, code] of cases) {
    const error = await t.throwsAsync(runScript(script, [], options));
    t.is(CodedError.from(error).code, code);
  }
  t.deepEqual(await readdir(options.parent), []);
});

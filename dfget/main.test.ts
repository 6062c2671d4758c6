import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { LocalApi, TASK, doneEvent, inlineDone } from '../core/local-api/local-api.contract.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';

const main = join(import.meta.dirname, 'main.ts');
const URL_TEXT = 'http://o.example/file';

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly dir: string;
}

/** Runs the program as users do, in a folder of its own and with a home of its own. */
async function dfget(
  argv: readonly string[],
  given: { readonly input?: string; readonly stopOn?: Promise<unknown> } = {},
): Promise<Ran> {
  const dir = temporaryFolder('dfget');
  const { PATH } = process.env;
  const child = spawn(process.execPath, [main, ...argv], { cwd: dir, env: { PATH, HOME: dir } });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => (stdout += String(chunk)));
  child.stderr.on('data', (chunk) => (stderr += String(chunk)));
  const closed = once(child, 'close');
  child.stdin.end(given.input);
  if (given.stopOn !== undefined) {
    await given.stopOn;
    child.kill('SIGINT');
  }
  const [code] = await closed;
  return { code: code as number | null, stdout, stderr, dir };
}

test('dfget URL writes a file named after the URL and ends with the SUCCESS line', async (t) => {
  await using api = await LocalApi.open((_, { send }) => send(inlineDone('tiny')));
  const ran = await dfget([URL_TEXT, '--socket', api.socketPath]);
  t.is(ran.code, 0, ran.stderr);
  t.regex(
    ran.stdout,
    /^download SUCCESS cost:\d+\.\d{3}s length:4 reason:0 peers:0 seed:4 origin:0 cache:0\n$/,
  );
  t.is(ran.stderr, '');
  t.is(readFileSync(join(ran.dir, 'file'), 'utf8'), 'tiny');
});

test('dfget -O - gives the content alone on stdout, the text on stderr', async (t) => {
  await using api = await LocalApi.open((_, { send }) => send(doneEvent(300_000)));
  api.content = Buffer.alloc(300_000, 'y');
  const ran = await dfget(['-u', URL_TEXT, '-o', '-', '--socket', api.socketPath]);
  t.is(ran.code, 0);
  t.is(ran.stdout, 'y'.repeat(300_000));
  t.regex(ran.stderr, /^download SUCCESS/);
});

test('dfget -H takes headers from a file and from standard input', async (t) => {
  await using api = await LocalApi.open((_, { send }) => send(inlineDone('tiny')));
  const path = join(temporaryFolder('dfget'), 'headers');
  await writeFile(path, 'Authorization: Basic c2VjcmV0\n', { mode: 0o600 });
  const argv = [URL_TEXT, '--socket', api.socketPath, '-H', `@${path}`, '-H', '@-', '-H', 'C: 3'];
  const ran = await dfget(argv, { input: 'B: 2\n' });
  t.is(ran.code, 0, ran.stderr);
  const headers = { Authorization: 'Basic c2VjcmV0', B: '2', C: '3' };
  t.deepEqual(api.requests[0]?.headers, headers);
  await chmod(path, 0o644);
  const refused = await dfget(argv);
  t.is(refused.code, 1);
  t.regex(refused.stderr, /^dfget: ERR_USAGE: --header: .*headers is open to group or others/);
});

test('dfget --json gives one object a line and nothing on stderr', async (t) => {
  await using api = await LocalApi.open((_, { send }) => {
    send({ type: 'started', task: TASK, url: URL_TEXT, length: 4 });
    send(inlineDone('tiny'));
  });
  const ran = await dfget([URL_TEXT, '--json', '--socket', api.socketPath]);
  const lines = ran.stdout.trimEnd().split('\n');
  t.deepEqual(
    lines.map((line) => (JSON.parse(line) as { type: string }).type),
    ['started', 'done'],
  );
  t.is(ran.stderr, '');
  const failed = await dfget(['file', '--json']);
  t.is(failed.code, 1);
  t.like(JSON.parse(failed.stdout), { type: 'failed', code: 'ERR_URL', retryable: false });
  t.is(failed.stderr, '');
});

test('dfget exits 1 for bad usage and bad configuration, naming the flag on stderr', async (t) => {
  const usage = await dfget([URL_TEXT, '--timeout', '30']);
  t.is(usage.code, 1);
  t.regex(usage.stderr, /^dfget: ERR_USAGE: --timeout: expected a duration/);
  t.is(usage.stdout, '');
  const config = await dfget([URL_TEXT, '--config', '/nowhere.yaml']);
  t.is(config.code, 1);
  t.regex(config.stderr, /ERR_CONFIG/);
});

test('dfget exits 2 when the origin said no, with the FAIL line on stdout and advice on stderr', async (t) => {
  await using api = await LocalApi.open((_, { response }) => {
    const error = { code: 'ERR_ORIGIN_REFUSED', message: 'the origin answered 404' };
    response.statusCode = 502;
    response.write(JSON.stringify({ error }));
  });
  const ran = await dfget([URL_TEXT, '--socket', api.socketPath]);
  t.is(ran.code, 2);
  t.regex(
    ran.stdout,
    /^download FAIL\(2\) cost:.*s length:-1 reason:ERR_ORIGIN_REFUSED the origin answered 404\n$/,
  );
  t.regex(ran.stderr, /^dfget: ERR_ORIGIN_REFUSED: .*404\n {2}Check URL and credentials/);
});

test('dfget stopped by SIGINT exits 9, says that it resumes, and leaves no file', async (t) => {
  const asked = Promise.withResolvers<void>();
  await using api = await LocalApi.open(async (_, { closed }) => {
    asked.resolve();
    await closed;
  });
  const ran = await dfget([URL_TEXT, '--socket', api.socketPath], { stopOn: asked.promise });
  t.is(ran.code, 9);
  t.regex(ran.stdout, /^download FAIL\(9\) .*ERR_INTERRUPTED stopped by SIGINT/);
  t.regex(ran.stderr, /it resumes/);
  t.deepEqual(readdirSync(ran.dir), []);
});

test('dfget whose reader goes away ends with 8 and no stack trace', async (t) => {
  await using api = await LocalApi.open((_, { send }) => send(doneEvent(5_000_000)));
  api.content = Buffer.alloc(5_000_000, 'y');
  const script = '"$0" "$1" "$2" -O - --socket "$3" 2>"$4" | head -c 10; echo "${PIPESTATUS[0]}"';
  const errors = join(temporaryFolder('dfget'), 'stderr');
  const child = spawn('bash', [
    '-c',
    script,
    process.execPath,
    main,
    URL_TEXT,
    api.socketPath,
    errors,
  ]);
  const [stdout] = await Promise.all([Array.fromAsync(child.stdout), once(child, 'close')]);
  t.is(Buffer.concat(stdout as Buffer[]).toString(), 'yyyyyyyyyy8\n');
  const text = readFileSync(errors, 'utf8');
  t.regex(text, /ERR_OUTPUT_UNWRITABLE: cannot write standard output: its reader went away/);
  t.notRegex(text, /\n {4}at /);
});

test('dfget --print-config shows the source of each value and no secret', async (t) => {
  const ran = await dfget([URL_TEXT, '-s', '20M', '-H', 'Authorization: s3cret', '--print-config']);
  t.is(ran.code, 0);
  t.regex(ran.stdout, /^limit-rate: "20MiB\/s" # flag --limit-rate$/m);
  t.false(ran.stdout.includes('s3cret'));
});

test('dfget draws a bar on a terminal, and erases it before the last line', async (t) => {
  if (spawnSync('script', ['--version']).status !== 0) {
    t.pass('no script(1) here');
    return;
  }
  const sources = { fromPeers: 900, fromSeed: 0, fromOrigin: 0, fromCache: 0 };
  const drawn = Promise.withResolvers<void>();
  await using api = await LocalApi.open(async (_, { send }) => {
    send({ type: 'started', task: TASK, url: URL_TEXT, length: 1000 });
    send({ type: 'progress', received: 900, length: 1000, bytesPerSecond: 10, ...sources });
    await drawn.promise;
    send(inlineDone('x'));
  });
  const dir = temporaryFolder('dfget');
  const command = `stty cols 70; ${process.execPath} ${main} ${URL_TEXT} -O ${dir}/f --socket ${api.socketPath}`;
  const child = spawn('script', ['-qec', command, '/dev/null'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, TERM: 'xterm' },
  });
  let screen = '';
  for await (const chunk of child.stdout) {
    screen += String(chunk);
    if (screen.includes('90%')) drawn.resolve();
  }
  const parts = screen.split('\r\u001b[K');
  // On a slow machine a bar without news comes first.
  const told = parts.find((part) => part.includes('90%'));
  t.regex(told ?? '', /^ 90% \[=+> *\] 900 B\/1000 B 10 B\/s ETA 0:10/);
  t.true(parts.slice(1, -1).every((part) => part.length < 70 && !part.includes('\n')));
  t.regex(parts.at(-1) ?? '', /^download SUCCESS[^\r\n]*\r\n$/);
});

test('bin/dfget.cjs says a sentence when it is not built', async (t) => {
  const bin = join(import.meta.dirname, '..', 'bin');
  const dir = temporaryFolder('dfget');
  execFileSync('cp', ['-r', bin, dir]);
  const ran = spawnSync(process.execPath, [join(dir, 'bin', 'dfget.cjs')], { encoding: 'utf8' });
  t.is(ran.status, 1);
  t.is(ran.stderr, 'dfget is not part of this package.\n');
  execFileSync('mkdir', [join(dir, 'dfget')]);
  writeFileSync(join(dir, 'dfget', 'main.ts'), '');
  const checkout = spawnSync(process.execPath, [join(dir, 'bin', 'dfget.cjs')], {
    encoding: 'utf8',
  });
  t.regex(
    checkout.stderr,
    /^dfget is not built: run "npm run build", or "node dfget\/main.ts"\.\n$/,
  );
});

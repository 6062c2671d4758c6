import test from 'ava';
import { bindCommand, newProgram, runProgram } from '../core/base/command-line.ts';
import type { CodedError } from '../core/base/error.ts';
import { dfgetOptions } from './args.ts';
import { planDownload } from './plan.ts';
import type { DownloadPlan } from './plan.ts';

const URL_TEXT = 'https://o.example/dir/file.tar.gz?sig=1';

/** The spellings of today, of Dragonfly 1 and of Dragonfly 2. */
const NEW =
  `-O /out/f --digest sha256:${'AB'.repeat(32)} --tag T --application A --filtered-query-param sig ` +
  '--range 0-9 --limit-rate 20MB/s --timeout 5m --overwrite --disable-back-to-source ' +
  '--pattern source --explain --socket /s --no-progress';
const V1 =
  `-u ${URL_TEXT} -o /out/f -f sig&ts -s 20M --totallimit 10MB -e 30s --notbs -p p2p -i id ` +
  '-n a:8003=1,b=2 --node [::1] --console --verbose -b --showbar --minrate 64K --clientqueue 6 ' +
  '--home /h --ip 1.2.3.4 --port 1 --expiretime 3m --alivetime 5m --callsystem x --dfdaemon';
const V2 =
  `--url ${URL_TEXT} --output f --ratelimit 1m --disable-back-source --filter sig ` +
  '--daemon-sock /a --endpoint /b --show-progress -P 3 --logdir /l --workhome /w -l info';

async function planOf(
  argv: readonly string[],
  env: Record<string, string> = {},
): Promise<DownloadPlan> {
  let plan: DownloadPlan | undefined;
  const program = newProgram({ name: 'dfget', description: '', print: () => undefined });
  program.argument('[URL]');
  bindCommand(program, {
    table: dfgetOptions,
    env,
    action: async ({ options, args }) => {
      plan = planDownload(options, { args, user: { uid: 1000, home: '/home/ann' } });
    },
  });
  await runProgram(program, argv);
  if (plan === undefined) throw new Error('no plan');
  return plan;
}

async function refusal(...argv: string[]): Promise<CodedError> {
  return planOf(argv).then(
    () => {
      throw new Error(`accepted: ${argv.join(' ')}`);
    },
    (error: unknown) => error as CodedError,
  );
}

test('planDownload() makes the request of the spellings of today', async (t) => {
  const plan = await planOf([URL_TEXT, ...NEW.split(' '), '-H', 'X-A: 1', '-H', 'X-B:2']);
  t.deepEqual(plan.request, {
    url: URL_TEXT,
    headers: { 'X-A': '1', 'X-B': '2' },
    tag: 'T',
    application: 'A',
    filteredQueryParams: ['sig'],
    digest: `sha256:${'ab'.repeat(32)}`,
    range: { start: 0, end: 10 },
    backToSource: false,
    pattern: 'source',
    limitRate: 20 * 1024 * 1024,
    timeoutMs: 300_000,
    explain: true,
  });
  t.deepEqual(plan.output, { kind: 'file', path: '/out/f', overwrite: true });
  t.deepEqual(plan.sockets, ['/s']);
});

test('planDownload() reads the spellings of Dragonfly 1 as the same request', async (t) => {
  const md5 = 'cd'.repeat(16);
  const old = await planOf([...V1.split(' '), '--header', 'X-A: 1', '-m', md5]);
  t.deepEqual(old.request, {
    url: URL_TEXT,
    headers: { 'X-A': '1' },
    tag: 'id',
    filteredQueryParams: ['sig', 'ts'],
    digest: `md5:${md5}`,
    backToSource: false,
    limitRate: 10 * 1024 * 1024,
    timeoutMs: 30_000,
  });
  t.deepEqual(old.output, { kind: 'file', path: '/out/f', overwrite: false });
  t.deepEqual(old.engine.supernodes, ['a:8003', 'b:8002', '[::1]:8002']);
  t.deepEqual(old.notes, []);
});

test('planDownload() reads the spellings of Dragonfly 2', async (t) => {
  const plan = await planOf(V2.split(' '));
  t.like(plan.request, {
    limitRate: 1024 * 1024,
    backToSource: false,
    filteredQueryParams: ['sig'],
  });
  t.deepEqual(plan.sockets, ['/b']);
});

test('planDownload() names the output after the URL when no -O is given', async (t) => {
  const outputs: [string, string][] = [
    [URL_TEXT, 'file.tar.gz'],
    ['http://o/a/b/', 'b'],
    ['http://o/a%20b', 'a b'],
    ['http://o/a%2fb', ''],
    ['http://o/%2e%2e', ''],
    ['http://o', ''],
    ['http://o/a%00b', ''],
  ];
  for (const [url, path] of outputs) {
    if (path === '') t.regex((await refusal(url)).message, /-O is needed/, url);
    else t.like(await planOf([url]), { output: { kind: 'file', path } });
  }
});

test('planDownload() takes credentials out of the URL and makes a header of them', async (t) => {
  const { request } = await planOf(['http://ann:p%40ss@o.example/f']);
  t.is(request.url, 'http://o.example/f');
  t.deepEqual(request.headers, { Authorization: `Basic ${btoa('ann:p@ss')}` });
  const own = await planOf(['http://ann:x@o.example/f', '-H', 'authorization: Bearer T']);
  t.deepEqual(own.request.headers, { authorization: 'Bearer T' });
});

test('planDownload() looks for the user’s own daemon and then the machine’s, unless told not to', async (t) => {
  const asked = await planOf([URL_TEXT]);
  t.deepEqual(asked.sockets, ['/home/ann/.odonata/dfdaemon.sock', '/run/odonata/dfdaemon.sock']);
  const alone = await planOf([URL_TEXT, '--no-daemon', '--supernode', 's', '--join-token', 'T']);
  t.deepEqual(alone.sockets, []);
  t.deepEqual(alone.engine, {
    dataDir: '/home/ann/.odonata/dfget',
    supernodes: ['s:8002'],
    encryption: 'tls',
    joinToken: 'T',
  });
});

test('planDownload() takes options from the environment too', async (t) => {
  const plan = await planOf([URL_TEXT], { ODONATA_LIMIT_RATE: '1m', ODONATA_NO_DAEMON: 'true' });
  t.is(plan.request.limitRate, 1024 * 1024);
  t.deepEqual(plan.sockets, []);
});

test('planDownload() takes a class, and the levels of older scripts for none', async (t) => {
  t.is((await planOf([URL_TEXT, '--priority', 'release'])).request.priority, 'release');
  t.is((await planOf([URL_TEXT, '-P', 'warm-up'])).request.priority, 'warm-up');
  t.is((await planOf([URL_TEXT, '-P', '6'])).request.priority, undefined);
  t.is((await planOf([URL_TEXT])).request.priority, undefined);
  const wrong = { code: 'ERR_USAGE', message: /^--priority: .*release.*"urgent"/ };
  await t.throwsAsync(planOf([URL_TEXT, '--priority', 'urgent']), wrong);
});

test('planDownload() notes the older flags whose absence may surprise', async (t) => {
  const { notes } = await planOf([URL_TEXT, '--insecure', '--cacerts', '/c']);
  t.is(notes.length, 2);
});

test('planDownload() takes 0 for no timeout and no limit', async (t) => {
  const { request } = await planOf([URL_TEXT, '--timeout', '0', '-s', '0', '--totallimit', '0']);
  t.deepEqual(request, { url: URL_TEXT });
});

test('planDownload() refuses what makes no sense, naming the flag', async (t) => {
  const cases: [string[], string, RegExp][] = [
    [[], 'ERR_USAGE', /a URL is needed/],
    [['file'], 'ERR_URL', /not an absolute URL/],
    [['ftp://o/f'], 'ERR_URL', /scheme "ftp:"/],
    [[URL_TEXT, '-u', 'http://other/f'], 'ERR_USAGE', /--url and the argument/],
    [[URL_TEXT, '--digest', 'sha256:12'], 'ERR_USAGE', /--digest: sha256 has 64 hex digits/],
    [[URL_TEXT, '--digest', 'sha3:12'], 'ERR_USAGE', /--digest: expected ALGO:HEX/],
    [[URL_TEXT, '-m', 'xyz'], 'ERR_USAGE', /--md5/],
    [[URL_TEXT, '-m', '0'.repeat(32), '--digest', `md5:${'1'.repeat(32)}`], 'ERR_USAGE', /differ/],
    [[URL_TEXT, '-H', 'no colon'], 'ERR_USAGE', /--header: expected/],
    [[URL_TEXT, '-H', 'A: b\r\nC: d'], 'ERR_USAGE', /--header: the value of A/],
    [[URL_TEXT, '-H', 'A\n: b'], 'ERR_USAGE', /--header/],
    [[URL_TEXT, '-H', 'Range: bytes=0-1'], 'ERR_USAGE', /use --range/],
    [[URL_TEXT, '-H', 'Content-Length: 1'], 'ERR_USAGE', /set by the program/],
    [[URL_TEXT, '--range', '9-0'], 'ERR_USAGE', /--range/],
    [[URL_TEXT, '--range', '-5'], 'ERR_USAGE', /--range/],
    [[URL_TEXT, '--range', 'a-b'], 'ERR_USAGE', /--range/],
    [[URL_TEXT, '--timeout', '30'], 'ERR_USAGE', /--timeout: expected a duration/],
    [[URL_TEXT, '--timeout', '30d'], 'ERR_USAGE', /--timeout/],
    [[URL_TEXT, '-p', 'cdn'], 'ERR_USAGE', /--pattern: expected one of p2p, source/],
    [[URL_TEXT, '-I', '*.rpm'], 'ERR_USAGE', /--include-files/],
    [[URL_TEXT, '--max-depth', '1'], 'ERR_USAGE', /--max-depth: only goes with --recursive/],
    [[URL_TEXT, '-r', '-O', '-'], 'ERR_USAGE', /a folder cannot go to standard output/],
    [[URL_TEXT, '-r', '--range', '0-1'], 'ERR_USAGE', /--range: does not go with --recursive/],
    [[URL_TEXT, '-r', '-m', '0'.repeat(32)], 'ERR_USAGE', /--digest: is of one file/],
    [[URL_TEXT, '-r', '--max-files', '0'], 'ERR_USAGE', /--max-files/],
    [['oci://r.example/a:v1'], 'ERR_USAGE', /-O is needed/],
    [['s3://key:secret@bucket/k'], 'ERR_URL', /hold no user and no password/],
    [[URL_TEXT, '-n', 'a:b'], 'ERR_USAGE', /--node/],
    [[URL_TEXT, '--json', '-O', '-'], 'ERR_USAGE', /--json and -O -/],
    [[URL_TEXT, '--original-offset'], 'ERR_USAGE', /unknown option/],
  ];
  for (const [argv, code, message] of cases) {
    const error = await refusal(...argv);
    t.is<string, string>(error.code, code, argv.join(' '));
    t.regex(error.message, message);
  }
});

test('planDownload() plans a folder, named after the URL unless -O says otherwise', async (t) => {
  const plan = await planOf(['-r', 'https://o.example/pub/debs/', '-I', '*.deb', '-X', 'old/']);
  t.deepEqual(plan.folder, {
    include: ['*.deb'],
    exclude: ['old/'],
    maxFiles: 10_000,
    maxDepth: undefined,
    concurrency: 4,
  });
  t.like(plan.output, { kind: 'file', path: 'debs' });
  const more = ['--max-depth', '2', '--max-files', '5', '--concurrency', '9', '-O', '/out'];
  const other = await planOf(['-r', 's3://bucket/a/b', ...more]);
  t.like(other.folder, { maxDepth: 2, maxFiles: 5, concurrency: 9 });
  t.like(other.output, { path: '/out' });
  t.is((await planOf([URL_TEXT])).folder, undefined);
});

test('planDownload() takes every scheme that there is something to make of', async (t) => {
  for (const url of ['file:///etc/hosts', 's3://bucket/dir/a%20b', 'oci://r.example/a:v1']) {
    t.is((await planOf([url, '-O', 'out'])).request.url, url);
  }
});

test('planDownload() never shows the value of a header it refuses', async (t) => {
  t.false(
    (await refusal(URL_TEXT, '-H', 'Authorization: s3cret\u0001')).message.includes('s3cret'),
  );
});

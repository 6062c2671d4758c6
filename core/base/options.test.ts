import { chmodSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import { bindCommand, errorLines, newProgram, runProgram } from './command-line.ts';
import { CodedError } from './error.ts';
import { commonOptions, defineOptions } from './options.ts';
import type { OptionValues } from './options.ts';
import { renderOptionsDoc } from './render-options.ts';
import { optionValues, resolveOptions } from './resolve-options.ts';
import type { OptionInputs } from './resolve-options.ts';

const table = defineOptions({
  ...commonOptions,
  'data-dir': { kind: 'path', short: 'd', required: true, help: 'Where state is kept' },
  'http-port': { kind: 'integer', default: 8001, min: 1, max: 65_535, help: 'Port of the API' },
  quota: { kind: 'size', default: '10GiB', help: 'Most bytes stored' },
  'upload-limit': { kind: 'rate', aliases: ['up'], help: 'Most bytes a second sent' },
  ttl: { kind: 'duration', default: '24h', help: 'How long it holds' },
  seed: { kind: 'boolean', help: 'Ask for the role of a seed' },
  progress: { kind: 'boolean', default: true, help: 'Draw no bar' },
  listen: { kind: 'ip', default: '127.0.0.1', help: 'Where to listen' },
  supernode: { kind: 'hostPort', list: true, defaultPort: 8002, help: 'Supernode to ask' },
  allow: { kind: 'cidr', list: true, help: 'Networks of origins' },
  encryption: { kind: 'choice', choices: ['tls', 'none'], default: 'tls', help: 'Of piece links' },
  registry: { kind: 'url', help: 'Upstream registry' },
  idc: { kind: 'string', help: 'Name of the place' },
  header: { kind: 'string', short: 'H', list: true, separator: '\n', secret: true, help: 'Header' },
  'join-token': { kind: 'secret', help: 'Token to join with' },
});

type Values = OptionValues<typeof table>;

interface Run {
  readonly options: Values;
  readonly args: readonly string[];
  readonly warnings: readonly string[];
  readonly printed: string;
}

/** Runs a command line with the table above; `options` is undefined when the action was not reached. */
async function run(argv: readonly string[], env: Record<string, string> = {}): Promise<Run> {
  let printed = '';
  let reached: Omit<Run, 'printed'> | undefined;
  const program = newProgram({
    name: 'tool',
    description: 'A tool',
    print: (text) => (printed += text),
  });
  program.argument('[word]', 'a word');
  bindCommand(program, {
    table,
    env,
    action: async (context) => {
      reached = context;
    },
  });
  await runProgram(program, argv);
  return { ...(reached as Run), printed };
}

async function refused(
  argv: readonly string[],
  env: Record<string, string> = {},
): Promise<CodedError> {
  return run(argv, env).then(
    () => {
      throw new Error(`accepted: ${argv.join(' ')}`);
    },
    (error: unknown) => error as CodedError,
  );
}

function temporaryFile(text: string, mode = 0o600): string {
  const path = join(temporaryFolder('options'), 'file.yaml');
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

test('bindCommand() gives typed values of every kind from flags', async (t) => {
  const flags =
    '-d~/state --http-port=9000 --quota 1.5g --up 1mbit --ttl 1h30m --seed --no-progress --listen [::] ' +
    '--supernode a --supernode [::1]:9 --allow 10.0.0.1 --encryption none --registry https://r.example';
  const { options, args } = await run([...flags.split(' '), '-H', 'A: 1, 2', '-H', 'B: 3', 'word']);
  const dataDir: string = options.dataDir;
  const encryption: 'tls' | 'none' = options.encryption;
  const idc: string | undefined = options.idc;
  t.is(dataDir, `${homedir()}/state`);
  t.is(options.httpPort, 9000);
  t.is(options.quota, 1.5 * 1024 ** 3);
  t.is(options.uploadLimit, 125_000);
  t.is(options.ttl, 5_400_000);
  t.true(options.seed);
  t.false(options.progress);
  t.is(options.listen, '::');
  t.deepEqual(options.supernode, [
    { host: 'a', port: 8002 },
    { host: '::1', port: 9 },
  ]);
  t.deepEqual(options.allow, ['10.0.0.1/32']);
  t.is(encryption, 'none');
  t.is(options.registry, 'https://r.example');
  t.deepEqual(options.header, ['A: 1, 2', 'B: 3']);
  t.is(idc, undefined);
  t.deepEqual(args, ['word']);
});

test('bindCommand() fills in defaults; booleans without one are false', async (t) => {
  const { options } = await run(['--data-dir', '/d']);
  t.like(options, { httpPort: 8001, quota: 10 * 1024 ** 3, ttl: 86_400_000, encryption: 'tls' });
  t.like(options, { seed: false, progress: true, uploadLimit: undefined });
  t.deepEqual(options.supernode, []);
});

test('resolveOptions() lets flag win over environment over file over default', async (t) => {
  const config = temporaryFile('data-dir: /file\nidc: file\nhttp-port: 1\nquota: 3k\n');
  const env = { ODONATA_DATA_DIR: '/env', ODONATA_IDC: 'env' };
  const { options } = await run(['--config', config, '-d', '/flag'], env);
  t.like(options, { dataDir: '/flag', idc: 'env', httpPort: 1, quota: 3072, ttl: 86_400_000 });
});

test('resolveOptions() reads lists and booleans from the environment; an empty variable is not set', async (t) => {
  const { options } = await run([], {
    ODONATA_DATA_DIR: '/d',
    ODONATA_SUPERNODE: 'a:1, b:2',
    ODONATA_HEADER: 'A: 1, 2\nB: 3',
    ODONATA_SEED: 'yes',
    ODONATA_NO_PROGRESS: '1',
    ODONATA_IDC: '',
  });
  t.is(options.supernode.length, 2);
  t.deepEqual(options.header, ['A: 1, 2', 'B: 3']);
  t.like(options, { seed: true, progress: false, idc: undefined });
});

test('resolveOptions() reads lists, numbers and booleans of a YAML file', async (t) => {
  const config = temporaryFile(
    'data-dir: /d\nsupernode: [a, "[::1]:9"]\nallow: 10.0.0.0/8\nquota: 4096\nno-progress: true\nseed: on\n',
  );
  const { options } = await run([], { ODONATA_CONFIG: config });
  t.is(options.supernode.length, 2);
  t.deepEqual(options.allow, ['10.0.0.0/8']);
  t.like(options, { quota: 4096, progress: false, seed: true });
});

test('a bad value is refused with the name of the flag and what is expected', async (t) => {
  const cases: [string[], RegExp][] = [
    [['--http-port', '0'], /^--http-port: expected a whole number from 1 to 65535, got "0"$/],
    [['--http-port', '80a'], /--http-port/],
    [['--quota', 'much'], /--quota: expected a size/],
    [['--up', '1mbps'], /--up: expected bytes per second/],
    [['--ttl', '30'], /--ttl: expected a duration with its unit/],
    [['--supernode', 'a:b'], /--supernode: expected HOST:PORT.*8002/],
    [['--allow', '10/8'], /--allow: expected a network/],
    [['--encryption', 'ssl'], /--encryption: expected one of tls, none, got "ssl"/],
    [['--registry', 'r.example'], /--registry: expected an absolute/],
    [['--listen', 'localhost'], /--listen: expected an IP address/],
    [['--data-dir', ''], /--data-dir: expected a path/],
    [['--datadir', '/d'], /unknown option '--datadir' \(did you mean --data-dir\?\)/],
    [['a', 'b'], /too many arguments/],
    [['--quota'], /--quota/],
    [[], /^--data-dir is required \(or ODONATA_DATA_DIR, or data-dir: in the file/],
  ];
  for (const [argv, message] of cases) {
    const error = await refused(argv);
    t.is(error.code, 'ERR_USAGE', argv.join(' '));
    t.regex(error.message, message);
  }
});

test('a bad value of the environment or the file is ERR_CONFIG and names the variable or key', async (t) => {
  const variable = await refused(['-d', '/d'], { ODONATA_QUOTA: 'much' });
  t.is(variable.code, 'ERR_CONFIG');
  t.regex(variable.message, /^ODONATA_QUOTA: expected a size/);
  const files: [string, RegExp][] = [
    ['quota: much', /file.yaml: quota: expected a size/],
    ['quota: [1, 2]', /quota: expected a size/],
    ['idc: 1.10', /idc: expected text; put quotes/],
    ['idc:', /idc: expected text/],
    ['http-port: 1.5', /http-port: expected a whole number/],
    ['no-seed: perhaps', /no-seed: expected true or false/],
    ['datadir: /d', /unknown key "datadir" \(did you mean data-dir\?\)/],
    ['up: 5', /unknown key "up" \(did you mean upload-limit\?\)/],
    ['config: /x', /unknown key "config"/],
    ['- a', /expected "key: value" lines/],
    ['a: [', /file.yaml: /],
    ['idc: a\nidc: b', /unique/],
  ];
  for (const [text, message] of files) {
    const error = await refused(['-d', '/d', '--config', temporaryFile(text)]);
    t.is(error.code, 'ERR_CONFIG', text);
    t.regex(error.message, message);
  }
  t.regex(
    (await refused(['--config', '/nowhere/x.yaml'])).message,
    /cannot read \/nowhere.*ENOENT/,
  );
});

test('a secret comes from its flag or its file, with a warning when others can read that', async (t) => {
  const closed = await run(['-d', '/d', '--join-token', `@${temporaryFile('  s3cret\n')}`]);
  t.is(closed.options.joinToken, 's3cret');
  t.deepEqual(closed.warnings, []);
  const open = await run(['-d', '/d', '--join-token', `@${temporaryFile('s3cret', 0o644)}`]);
  t.is(open.options.joinToken, 's3cret');
  t.regex(open.warnings[0] ?? '', /can be read by other users/);
  t.is((await refused(['-d', '/d', '--join-token', '@/nowhere'])).code, 'ERR_USAGE');
  t.regex((await refused(['--join-token', `@${temporaryFile('\n')}`])).message, /is empty/);
});

test('--print-config names each source, hides secrets, and is a file that --config takes', async (t) => {
  const argv = ['-d', '/d', '--up', '20M', '--join-token', 's3cret', '-H', 'Authorization: s3cret'];
  const env = { ODONATA_TTL: '90m', ODONATA_SUPERNODE: 'a,b' };
  const { printed, options } = await run([...argv, '--print-config'], env);
  t.is<unknown, unknown>(options, undefined);
  t.regex(printed, /^data-dir: "\/d" # flag --data-dir$/m);
  t.regex(printed, /^upload-limit: "20MiB\/s" # flag --up$/m);
  t.regex(printed, /^ttl: "90m" # environment ODONATA_TTL$/m);
  t.regex(printed, /^quota: "10GiB" # default$/m);
  t.regex(printed, /^# idc: not set$/m);
  t.regex(printed, /^join-token: "\*\*\*" # flag/m);
  t.false(printed.includes('s3cret'));
  const again = await run(['--config', temporaryFile(printed)]);
  t.like(again.options, { dataDir: '/d', uploadLimit: 20 * 1024 ** 2, ttl: 5_400_000 });
  t.is(again.options.supernode.length, 2);
  const missing = await run(['--print-config']);
  t.regex(missing.printed, /^# data-dir: not set$/m);
});

test('a refused secret does not show up in the message', async (t) => {
  const error = await refused(['-d', '/d'], { ODONATA_JOIN_TOKEN: '@s3cret\0file' });
  t.false(error.message.includes('s3cret'));
});

test('runProgram() understands the = spellings of Go programs', async (t) => {
  const { options, args } = await run(['-d=/d', '--seed=false', '--progress=false', '--', '-d=/x']);
  t.like(options, { dataDir: '/d', seed: false, progress: false });
  t.deepEqual(args, ['-d=/x']);
});

test('runProgram() prints help and version and does not run the action', async (t) => {
  const help = await run(['--help']);
  t.is<unknown, unknown>(help.options, undefined);
  t.regex(help.printed, /-d, --data-dir <PATH> +Where state is kept \(required\)/);
  t.regex(help.printed, /--no-progress +Draw no bar/);
  t.notRegex(help.printed, /--up |--no-seed|--progress /);
  t.regex((await run(['-V'])).printed, /^tool \d+\.\d+\.\d+\n$/);
});

test('a subcommand has a table of its own, with the same names', async (t) => {
  const seen: unknown[] = [];
  const program = newProgram({ name: 'tool', description: 'A tool', print: () => undefined });
  bindCommand(program, { table, env: {}, action: async () => void seen.push('root') });
  const own = defineOptions({ 'data-dir': { kind: 'path', required: true, help: 'Where' } });
  const create = program.command('token').command('create');
  bindCommand(create, {
    table: own,
    env: {},
    action: async ({ options }) => void seen.push(options.dataDir),
  });
  await runProgram(program, ['token', 'create', '--data-dir', '/t']);
  await runProgram(program, ['--data-dir', '/r']);
  t.deepEqual(seen, ['/t', 'root']);
  await t.throwsAsync(runProgram(program, ['tokn']), { message: /tokn|too many/ });
});

test('renderOptionsDoc() has one row for each option, with its default and its spellings', (t) => {
  const doc = renderOptionsDoc('tool', table);
  for (const name of Object.keys(table)) t.regex(doc, new RegExp(`^\\| \`--(no-)?${name}\``, 'm'));
  t.regex(doc, /`--upload-limit`, `--up`/);
  t.regex(doc, /`--encryption` \| one of tls, none \| tls \|/);
  t.regex(doc, /`--no-progress`/);
});

test('errorLines() says code, what is wrong, and what to do', (t) => {
  const lines = errorLines('tool', new CodedError('ERR_USAGE', '--x: wrong'));
  t.is(lines, 'tool: ERR_USAGE: --x: wrong\n  Correct the named flag; --help lists them.\n');
});

test('a record is a mapping of the file, or JSON elsewhere; its list has one a line in the environment', (t) => {
  const records = defineOptions({
    rules: { kind: 'record', list: true, separator: '\n', help: 'Rules' },
  });
  const of = (inputs: Partial<OptionInputs>): unknown =>
    optionValues(records, resolveOptions(records, { flags: [], env: {}, ...inputs })).rules;
  const rules = [{ url: 'a,b', to: ['x'] }, { url: 'c' }];
  const texts = rules.map((rule) => JSON.stringify(rule));
  t.deepEqual(of({ file: { path: 'f', entries: { rules } } }), rules);
  t.deepEqual(of({ env: { ODONATA_RULES: texts.join('\n') } }), rules);
  const flags = texts.map((value) => ({ name: 'rules', spelled: '--rules', value }));
  t.deepEqual(of({ flags }), rules);
  for (const value of ['a: b', '[1]', 'null', '"a"']) {
    const wrong = [{ name: 'rules', spelled: '--rules', value }];
    t.throws(() => of({ flags: wrong }), { message: /expected a mapping in the file/ });
  }
  for (const value of [['a'], 7, null]) {
    const entries = { rules: [value] };
    t.throws(() => of({ file: { path: 'f', entries } }), { code: 'ERR_CONFIG' });
  }
});

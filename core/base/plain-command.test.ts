import test from 'ava';
import { array, assert, asyncProperty, constantFrom, oneof, string } from 'fast-check';
import { bindCommand, newProgram, runProgram } from './command-line.ts';
import type { CommandContext } from './command-line.ts';
import { CodedError } from './error.ts';
import { spellingsOf } from './flag-spellings.ts';
import { commonOptions, defineOptions } from './options.ts';
import { readPlainCommand } from './plain-command.ts';

const table = defineOptions({
  ...commonOptions,
  output: { kind: 'path', short: 'O', aliases: ['o', 'out'], help: 'Where to' },
  header: { kind: 'string', short: 'H', list: true, help: 'Header' },
  size: { kind: 'size', default: '1k', help: 'How much' },
  force: { kind: 'boolean', short: 'f', aliases: ['y', 'yes'], help: 'Do it' },
  progress: { kind: 'boolean', short: 'p', default: true, aliases: ['quiet'], help: 'No bar' },
});

type Context = CommandContext<typeof table>;

/** What commander makes of it; the code of its refusal; 'printed' when the action was not reached. */
async function throughCommander(
  argv: readonly string[],
  env: Record<string, string>,
): Promise<Context | string> {
  let reached: Context | string = 'printed';
  const program = newProgram({ name: 'tool', description: 'A tool', print: () => undefined });
  program.argument('[word]', 'a word');
  const action = async (context: Context): Promise<void> => void (reached = context);
  bindCommand(program, { table, env, action });
  try {
    await runProgram(program, argv);
  } catch (error) {
    return CodedError.from(error).code;
  }
  return reached;
}

const spellings = Object.entries(table)
  .flatMap(([name, spec]) => spellingsOf(name, spec))
  .flatMap(({ short, long }) => [short, long])
  .filter((word) => word !== undefined);

const word = oneof(
  constantFrom(...spellings),
  constantFrom(...spellings).map((flag) => `${flag}=2k`),
  constantFrom(...spellings).map((flag) => `${flag}2k`),
  constantFrom(...spellings).map((flag) => `${flag}=true`),
  constantFrom('-', '--', '-h', '--help', '-V', '-fp', '-1', '--nothing', '--size=', '2k', 'a', ''),
  string({ maxLength: 4 }),
);
const environment = constantFrom<Record<string, string>[]>(
  {},
  { ODONATA_SIZE: '3k' },
  { ODONATA_SIZE: 'much' },
  { ODONATA_CONFIG: '/nowhere.yaml' },
  { ODONATA_PRINT_CONFIG: 'yes' },
);

test('readPlainCommand() says what commander says, or nothing', async (t) => {
  let plain = 0;
  await assert(
    asyncProperty(array(word, { maxLength: 5 }), environment, async (argv, env) => {
      const read = readPlainCommand(argv, { table, env });
      if (read === undefined) return;
      plain += 1;
      t.deepEqual(read, await throughCommander(argv, env), JSON.stringify(argv));
    }),
    { numRuns: 3_000 },
  );
  t.true(plain > 100, `${plain} were plain`);
});

test('readPlainCommand() reads flags, values and the argument', (t) => {
  const argv = ['http://o/f', '-O', '-', '--size=2k', '-H', 'a: 1', '-H', '-b', '--yes', '--quiet'];
  const read = readPlainCommand(argv, { table, env: { ODONATA_HEADER: 'c' } });
  t.deepEqual(read?.args, ['http://o/f']);
  t.like(read?.options, {
    output: '-',
    size: 2048,
    header: ['a: 1', '-b'],
    force: true,
    progress: false,
  });
});

test('readPlainCommand() leaves help, files, mistakes and bundled flags to commander', (t) => {
  const lines = [
    ['--help'],
    ['-V'],
    ['--config', 'f'],
    ['--print-config'],
    ['--sise', '1k'],
    ['--size', 'much'],
    ['-O'],
    ['--force=true'],
    ['-O=x'],
    ['-Ox'],
    ['-fp'],
    ['a', 'b'],
    ['--', 'a'],
  ];
  for (const argv of lines) {
    t.is(readPlainCommand(argv, { table, env: {} }), undefined, argv.join(' '));
  }
  const env = { ODONATA_CONFIG: '/etc/tool.yaml' };
  t.is(readPlainCommand([], { table, env }), undefined);
});

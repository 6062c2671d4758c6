/** dfops: what operators ask of a supernode, over its HTTP API. */
import { SystemClock } from '../../core/base/clock.ts';
import { errorLines, newProgram, runProgram } from '../../core/base/command-line.ts';
import { exitCodes } from '../../core/base/error-codes.ts';
import { CodedError } from '../../core/base/error.ts';
import { stopOnSignals } from '../../core/base/stop-signals.ts';
import { addCommands } from './commands.ts';
import { confirmer } from './confirm.ts';
import { refuseSecrets } from './preheat-options.ts';

const { env, stdout, stderr } = process;
const print = (text: string): void => void stdout.write(text);
const complain = (text: string): void => void stderr.write(text);
// A reader that went away (`preheat list | head`) is no reason to fail.
stdout.on('error', () => undefined);
stderr.on('error', () => undefined);
// Should the work ever stop without a result, that is a defect and must not look like success.
process.exitCode = exitCodes.internal;
const argv = process.argv.slice(2);
try {
  refuseSecrets(argv);
  const program = newProgram({
    name: 'dfops',
    description:
      'Operate a cell: run commands on its hosts, bring content to them beforehand, limit what they move',
    print,
  });
  const signal = stopOnSignals();
  const tools = { env, clock: new SystemClock(), signal, print, complain };
  const ofProcess = { input: () => process.stdin, output: stdout };
  addCommands(program, { ...tools, ...ofProcess, confirm: confirmer(process, signal) });
  await runProgram(program, argv);
  process.exitCode = exitCodes.done;
} catch (error) {
  const coded = CodedError.from(error);
  if (argv.includes('--json'))
    print(`${JSON.stringify({ type: 'failed', ...coded.toObject() })}\n`);
  else complain(errorLines('dfops', coded));
  if (coded.code === 'ERR_INTERNAL' && error instanceof Error && !(error instanceof CodedError)) {
    complain(`${error.stack ?? error.message}\n`);
  }
  process.exitCode = coded.facts.exit;
}
await Promise.all([flushed(stdout), flushed(stderr)]);
process.exit();

/** Resolves when what was written to `stream` has left this process, or never will. */
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => stream.write('', () => resolve()));
}

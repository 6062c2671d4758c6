/**
 * The tool behind `file.put`, `package.install`, `package.switch` and `script.run`. A dfdaemon starts it for a call, with what the file
 * of the host says first and what the caller says after it. It begins as the user of the dfdaemon, who alone may use the
 * local API, fetches the content, and is the user of the rules from then on: nothing on the disk is touched before.
 */
import { SystemClock } from '../../../core/base/clock.ts';
import { exitCodes } from '../../../core/base/error-codes.ts';
import { CodedError } from '../../../core/base/error.ts';
import { printable } from '../../../core/base/printable.ts';
import { randomHex } from '../../../core/base/random.ts';
import { stopOnSignals } from '../../../core/base/stop-signals.ts';
import { parser } from '../../../core/wire/parse-message.ts';
import type { LocalUser } from '../local-user.ts';
import { markerVariable } from '../process-tree.ts';
import { becomeUser } from './become-user.ts';
import { fetchThroughDaemon } from './daemon-content.ts';
import { PackageFolder, versionOf } from './package-folder.ts';
import { installPackage } from './package-install.ts';
import type { PackageTools } from './package-program.ts';
import { resumePackage } from './package-resume.ts';
import { switchPackage } from './package-switch.ts';
import { putFile } from './put-file.ts';
import { runScript } from './run-script.ts';
import { parseInstall, parsePut, parseScript, parseSwitch } from './tool-requests.ts';
import { ToolRules } from './tool-rules.ts';

const { env, stdout, stderr } = process;
const clock = new SystemClock();
const signal = stopOnSignals();
const say = (text: string): void => void stderr.write(`${text.trimEnd()}\n`);
const means = { clock, signal, say };
const parseRules = parser(ToolRules, { code: 'ERR_USAGE', strict: true });

// Whoever reads may go away with the daemon; what was begun is ended all the same.
stdout.on('error', () => undefined);
stderr.on('error', () => undefined);
// Should the work ever stop without a result, that is a defect and must not look like success.
process.exitCode = exitCodes.internal;
process.umask(0o022);
const [first = '', ...args] = process.argv.slice(2);
try {
  process.exitCode = await run(parseRules(JSON.parse(first)), args);
} catch (error) {
  const { code, message, facts } = CodedError.from(error);
  say(`${code}: ${message.split('\n').map(printable).join('\n')}`);
  process.exitCode = facts.exit;
}
await Promise.all([flushed(stdout), flushed(stderr)]);
process.exit();

async function run(rules: ToolRules, words: readonly string[]): Promise<number> {
  switch (rules.tool) {
    case 'file.put': {
      const { folder } = rules;
      const request = parsePut(words);
      const content = await fetchThroughDaemon(request, { socket: rules.socket, ...means });
      await become(rules);
      print(await putFile(request, content, { folder, signal }));
      return exitCodes.done;
    }
    case 'package.install': {
      const request = parseInstall(words);
      const { folder, socket, keep } = rules;
      const content = await fetchThroughDaemon(request, { socket, ...means });
      const tools = toolsFor(await become(rules));
      await using opened = await PackageFolder.open(folder, { clock });
      print(await installPackage(opened, request, { ...tools, content, keep }));
      return exitCodes.done;
    }
    case 'package.switch': {
      const request = parseSwitch(words);
      const tools = toolsFor(await become(rules));
      await using opened = await PackageFolder.open(rules.folder, { clock });
      const { exit, ...result } = await switchPackage(opened, request, tools);
      print(result);
      // The version runs, whatever becomes of the old ones.
      if (exit === exitCodes.done) await opened.prune(rules.keep).catch(sayWhy);
      return exit;
    }
    case 'package.resume': {
      const tools = toolsFor(await become(rules));
      await using opened = await PackageFolder.open(rules.folder, { clock });
      const directory = await resumePackage(opened, tools);
      if (directory !== undefined) stdout.write(`${versionOf(directory)}\n`);
      await opened.sweep().catch(sayWhy);
      return exitCodes.done;
    }
    case 'script.run': {
      const request = parseScript(words);
      const content = await fetchThroughDaemon(request, { socket: rules.socket, ...means });
      const { user, marker } = toolsFor(await become(rules));
      return runScript(content, request.args, { user, marker, refuse: rules.refuse });
    }
  }
}

async function become({ user }: ToolRules): Promise<LocalUser> {
  // Loaded only when they are used, and then the user may not be one who can read this program.
  await Promise.all([import('level'), import('yaml')]);
  return becomeUser(user);
}

function sayWhy(error: unknown): void {
  say(`old versions are not taken away: ${CodedError.from(error).message}`);
}

function toolsFor(user: LocalUser): PackageTools {
  return { user, marker: env[markerVariable] ?? randomHex(16), clock, signal, say };
}

function print(result: object): void {
  stdout.write(`${JSON.stringify(result)}\n`);
}

/** Resolves when what was written to `stream` has left this process, or never will. */
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => stream.write('', () => resolve()));
}

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CodedError, systemCode } from '../../../core/base/error.ts';
import { isAnyFound, lineOf } from '../../../core/base/linear-pattern.ts';
import { scriptLimits } from '../../../core/base/script-limits.ts';
import { environmentOf } from '../launcher.ts';
import type { LocalUser } from '../local-user.ts';
import { markerVariable } from '../process-tree.ts';

export interface ScriptOptions {
  /** Who this process is, and so the script. */
  readonly user: LocalUser;
  /** The mark of the call, which all that must end with it carries. */
  readonly marker: string;
  /** Patterns of which none may be found in a line of the script. */
  readonly refuse: readonly string[];
  /** The folder to make a folder in for the script; default that of the system. */
  readonly parent?: string;
}

/**
 * Runs a script by what its first line names, with arguments as they are and the outputs of this process, in `/`; its exit
 * code, or 128 and the number of a signal. ERR_FORBIDDEN for one that this host refuses, ERR_REQUEST for what is none
 * or too long, ERR_COMMAND_START, and errors of the content.
 */
export async function runScript(
  content: AsyncIterable<Uint8Array>,
  args: readonly string[],
  { user, marker, refuse, parent = tmpdir() }: ScriptOptions,
): Promise<number> {
  const script = await whole(content);
  refuseLines(script.toString(), refuse);
  const folder = await mkdtemp(join(parent, 'odonata-script-'));
  try {
    const file = join(folder, 'script');
    await writeFile(file, script, { mode: 0o700, flag: 'wx' });
    return await run(file, args, { ...environmentOf(user), [markerVariable]: marker });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Nothing of it runs before all of it is here and has its digest. */
async function whole(content: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of content) {
    bytes += chunk.length;
    if (bytes > scriptLimits.bytes) {
      throw new CodedError('ERR_REQUEST', `a script has at most ${scriptLimits.bytes} bytes`);
    }
    chunks.push(chunk);
  }
  const script = Buffer.concat(chunks);
  if (script.subarray(0, 2).toString() === '#!') return script;
  throw new CodedError('ERR_REQUEST', 'a script begins with #! and the program that reads it');
}

function refuseLines(script: string, refuse: readonly string[]): void {
  for (const [at, line] of script.split('\n').entries()) {
    if (isAnyFound(refuse, lineOf(line, []))) {
      throw new CodedError('ERR_FORBIDDEN', `this host refuses line ${at + 1} of the script`);
    }
  }
}

async function run(
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<number> {
  const child = spawn(file, args, { cwd: '/', env, stdio: ['ignore', 'inherit', 'inherit'] });
  try {
    const [code, signal]: unknown[] = await once(child, 'exit');
    if (typeof code === 'number') return code;
    const numbers: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9 };
    return 128 + (numbers[String(signal)] ?? 15);
  } catch (error) {
    const reason = systemCode(error) ?? 'unknown';
    const message = `the script cannot be started (${reason}): is what its first line names there?`;
    throw new CodedError('ERR_COMMAND_START', message, { cause: error });
  }
}

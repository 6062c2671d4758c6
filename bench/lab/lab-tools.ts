import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { CodedError } from '../../core/base/error.ts';
import { LAB_PREFIX } from './lab-names.ts';

const TOOLS = { ip: 'iproute2', tc: 'iproute2', nft: 'nftables', ethtool: 'ethtool' };

/** One of everything a lab needs of the kernel, made and removed: a container's root may be allowed none of it. */
const PROBE = `
space="${LAB_PREFIX}probe-$$"
ip netns add "$space" || exit 1
trap 'ip netns del "$space"' EXIT
ip -n "$space" link add one type veth peer name two &&
ip -n "$space" link add bridge type bridge &&
tc -n "$space" qdisc add dev one root tbf rate 1mbit burst 3000 limit 3000 &&
ip netns exec "$space" nft add table inet odonata
`;

/** What a lab is built with. */
export type LabTool = keyof typeof TOOLS;

/** Why no lab can be made here, in words for a message or the end of a test's title; undefined where it can. */
export function labProblem(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux';
  const missing = Object.entries(TOOLS).filter(([tool]) => !isInstalled(tool));
  if (missing.length === 0) return probe();
  const names = missing.map(([tool]) => tool).join(', ');
  const packages = [...new Set(missing.map(([, each]) => each))].join(' ');
  return `needs ${names} (apt-get install ${packages})`;
}

function probe(): string | undefined {
  const { status, stderr } = spawnSync('sh', ['-c', PROBE], { env: toolEnv(), encoding: 'utf8' });
  return status === 0 ? undefined : `cannot be made here: ${stderr.trim()}`;
}

/** Throws ERR_USAGE where no lab can be made. */
export function requireLab(): void {
  const problem = labProblem();
  if (problem !== undefined) throw new CodedError('ERR_USAGE', `a lab ${problem}`);
}

/** Whether a program of this name is on the path. */
export function isInstalled(tool: string): boolean {
  return searchPath().some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Runs a tool to its end and answers what it printed; ERR_INTERNAL with its words when it fails. */
export async function runTool(
  tool: LabTool | 'sh',
  args: readonly string[],
  input = '',
): Promise<string> {
  const child = spawn(tool, args, { env: toolEnv(), stdio: ['pipe', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  // A tool that ends before it has read everything says why on stderr.
  child.stdin.on('error', () => undefined).end(input);
  const [exitCode] = await once(child, 'close');
  if (exitCode === 0) return stdout;
  const asked = [tool, ...args].join(' ');
  throw new CodedError('ERR_INTERNAL', `${asked}: ${stderr.trim() || `ended with ${exitCode}`}`);
}

/** Runs many lines of one `ip` or `tc`, in `namespace` or here. */
export async function runBatch(
  tool: 'ip' | 'tc',
  lines: readonly (readonly string[])[],
  namespace?: string,
): Promise<void> {
  if (lines.length === 0) return;
  const where = namespace === undefined ? [] : ['-n', namespace];
  await runTool(
    tool,
    [...where, '-batch', '-'],
    lines.map((line) => `${line.join(' ')}\n`).join(''),
  );
}

function toolEnv(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: searchPath().join(':') };
}

/**
 * The system's folders first: not every shell has those of root on its path, and npm puts commands of packages in
 * front, one of which is called nft.
 */
function searchPath(): string[] {
  const given = (process.env['PATH'] ?? '').split(':').filter((folder) => folder !== '');
  return [...new Set(['/usr/sbin', '/sbin', '/usr/bin', '/bin', ...given])];
}

import { readFile, stat } from 'node:fs/promises';
import { CodedError, systemCode } from './error.ts';
import type { ConfigFile } from './resolve-options.ts';

const MAX_CONFIG_BYTES = 1024 * 1024;

/** Reads the YAML file of `--config`; throws ERR_CONFIG when it is unreadable or no mapping of keys to values. */
export async function readConfigFile(path: string): Promise<ConfigFile> {
  return parseConfig(await readText(path), path);
}

async function parseConfig(text: string, path: string): Promise<ConfigFile> {
  // Imported here because it costs 40 ms of start-up and most runs name no file.
  const { parseDocument } = await import('yaml');
  const document = parseDocument(text, { prettyErrors: true });
  const [problem] = document.errors;
  if (problem !== undefined) {
    throw new CodedError('ERR_CONFIG', `${path}: ${problem.message.split('\n', 1)[0]}`);
  }
  const root: unknown = document.toJS({ maxAliasCount: 10 });
  if (root === null || root === undefined) return { path, entries: {} };
  if (typeof root !== 'object' || Array.isArray(root)) {
    throw new CodedError('ERR_CONFIG', `${path}: expected "key: value" lines`);
  }
  return { path, entries: { ...root } };
}

async function readText(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > MAX_CONFIG_BYTES) {
      throw new CodedError('ERR_CONFIG', `${path}: longer than ${MAX_CONFIG_BYTES} bytes`);
    }
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof CodedError) throw error;
    throw new CodedError('ERR_CONFIG', `cannot read ${path} (${systemCode(error) ?? 'unknown'})`, {
      cause: error,
    });
  }
}

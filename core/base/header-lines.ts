/**
 * Headers as they are given to a program: each a line, or `@FILE` for the lines of a file and `@-` for those of standard
 * input, as curl has it. A command line can be read by every user of the machine; what is in such a file cannot.
 */
import { CodedError, systemCode } from './error.ts';

/** Headers are short; a longer file was named by mistake. */
const MAX_FILE_BYTES = 64 * 1024;

/** Where lines come from besides the command line. */
export interface HeaderPlaces {
  /** Standard input; asked for at most once. */
  readonly input: () => AsyncIterable<Uint8Array>;
}

/**
 * The lines that are meant, in order. ERR_USAGE naming the file, and the line in it, for one that cannot be read, that
 * is open to others than its owner, or that is no list of headers; never with what stands in it.
 */
export async function headerLines(
  given: readonly string[],
  places: HeaderPlaces,
): Promise<readonly string[]> {
  if (!given.some(isPlace)) return given;
  if (given.filter((line) => line === '@-').length > 1) {
    throw usage('@-: standard input can be read once only');
  }
  const lines: string[] = [];
  for (const line of given) {
    if (isPlace(line)) lines.push(...(await linesIn(line.slice(1), places)));
    else lines.push(line);
  }
  return lines;
}

/** No header begins so. */
function isPlace(line: string): boolean {
  return line.startsWith('@');
}

async function linesIn(path: string, { input }: HeaderPlaces): Promise<string[]> {
  if (path === '') throw usage('expected a file name after @, or - for standard input');
  if (path === '-') return headersIn(await textOf(input(), 'standard input'), 'standard input');
  return headersIn(await textIn(path), path);
}

async function textIn(path: string): Promise<string> {
  // Not imported: it would be loaded at every start.
  const { open } = process.getBuiltinModule('node:fs/promises');
  try {
    await using file = await open(path, 'r');
    const { mode } = await file.stat();
    if ((mode & 0o077) !== 0) throw usage(`${path} is open to group or others: chmod 600 it`);
    return await textOf(file.createReadStream({ autoClose: false }), path);
  } catch (error) {
    if (error instanceof CodedError) throw error;
    throw usage(`cannot read ${path} (${systemCode(error) ?? 'unreadable'})`);
  }
}

async function textOf(source: AsyncIterable<Uint8Array>, name: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of source) {
    length += chunk.byteLength;
    if (length > MAX_FILE_BYTES) throw usage(`${name} is longer than ${MAX_FILE_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function headersIn(text: string, name: string): string[] {
  const headers: string[] = [];
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue;
    if (isPlace(line) || line.indexOf(':') <= 0) {
      throw usage(`${name}, line ${at + 1}: expected 'Name: value'`);
    }
    headers.push(line);
  }
  return headers;
}

function usage(message: string): CodedError {
  return new CodedError('ERR_USAGE', `--header: ${message}`);
}

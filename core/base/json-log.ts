import { destination, pino, stdTimeFunctions } from 'pino';
import type { Log } from './log.ts';

/** Lines kept while standard error does not take them; more are dropped rather than held in memory. */
const MAX_BUFFERED_BYTES = 1024 * 1024;

/** A user and password in a URL, up to the @. */
const URL_CREDENTIALS = /(https?:\/\/)[^\s"\\/?#@]*@/gi;
/** A URL in a line of JSON, and its query and fragment. */
const URL_QUERY = /(https?:\/\/[^\s"\\?#]*)[?#](?:\\.|[^\s"\\])*/gi;

/** JSON lines of a program on standard error, from `level` up; URLs are written without credentials and query. */
export function openLog(program: string, level: string): Log {
  return pino(
    {
      level,
      base: { program, pid: process.pid },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      hooks: { streamWrite: withoutUrlSecrets },
    },
    destination({ dest: 2, sync: false, maxLength: MAX_BUFFERED_BYTES }),
  );
}

/** The line with every URL cut off at its query: that is where signatures and tokens travel. */
export function withoutUrlSecrets(line: string): string {
  return line.replaceAll(URL_CREDENTIALS, '$1').replaceAll(URL_QUERY, '$1?…');
}

import { destination, pino, stdTimeFunctions } from 'pino';
import type { Log } from '../core/base/log.ts';

/** Lines kept while standard error does not take them; more are dropped rather than held in memory. */
const MAX_BUFFERED_BYTES = 1024 * 1024;

/** A user and password in a URL, up to the @. */
const URL_CREDENTIALS = /(https?:\/\/)[^\s"\\/?#@]*@/gi;
/** A URL in a line of JSON, and its query and fragment: that is where signatures and tokens travel. */
const URL_QUERY = /(https?:\/\/[^\s"\\?#]*)[?#](?:\\.|[^\s"\\])*/gi;

/** JSON lines on standard error, from `level` up; URLs are written without credentials and query. */
export function openLog(level: string): Log {
  return pino(
    {
      level,
      base: { program: 'supernode', pid: process.pid },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      hooks: {
        streamWrite: (line) => line.replaceAll(URL_CREDENTIALS, '$1').replaceAll(URL_QUERY, '$1?…'),
      },
    },
    destination({ dest: 2, sync: false, maxLength: MAX_BUFFERED_BYTES }),
  );
}

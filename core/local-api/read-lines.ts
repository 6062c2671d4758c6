import { StringDecoder } from 'node:string_decoder';
import { CodedError } from '../base/error.ts';

/** The non-empty lines of a stream of bytes; throws ERR_PROTOCOL past `maxLineBytes` without a line end. */
export async function* readLines(
  chunks: AsyncIterable<unknown>,
  maxLineBytes: number,
): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8');
  // Kept in parts: joining a long line anew with each chunk would cost its square.
  let parts: string[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    if (!(chunk instanceof Uint8Array)) throw new TypeError('readLines() takes bytes');
    const lines = decoder
      .write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length))
      .split('\n');
    for (const line of lines.slice(0, -1)) {
      const whole = parts.join('') + line;
      parts = [];
      length = 0;
      if (whole !== '') yield whole;
    }
    const rest = lines.at(-1) ?? '';
    parts.push(rest);
    length += rest.length;
    if (length > maxLineBytes) {
      throw new CodedError('ERR_PROTOCOL', `a line of more than ${maxLineBytes} bytes`);
    }
  }
  const last = parts.join('') + decoder.end();
  if (last !== '') yield last;
}

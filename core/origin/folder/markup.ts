import { Parser } from 'htmlparser2';
import { describeUrl } from '../response-head.ts';
import { CodedError } from '../../base/error.ts';
import { tooMuch } from './walk-folders.ts';

/** What a reader of a document is told, in order. */
export interface MarkupHandler {
  /** Names as written, in HTML in lower case; attributes decoded. */
  open?(name: string, attributes: Readonly<Record<string, string>>): void;
  text?(text: string): void;
  /** `isImplied`: no end tag was read, the document just went on without it. */
  close?(name: string, isImplied: boolean): void;
}

/**
 * Feeds a document to `handler` as it comes and yields after each chunk, so that whoever collects can hand on what it
 * has. Entities other than those of the language are not expanded. Throws ERR_LISTING past `maxBytes`.
 */
export async function* readMarkup(
  body: AsyncIterable<Uint8Array>,
  handler: MarkupHandler,
  options: { readonly language: 'html' | 'xml'; readonly maxBytes: number },
): AsyncGenerator<void> {
  const { language, maxBytes } = options;
  const parser = new Parser(
    {
      onopentag: (name, attributes) => handler.open?.(name, attributes),
      ontext: (text) => handler.text?.(text),
      onclosetag: (name, isImplied) => handler.close?.(name, isImplied),
    },
    { xmlMode: language === 'xml', decodeEntities: true },
  );
  const decoder = new TextDecoder();
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw tooMuch(`more than ${maxBytes} bytes`);
    parser.write(decoder.decode(chunk, { stream: true }));
    yield;
  }
  parser.end(decoder.decode());
  yield;
}

/** `href` of `D:href`. */
export function localName(name: string): string {
  return name.slice(name.indexOf(':') + 1);
}

/** An answer that is no listing. */
export function notAListing(url: URL, why: string): CodedError {
  return new CodedError('ERR_LISTING', `${describeUrl(url)} ${why}`);
}

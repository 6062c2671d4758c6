import { CodedError } from '../../base/error.ts';
import { encodeFrame } from './frame-codec.ts';

/** A reason is a code and a sentence; more of it is cut off. */
const MAX_REASON_LENGTH = 2_000;
const MAX_BYE_BYTES = 65_536;

/** The frame that ends a session, with the reason when there is one. */
export function encodeBye(reason: CodedError | undefined): Uint8Array {
  if (reason === undefined) return encodeFrame('bye', '', MAX_BYE_BYTES);
  const { code, message, detail } = reason.toObject();
  const error = { code, message: message.slice(0, MAX_REASON_LENGTH), detail };
  const text = JSON.stringify({ error });
  return text.length < MAX_REASON_LENGTH * 8
    ? encodeFrame('bye', text, MAX_BYE_BYTES)
    : encodeFrame('bye', JSON.stringify({ error: { ...error, detail: {} } }), MAX_BYE_BYTES);
}

/** The reason in a bye, undefined when there is none; one that cannot be read is ERR_PROTOCOL. */
export function decodeBye(text: string): CodedError | undefined {
  if (text === '') return undefined;
  const error = read(parse(text), 'error');
  const code = read(error, 'code');
  const message = read(error, 'message');
  if (typeof code !== 'string' || typeof message !== 'string') {
    return new CodedError('ERR_PROTOCOL', 'the other side gave a reason that cannot be read');
  }
  return CodedError.fromObject({
    code,
    message: message.slice(0, MAX_REASON_LENGTH),
    detail: read(error, 'detail'),
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function read(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
}

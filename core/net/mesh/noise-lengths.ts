/** What is read of the bytes that wait to be decrypted. */
interface Waiting {
  readonly byteLength: number;
  get(index: number): number;
}

/** The part of libp2p's `LengthPrefixedDecoder` that is used. */
interface Decoder {
  readonly maxDataLength: number;
  lengthDecoder: (waiting: Waiting) => number;
}

const LENGTH_BYTES = 2;

/**
 * Noise reads the length of the next message after each one, and where nothing more has come throws and catches an
 * error with its stack: 12 of the 16 µs that this takes. From now on it is told a length that cannot have come, and
 * waits.
 */
export function readLengthsQuietly(connection: object): void {
  const decoder: unknown = Reflect.get(connection, 'decoder');
  if (!isDecoder(decoder)) throw new TypeError('noise has no decoder of lengths');
  const { maxDataLength } = decoder;
  decoder.lengthDecoder = (waiting) =>
    waiting.byteLength < LENGTH_BYTES ? maxDataLength : waiting.get(0) * 256 + waiting.get(1);
}

function isDecoder(value: unknown): value is Decoder {
  return (
    typeof value === 'object' &&
    value !== null &&
    'lengthDecoder' in value &&
    'maxDataLength' in value
  );
}

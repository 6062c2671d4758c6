// Whether the content of a version is worth compressing: never by its media type or first bytes; else as its units
// turn out. Units that do not shrink make it rest for 1, 2, 4 … 1,024 units, so content that is compressed already,
// and does not look so, costs next to nothing; one that shrinks ends that.

const MAX_REST = 1_024;
/** How much of what was known is kept with each unit. */
const MEMORY = 0.9;
/** Believed until units say otherwise. */
const FIRST_RATIO = 0.6;

/** Compressed already, or as dense as if it were. */
const denseTypes =
  /^(?:audio\/(?!x?-?wav|l16|basic)|video\/|font\/woff|image\/(?:jpe?g|png|gif|webp|avif|heic|jxl)|application\/(?:(?:x-)?(?:gzip|bzip2?|xz|lzma|zstd|lz4|7z-compressed|rar-compressed|brotli)|zip|java-archive|vnd\.rar|vnd\.android\.package-archive|x-rpm)(?:[;\s]|$)|[^;]*[+.](?:gzip|zstd|zip)(?:[;\s]|$))/i;

/** Magic bytes of what is compressed already, hex. */
const denseStarts: readonly string[] = [
  '1f8b', // gzip
  '28b52ffd', // zstd
  'fd377a585a00', // xz
  '425a68', // bzip2
  '04224d18', // lz4
  '504b0304', // zip and what is made of it
  '377abcaf271c', // 7z
  '526172211a07', // rar
  'ffd8ff', // jpeg
  '89504e470d0a1a0a', // png
  '474946383', // gif
  '1a45dfa3', // matroska, webm
  '4f676753', // ogg
  '664c6143', // flac
  '494433', // mp3
  '774f4632', // woff2
  'edabeedb', // rpm
];
/** Bytes that `isDenseStart` looks at. */
export const START_BYTES = 16;

/** True for a media type whose content is compressed already. */
export function isDenseType(mediaType: string): boolean {
  return denseTypes.test(mediaType.trim());
}

/** True when the first bytes of a content are those of a compressed format. */
export function isDenseStart(bytes: Uint8Array): boolean {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, START_BYTES));
  const hex = start.toString('hex');
  const isMovie = start.toString('latin1', 4, 8) === 'ftyp';
  const isWebp = hex.startsWith('52494646') && start.toString('latin1', 8, 12) === 'WEBP';
  return isMovie || isWebp || denseStarts.some((magic) => hex.startsWith(magic));
}

/** What was learned of one version's content by compressing it. */
export class ContentWorth {
  /** Compressed bytes by raw bytes of those units that shrink. */
  ratio = FIRST_RATIO;
  /** The unit tried last shrank; while this is not so, one is tried by samples first. */
  isProven = false;
  /** It is compressed already: by its media type, or by its first bytes once they were looked at. */
  isDense = false;
  isStartSeen = false;
  #rest = 0;
  #nextRest = 1;

  /** A unit shrank to `ratio`. */
  shrank(ratio: number): void {
    this.ratio = MEMORY * this.ratio + (1 - MEMORY) * ratio;
    this.isProven = true;
    this.#rest = 0;
    this.#nextRest = 1;
  }

  /** A unit did not shrink. */
  stayed(): void {
    this.isProven = false;
    this.#rest = this.#nextRest;
    this.#nextRest = Math.min(MAX_REST, this.#nextRest * 2);
  }

  /** True while the next unit is to be tried. */
  get isDue(): boolean {
    return this.#rest === 0;
  }

  /** A unit is sent as it is, without being tried. */
  passed(): void {
    if (this.#rest > 0) this.#rest -= 1;
  }
}

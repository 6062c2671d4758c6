/** Counters since the start, but for the last. */
export interface CompressionStats {
  /** Raw bytes that did not have to be sent, and that did not have to come. */
  readonly savedOutBytes: number;
  readonly savedInBytes: number;
  /** Raw bytes that were compressed here, or tried. */
  readonly triedBytes: number;
  /** Time of processors spent compressing, in threads of their own, and decompressing, in those that receive. */
  readonly compressMs: number;
  readonly decompressMs: number;
  /** Held in compressed forms, bytes. */
  readonly cachedBytes: number;
}

/** Those of nothing. */
export const noCompression: CompressionStats = {
  savedOutBytes: 0,
  savedInBytes: 0,
  triedBytes: 0,
  compressMs: 0,
  decompressMs: 0,
  cachedBytes: 0,
};

/** Those of several threads together. */
export function sumCompression(all: readonly CompressionStats[]): CompressionStats {
  const sum = (pick: (stats: CompressionStats) => number): number =>
    all.reduce((total, stats) => total + pick(stats), 0);
  return {
    savedOutBytes: sum((stats) => stats.savedOutBytes),
    savedInBytes: sum((stats) => stats.savedInBytes),
    triedBytes: sum((stats) => stats.triedBytes),
    compressMs: sum((stats) => stats.compressMs),
    decompressMs: sum((stats) => stats.decompressMs),
    cachedBytes: sum((stats) => stats.cachedBytes),
  };
}

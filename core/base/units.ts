/**
 * Sizes, rates and durations as people type them. One rule, everywhere:
 * `k m g t` (any case, with or without `B` or `iB`) are powers of 1024, a bare number is bytes; rates are sizes
 * per second, or decimal bits (`kbit mbit gbit`); durations need a unit (`ms s m h d`). Parsers answer
 * undefined to anything else, so that the caller can name the flag.
 */
const KIB = 1024;
const powers = ['', 'k', 'm', 'g', 't'];
const SIZE = /^(\d{1,16}(?:\.\d{1,6})?)\s?(?:([kmgt])(?:i?b)?|b)?$/i;
const RATE_SUFFIX = /\/s$/i;
const BITS = /^(\d{1,16}(?:\.\d{1,6})?)\s?([kmg]?)bit$/i;
const DURATION = /^(?:\d{1,16}(?:\.\d{1,6})?(?:ms|s|m|h|d))+$/;
const DURATION_PART = /(\d+(?:\.\d+)?)(ms|s|m|h|d)/g;
const unitMs = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** Bytes of `10GiB`, `64k`, `1.5g`, `4096`; undefined when it is not a size. */
export function parseSize(text: string): number | undefined {
  const match = SIZE.exec(text);
  if (match === null) return undefined;
  const power = powers.indexOf((match[2] ?? '').toLowerCase());
  return wholeNumber(Number(match[1]) * KIB ** power);
}

/** Bytes per second of `20MB/s`, `512k`, `200mbit`, `1048576`; 0 is "no limit"; undefined when it is not a rate. */
export function parseRate(text: string): number | undefined {
  const plain = text.replace(RATE_SUFFIX, '');
  const bits = BITS.exec(plain);
  if (bits === null) return parseSize(plain);
  const power = powers.indexOf((bits[2] ?? '').toLowerCase());
  return wholeNumber((Number(bits[1]) * 1000 ** power) / 8);
}

/** Milliseconds of `30s`, `24h`, `500ms`, `1h30m`, `0`; undefined when it is not a duration. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  if (!DURATION.test(text)) return undefined;
  let ms = 0;
  for (const [, amount, unit] of text.matchAll(DURATION_PART)) {
    ms += Number(amount) * (unitMs.get(unit ?? '') ?? 0);
  }
  return wholeNumber(ms);
}

/** The shortest text that `parseSize` turns back into exactly `bytes`. */
export function formatSize(bytes: number): string {
  let amount = bytes;
  let power = 0;
  while (amount > 0 && power < 4 && amount % KIB === 0) {
    amount /= KIB;
    power += 1;
  }
  return power === 0 ? String(amount) : `${amount}${powers[power]?.toUpperCase()}iB`;
}

/** The shortest text that `parseRate` turns back into exactly `bytesPerSecond`. */
export function formatRate(bytesPerSecond: number): string {
  const text = formatSize(bytesPerSecond);
  return text.endsWith('B') ? `${text}/s` : text;
}

/** A limit as text: `no limit` for 0. */
export function formatLimit(bytesPerSecond: number): string {
  return bytesPerSecond === 0 ? 'no limit' : formatRate(bytesPerSecond);
}

/** The shortest text in one unit that `parseDuration` turns back into exactly `ms`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0';
  let text = `${ms}ms`;
  for (const [unit, length] of unitMs) {
    if (ms % length === 0) text = `${ms / length}${unit}`;
  }
  return text;
}

/** Bytes for reading, four figures at most: `512 B`, `9.9 KiB`, `1023 MiB`, `1.0 GiB`. */
export function humanBytes(bytes: number): string {
  let amount = bytes;
  let power = 0;
  while (amount >= 1023.5 && power < 4) {
    amount /= KIB;
    power += 1;
  }
  if (power === 0) return `${Math.round(amount)} B`;
  const figures = amount < 99.95 ? amount.toFixed(1) : amount.toFixed(0);
  return `${figures} ${powers[power]?.toUpperCase()}iB`;
}

// Rounding must not turn the smallest rate into 0, which means "no limit".
function wholeNumber(amount: number): number | undefined {
  if (amount > 0 && amount < 1) return 1;
  const whole = Math.floor(amount);
  return Number.isSafeInteger(whole) ? whole : undefined;
}

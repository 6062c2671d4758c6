import { CodedError } from '../../core/base/error.ts';
import { parseDuration, parseRate } from '../../core/base/units.ts';

/** Bits per second of `200mbit` or `10MiB/s`; ERR_USAGE naming the flag otherwise. */
export function bitRate(flag: string, text: string): number {
  const bytes = parseRate(text);
  if (bytes !== undefined) return bytes * 8;
  throw new CodedError('ERR_USAGE', `${flag}: a rate such as 200mbit, got ${text}`);
}

/** 0 to 1, of `1%` or `0.01`. */
export function share(flag: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)(%?)$/.exec(text);
  const value = match === null ? Number.NaN : Number(match[1]) / (match[2] === '%' ? 100 : 1);
  if (value >= 0 && value <= 1) return value;
  throw new CodedError('ERR_USAGE', `${flag}: a share such as 1% or 0.01, got ${text}`);
}

/** Milliseconds of `20ms`. */
export function milliseconds(flag: string, text: string): number {
  const ms = parseDuration(text);
  if (ms !== undefined) return ms;
  throw new CodedError('ERR_USAGE', `${flag}: a time such as 20ms, got ${text}`);
}

/** A whole number of `least` or more. */
export function count(flag: string, text: string, least = 1): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= least && Number.isSafeInteger(number)) return number;
  throw new CodedError('ERR_USAGE', `${flag}: a number from ${least}, got ${text}`);
}

import { LRUCache } from 'lru-cache';
import { RE2JS } from 're2js';

/** Longest pattern, characters. */
export const MAX_PATTERN_LENGTH = 1_000;

const compiled = new LRUCache<string, RE2JS>({ max: 2_000 });

/** A pattern of RE2, which takes linear time whatever it is; throws an Error that says what is wrong with it. */
export function linearPattern(pattern: string): RE2JS {
  const known = compiled.get(pattern);
  if (known !== undefined) return known;
  const fresh = RE2JS.compile(pattern);
  compiled.set(pattern, fresh);
  return fresh;
}

/**
 * A command line as patterns see it: command and arguments with one space between, every run of white space and
 * control characters as one space. It is for looking only: what runs is the arguments as they were.
 */
export function lineOf(command: string, args: readonly string[]): string {
  return [command, ...args].join(' ').replaceAll(/[\s\p{Cc}\p{Cf}]+/gu, ' ');
}

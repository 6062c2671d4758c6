import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { parseSize } from '../../core/base/units.ts';

const Text = Type.String({ minLength: 1, maxLength: 32 });

/** `limits:` of the host's file. */
export const LimitsSchema = Type.Object({
  memory: Type.Optional(Text),
  processes: Type.Optional(Type.Integer({ minimum: 1, maximum: 4_194_304 })),
  cpu: Type.Optional(Text),
});

export type LimitName = keyof Static<typeof LimitsSchema>;
export const limitNames: readonly LimitName[] = ['cpu', 'memory', 'processes'];

/** What all processes of one call may use together. */
export interface CommandLimits {
  /** Bytes. */
  readonly memory?: number;
  /** Processes and threads. */
  readonly processes?: number;
  /** Cores: 0.5 is half of one. */
  readonly cpu?: number;
}

/** Less and a program cannot begin. */
const MIN_MEMORY_BYTES = 4_194_304;
/** The kernel gives no less than 1 ms in 100. */
const CPU = { min: 1, max: 102_400 } as const;
const PERCENT = /^(\d{1,6}(?:\.\d{1,2})?)\s?%$/;

/** Of `limits` at that path in the file; ERR_CONFIG naming the field that is wrong. */
export function compileLimits(
  fields: Static<typeof LimitsSchema> | undefined,
  path: string,
): CommandLimits {
  const { memory, processes, cpu } = fields ?? {};
  return {
    ...(memory === undefined ? {} : { memory: memoryOf(memory, `${path}/memory`) }),
    ...(processes === undefined ? {} : { processes }),
    ...(cpu === undefined ? {} : { cpu: coresOf(cpu, `${path}/cpu`) }),
  };
}

/** Which of them are set. */
export function namesOf(limits: CommandLimits): LimitName[] {
  return limitNames.filter((name) => limits[name] !== undefined);
}

function memoryOf(text: string, path: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined) throw wrong(path, 'is no size (512MiB, 2g)');
  if (bytes < MIN_MEMORY_BYTES) throw wrong(path, 'is below 4MiB');
  return bytes;
}

function coresOf(text: string, path: string): number {
  const percent = Number(PERCENT.exec(text)?.[1] ?? Number.NaN);
  if (percent >= CPU.min && percent <= CPU.max) return percent / 100;
  throw wrong(path, `is no share of a core from ${CPU.min}% on (50%, 200% for two)`);
}

function wrong(path: string, problem: string): CodedError {
  return new CodedError('ERR_CONFIG', `${path}: ${problem}`, { detail: { path } });
}

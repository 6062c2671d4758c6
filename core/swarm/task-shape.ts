import { pieceLengthFor } from '../piece/piece-length.ts';
import { hasFilteredParams, isNamedByDigest } from '../piece/task-id.ts';
import { plainValidators, versionOf } from '../piece/version.ts';
import type { Validators } from '../piece/version.ts';
import type { StoredTask } from '../store/piece-store.ts';
import type { TaskShape, TaskSpec } from '../wire/messages.ts';
import { contentLength } from './origin-request.ts';

/** What an origin's answer says of the content. */
export interface ShapeFacts {
  readonly validators: Validators;
  /** Of everything at the URL. */
  readonly length: number | undefined;
  readonly acceptsRanges: boolean;
}

/** The shape of what an origin answers a request for the task with. */
export function shapeOfAnswer(spec: TaskSpec, facts: ShapeFacts): TaskShape {
  const { validators, acceptsRanges } = facts;
  const length = contentLength(spec, facts.length);
  return {
    version: versionOf({ digest: wholeDigest(spec), validators, length }),
    pieceLength: pieceLengthFor(length),
    validators: plainValidators(validators),
    acceptsRanges,
    ...(length === undefined ? {} : { length }),
    ...(isPrivate(spec) ? { isPrivate: true } : {}),
  };
}

/** The shape of what is stored; whether its origin has ranges is not, and taken to be so. */
export function shapeOf(stored: StoredTask, acceptsRanges = true): TaskShape {
  const { version, pieceLength, length, validators } = stored;
  return {
    version,
    pieceLength,
    validators: plainValidators(validators),
    acceptsRanges,
    ...(length === undefined ? {} : { length }),
    ...(stored.isPrivate ? { isPrivate: true } : {}),
  };
}

/** The digest that names the whole content of the task, if the user gave one. */
export function wholeDigest(spec: TaskSpec): string | undefined {
  return spec.range === undefined ? spec.digest : undefined;
}

/**
 * Content fetched with something that may be a credential (headers, a user in the URL, a parameter that does not
 * count for the task) is that user's: it is given to nobody the origin was not asked for. Where the task is named by
 * a digest alone no parameter counts for it, and any may be a signature.
 */
export function isPrivate(spec: TaskSpec): boolean {
  if (Object.keys(spec.headers ?? {}).length > 0) return true;
  const { username, password, search } = new URL(spec.url);
  if (username !== '' || password !== '') return true;
  if (search !== '' && isNamedByDigest(spec)) return true;
  return hasFilteredParams(spec.url, spec.filteredQueryParams ?? []);
}

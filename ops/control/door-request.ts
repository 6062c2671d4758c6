import type { DecidedObject } from './policy-decision.ts';
import type { Caller } from './principal.ts';
import type { VerbName } from './verbs.ts';

/** What a verb is asked of. */
export interface DoorObject extends DecidedObject {
  /** For the audit: the id or the name of what it is about. */
  readonly id: string;
  /** What is said to one who may not, where that is known better than from policies. */
  readonly whyNot?: string | undefined;
}

/** Somebody asks for something. */
export interface DoorRequest<Name extends VerbName> {
  readonly verb: Name;
  readonly caller: Caller;
  /** As the verb's schema has it. */
  readonly input: unknown;
  readonly object: DoorObject;
}

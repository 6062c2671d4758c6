// Who may agree to what was asked, who has, and who is still to. All of it is looked at anew each time: a key that was
// locked, or given to somebody else meanwhile, counts no more.
import { openLists } from './approval-quorum.ts';
import type { ApproverList } from './approval-quorum.ts';
import type { ApprovalRecord } from './approval-record.ts';
import { operator } from './principal.ts';
import type { Principal } from './principal.ts';
import type { Principals } from './principals.ts';

/** What is looked at of keys. */
export type KeyFacts = Pick<Principals, 'isOpen' | 'issuedTo'>;

/** How far it is. */
export interface Standing {
  /** Who agreed and counts, by name. */
  readonly agreed: readonly string[];
  /** Of each of these lists one is still to agree. */
  readonly open: readonly ApproverList[];
}

export function standingOf(record: ApprovalRecord, keys: KeyFacts): Standing {
  const names = new Set(countedIn(record, keys).map(({ name }) => name));
  const open = record.needs.flatMap(({ approvers }) => openLists(approvers, names));
  return { agreed: [...names].toSorted(), open };
}

/** Why somebody may not agree; undefined: he may. */
export function whyNotAgree(
  record: ApprovalRecord,
  by: Principal,
  keys: KeyFacts,
): string | undefined {
  const agreed = record.agreed.filter(({ principal }) => principal !== by.name);
  const others = countedIn({ ...record, agreed }, keys);
  return whyNotBeside(others, by, { record, keys });
}

/** Those who agreed and count, in the order in which they did. */
function countedIn(record: ApprovalRecord, keys: KeyFacts): Principal[] {
  const counted: Principal[] = [];
  for (const word of record.agreed) {
    const by = principalOf(word);
    if (!keys.isOpen(by)) continue;
    if (whyNotBeside(counted, by, { record, keys }) === undefined) counted.push(by);
  }
  return counted;
}

/**
 * Why somebody does not count beside the one who asks and others who agreed. Behind each of them may stand whoever had
 * a secret of his key made: where it may be the same person twice, it is taken to be.
 */
function whyNotBeside(
  others: readonly Principal[],
  by: Principal,
  { record, keys }: { readonly record: ApprovalRecord; readonly keys: KeyFacts },
): string | undefined {
  const { name } = by;
  if (name === record.principal) return 'who asks for something does not agree to it himself';
  if (!isApprover(record, by)) return 'another is to agree to it';
  const persons = personsOf(by, keys);
  const asker = {
    name: record.principal,
    ...(record.key === undefined ? {} : { key: record.key }),
  };
  const askers = [...personsOf(asker, keys), ...record.owners];
  const shared = persons.find((person) => askers.includes(person));
  if (shared === name) return `the key that it was asked for with was given out to ${name}`;
  if (shared === asker.name) return `this key of ${name} was given out to ${shared}, who asks`;
  if (shared !== undefined)
    return `this key of ${name} was given out to ${shared}, as the one that asks`;
  for (const other of others) {
    const both = personsOf(other, keys).find((person) => persons.includes(person));
    if (both !== undefined)
      return `${both} may be both: keys of ${name} and ${other.name} were given out to the same`;
  }
  return undefined;
}

function personsOf(principal: Principal, keys: KeyFacts): string[] {
  return [principal.name, ...keys.issuedTo(principal)];
}

/** Why somebody may not deny; undefined: he may. Who asked may take it back. */
export function whyNotDeny(record: ApprovalRecord, by: Principal): string | undefined {
  const isHis = by.name === record.principal || isApprover(record, by);
  return isHis ? undefined : 'another is to agree to it';
}

/** Who asked, who is to agree, and the operator. */
export function maySee(record: ApprovalRecord, by: Principal): boolean {
  return by === operator || whyNotDeny(record, by) === undefined;
}

/** Lists in words: "one of ann, bob; and one of eve". */
export function wordsOf(lists: readonly ApproverList[]): string {
  return lists
    .map((names) => (names.length === 1 ? names.join() : `one of ${names.join(', ')}`))
    .join('; and ');
}

function isApprover({ needs }: ApprovalRecord, { name }: Principal): boolean {
  return needs.some(({ approvers }) => approvers.some((names) => names.includes(name)));
}

function principalOf({ principal, key }: ApprovalRecord['agreed'][number]): Principal {
  return { name: principal, ...(key === undefined ? {} : { key }) };
}

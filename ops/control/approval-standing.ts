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
  const counted = record.agreed.filter(
    (word) =>
      whyNotAgree(record, principalOf(word), keys) === undefined && keys.isOpen(principalOf(word)),
  );
  const names = new Set(counted.map(({ principal }) => principal));
  const open = record.needs.flatMap(({ approvers }) => openLists(approvers, names));
  return { agreed: [...names].toSorted(), open };
}

/** Why somebody may not agree; undefined: he may. */
export function whyNotAgree(
  record: ApprovalRecord,
  by: Principal,
  keys: Pick<KeyFacts, 'issuedTo'>,
): string | undefined {
  if (by.name === record.principal) return 'who asks for something does not agree to it himself';
  if (!isApprover(record, by)) return 'another is to agree to it';
  const asker = {
    name: record.principal,
    ...(record.key === undefined ? {} : { key: record.key }),
  };
  if ([...record.owners, ...keys.issuedTo(asker)].includes(by.name)) {
    return `the key that it was asked for with was given out to ${by.name}`;
  }
  // Else he could have made himself the key of one who is to agree.
  if (!keys.issuedTo(by).includes(record.principal)) return undefined;
  return `this key of ${by.name} was given out to ${record.principal}, who asks`;
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

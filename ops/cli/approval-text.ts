import { Type } from 'typebox';
import type { Static } from 'typebox';

const about = {
  id: Type.String(),
  verb: Type.String(),
  principal: Type.String(),
  command: Type.Optional(Type.String()),
  hostCount: Type.Optional(Type.Number()),
  state: Type.String(),
  agreed: Type.Array(Type.String()),
  open: Type.Array(Type.Array(Type.String())),
  deniedBy: Type.Optional(Type.String()),
  deniedFor: Type.Optional(Type.String()),
  created: Type.Number(),
  expires: Type.Number(),
};

/** One of a list, as far as a line tells of it. */
export const ApprovalLine = Type.Object(about);
/** All of what was asked. */
export const ApprovalDetail = Type.Object({
  ...about,
  key: Type.Optional(Type.String()),
  source: Type.String(),
  input: Type.Unknown(),
  args: Type.Optional(Type.Array(Type.String())),
  hosts: Type.Optional(
    Type.Array(
      Type.Object({
        peer: Type.String(),
        hostname: Type.Optional(Type.String()),
        idc: Type.Optional(Type.String()),
      }),
    ),
  ),
  plan: Type.Optional(Type.Unknown()),
  digest: Type.String(),
});
type ApprovalLine = Static<typeof ApprovalLine>;
type ApprovalDetail = Static<typeof ApprovalDetail>;

/** One line about what waits. */
export function approvalLine(approval: ApprovalLine): string {
  const { id, verb, principal, command, hostCount, expires } = approval;
  const words = [
    id,
    `until ${timeOf(expires)}`,
    principal,
    command === undefined ? verb : `${verb} ${exact(command)}`,
    ...(hostCount === undefined ? [] : [`on ${hostCount} hosts`]),
    stateOf(approval),
  ];
  return `${words.join('  ')}\n`;
}

/** Everything that was asked, each text as JSON has it, so that none can pass for another. */
export function approvalText(approval: ApprovalDetail): string {
  const { id, verb, principal, key, source, created, expires, command, args = [] } = approval;
  const { hosts = [], input, plan, digest } = approval;
  const lines = [
    `approval  ${id}`,
    `state     ${stateOf(approval)}`,
    `asked by  ${principal}${key === undefined ? '' : ` with key ${key}`} from ${source}`,
    `asked     ${timeOf(created)}, until ${timeOf(expires)}`,
    `verb      ${verb}`,
    ...(command === undefined ? [] : [`command   ${exact(command)}`]),
    ...args.map((arg) => `argument  ${exact(arg)}`),
    ...fieldsOf(input)
      .filter(([name]) => command === undefined || (name !== 'command' && name !== 'args'))
      .map(([name, value]) => `${name.padEnd(9)} ${exact(value)}`),
    ...besides(plan, input).map(([name, value]) => `${name.padEnd(9)} ${exact(value)}`),
    ...hosts.map(({ peer, hostname, idc }) =>
      ['host     ', exact(hostname ?? ''), ...(idc === undefined ? [] : [exact(idc)]), peer].join(
        ' ',
      ),
    ),
    `digest    ${digest}`,
  ];
  return `${lines.join('\n')}\n`;
}

function stateOf({ state, open, agreed, deniedBy, deniedFor }: ApprovalLine): string {
  const by = agreed.length === 0 ? '' : `, ${agreed.join(', ')} agreed`;
  if (deniedBy !== undefined) {
    return `denied by ${deniedBy}${deniedFor === undefined ? '' : `: ${exact(deniedFor)}`}`;
  }
  if (state !== 'waiting') return `${state}${by}`;
  const lists = open.map((names) =>
    names.length === 1 ? names.join() : `one of ${names.join(', ')}`,
  );
  return `waits for ${lists.join(' and ')}${by}`;
}

/** Fields of a plan that are not what was asked already: what would be replaced. */
function besides(plan: unknown, input: unknown): [string, unknown][] {
  const asked = fieldsOf(input).map(([, value]) => exact(value));
  return fieldsOf(plan).filter(([, value]) => !asked.includes(exact(value)));
}

function fieldsOf(value: unknown): [string, unknown][] {
  if (value === undefined) return [];
  return typeof value === 'object' && value !== null ? Object.entries(value) : [['', value]];
}

/** JSON in which everything that has no shape of its own is spelled out: controls, directions, odd spaces. */
function exact(value: unknown): string {
  const text = JSON.stringify(value) ?? 'null';
  return text.replaceAll(/(?! )[\p{C}\p{Z}]/gu, (character) =>
    Array.from({ length: character.length }, (_none, at) => {
      const unit = character.charCodeAt(at).toString(16).padStart(4, '0');
      return `\\u${unit}`;
    }).join(''),
  );
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}

import { printable } from '../../core/base/printable.ts';
import type {
  Detail,
  LateHost,
  Preview,
  ReleaseEvent,
  ReleaseHost,
  Repair,
  Summary,
} from './release-api.ts';

/** Names of hosts in a line about a batch; the others are counted. */
const MAX_NAMES = 8;

/** What a release would do, with a table of its batches. */
export function previewText({ batches, hosts, pause, maxFailures, ...preview }: Preview): string {
  const { name, version, digest } = preview.package;
  const rows = batches.map((batch, at) => [
    String(at + 1),
    String(batch.length),
    countsOf(batch.map(({ idc = '-' }) => idc)),
    namesOf(batch),
  ]);
  const pauses = { none: 'no pause', every: 'a pause after every batch' }[pause];
  return [
    `${name} ${version} (${digest}) to ${hosts} hosts in ${batches.length} batches`,
    `${pauses ?? 'a pause after the first batch'}; rolled back when more than ${maxFailures} hosts fail`,
    ...tableOf(['batch', 'hosts', 'idcs', ''], rows),
    `plan ${preview.digest}`,
  ]
    .map((line) => `${line}\n`)
    .join('');
}

/** One line about a release. */
export function releaseLine(release: Summary | Detail): string {
  const { id, created, principal, application, version } = release;
  const time = new Date(created).toISOString();
  return `${id}  ${time}  ${principal}  ${application} ${version}  ${standingOf(release)}\n`;
}

/** A release with a table of its batches, and what went wrong on which host. */
export function releaseText(release: Detail): string {
  const { batches, late = [] } = release;
  const rows = batches.map((batch, at) => [
    String(at + 1),
    String(batch.length),
    countsOf(batch.map(({ stage = 'untouched' }) => stage)),
  ]);
  const troubles = batches.flat().flatMap((host) => troubleOf(host));
  const owed = [...batches.flat(), ...late].flatMap((host) => owedText(host));
  const others = late.filter((host) => host.owed === undefined);
  const named = others.length === 0 ? [] : [`came later, not touched: ${namesOf(others)}`];
  const lines = [...tableOf(['batch', 'hosts', 'stages'], rows), ...troubles, ...owed, ...named];
  return releaseLine(release) + lines.map((line) => `${line}\n`).join('');
}

/** What a repair would do, with a table of its hosts. */
export function repairText({ hosts, release, application, digest }: Repair): string {
  const rows = hosts.map((host) => [
    nameOf(host),
    host.state,
    versionText(host.has),
    versionText(host.should),
    printable(host.why ?? ''),
  ]);
  return [
    `${application} on ${hosts.length} hosts, as release ${release} decided`,
    ...tableOf(['host', 'is', 'has', 'comes to', ''], rows),
    `plan ${digest}`,
  ]
    .map((line) => `${line}\n`)
    .join('');
}

/** What has happened, as one line. */
export function releaseEventText(event: ReleaseEvent): string {
  if (event.type === 'state') return `${standingOf(event)}\n`;
  const { step, outcome, exitCode, code, message = '' } = event;
  const why = [
    exitCode === undefined || exitCode === 0 ? [] : [`exit ${exitCode}`],
    code === undefined ? [] : [`${code}: ${printable(message)}`],
  ].flat();
  const more = why.length === 0 ? '' : ` (${why.join(', ')})`;
  return `  ${nameOf(event)}: ${step} ${outcome}${more}\n`;
}

/** Where a release stands. */
export function standingOf(release: Summary | Detail | (ReleaseEvent & { type: 'state' })): string {
  const { phase, step, batch, failures, wish, pausedFor, rolledBackFor } = release;
  const { batches } = release;
  const count = typeof batches === 'number' ? batches : batches.length;
  const isOpen = phase === 'running' || phase === 'paused';
  const words = [
    phase,
    ...(isOpen
      ? [`${phase === 'paused' ? 'before ' : ''}${step} of batch ${batch + 1} of ${count}`]
      : []),
    ...(failures > 0 ? [`${failures} hosts failed`] : []),
    ...(pausedFor === undefined || phase !== 'paused' ? [] : [`paused: ${printable(pausedFor)}`]),
    ...(rolledBackFor === undefined ? [] : [`rolled back: ${printable(rolledBackFor)}`]),
    ...(wish === undefined ? [] : [`asked to ${wish}`]),
  ];
  return words.join(', ');
}

function troubleOf(host: ReleaseHost): string[] {
  const { stage, why, whyLost } = host;
  const name = nameOf(host);
  return [
    why === undefined ? [] : [`${name}: ${stage}: ${printable(why)}`],
    whyLost === undefined ? [] : [`${name}: did not come back: ${printable(whyLost)}`],
  ].flat();
}

function owedText({ owed, ...host }: LateHost): string[] {
  if (owed === undefined) return [];
  const { state, stage, should, has, tries, heldFor } = owed;
  const words = [
    `${nameOf(host)}: ${state}`,
    `should have ${versionText(should)}`,
    `has ${versionText(has)}`,
    ...(state === 'mended' ? [] : [stage === 'left' ? 'left as it is' : stage]),
    ...(tries > 0 ? [`${tries} tries`] : []),
    ...(heldFor === undefined ? [] : [printable(heldFor)]),
  ];
  return [words.join(', ')];
}

function versionText(version: string | null | undefined): string {
  return version === undefined ? 'not known' : printable(version ?? 'none');
}

/** `a 3, b 1`: each word, and how often it is there. */
function countsOf(words: readonly string[]): string {
  const groups = Map.groupBy(words, (word) => word);
  return [...groups].map(([word, { length }]) => `${printable(word)} ${length}`).join(', ');
}

function namesOf(hosts: readonly Parameters<typeof nameOf>[0][]): string {
  const names = hosts.slice(0, MAX_NAMES).map(nameOf).join(' ');
  const rest = hosts.length - MAX_NAMES;
  return rest > 0 ? `${names} and ${rest} more` : names;
}

function nameOf({ hostname, peer }: { readonly hostname?: string; readonly peer: string }): string {
  return hostname === undefined ? peer.slice(-8) : printable(hostname);
}

function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const lines = [head, ...rows];
  const widths = head.map((_name, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)));
  return lines.map((line) =>
    line
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** `dfops audit …`: what was done and denied, asked of a supernode; and whether an export of it is what was written. */
import { createReadStream } from 'node:fs';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { bindCommand } from '../../core/base/command-line.ts';
import { CodedError, systemCode } from '../../core/base/error.ts';
import { commonOptions, defineOptions } from '../../core/base/options.ts';
import { pageLimits } from '../../core/base/paging.ts';
import { printable } from '../../core/base/printable.ts';
import { peerIdPattern } from '../../core/identity/peer-id.ts';
import type { AuditRecord, ChainPoint } from '../control/audit-record.ts';
import { verifyAudit } from '../control/audit-verify.ts';
import type { AuditVerdict } from '../control/audit-verify.ts';
import type { VerbAnswer } from './answers.ts';
import { ApiClient } from './api-client.ts';
import type { CommandTools } from './preheat-command.ts';
import { apiOptions, changeOptions } from './preheat-options.ts';

/** The flags of `dfops audit verify`. */
export const auditVerifyOptions = defineOptions({
  ...commonOptions,
  cell: {
    kind: 'string',
    required: true,
    valueName: 'ID',
    help: 'The id of the cell, which is the key that everything is checked by',
  },
  since: {
    kind: 'string',
    valueName: 'SEQ:HASH',
    help: 'The head that an earlier verification printed; the export has to hold it',
  },
  json: { kind: 'boolean', help: 'Print JSON, one object a line, instead of text' },
});

/** The flags of `dfops audit prune`. */
export const auditPruneOptions = defineOptions({
  ...changeOptions,
  before: {
    kind: 'duration',
    required: true,
    help: 'Only records that are older, as 90d',
  },
  exported: {
    kind: 'string',
    required: true,
    valueName: 'SEQ:HASH',
    help: 'The head that verifying an export printed, which you keep: nothing after it goes',
  },
});

/** The flags of `dfops audit list`. */
export const auditListOptions = defineOptions({
  ...apiOptions,
  kind: { kind: 'string', help: 'Only records of this kind, as call.run' },
  principal: { kind: 'string', help: 'Only what this principal asked for' },
  limit: {
    kind: 'integer',
    default: 100,
    min: 1,
    max: 1_000_000,
    help: 'At most so many records',
  },
});

/** What the commands need besides. */
export interface AuditTools extends CommandTools {
  /** Standard input. */
  readonly input: () => AsyncIterable<Uint8Array>;
  /** Standard output, which slows down what is written to it. */
  readonly output: Writable;
}

/** Adds `audit verify|export|list|prune` to the program. */
export function addAuditCommands(program: Command, tools: AuditTools): void {
  const { env, print, signal } = tools;
  const audit = program.command('audit').description('What was done and denied, and by whom');
  audit.action(() => {
    throw new CodedError('ERR_USAGE', 'dfops audit what? One of: list, export, prune, verify');
  });
  bindCommand(audit.command('list').description('List records, the newest first'), {
    table: auditListOptions,
    env,
    action: async ({ options: { api, apiKey, json, ...query } }) => {
      for await (const record of newest(new ApiClient(api, apiKey), query, signal)) {
        print(json ? `${JSON.stringify(record)}\n` : lineOf(record));
      }
    },
  });
  bindCommand(audit.command('export').description('Write all of it, to be verified and kept'), {
    table: apiOptions,
    env,
    action: async ({ options: { api, apiKey } }) => {
      const bytes = new ApiClient(api, apiKey).download('audit.export', {}, { signal });
      await written(bytes, tools.output);
    },
  });
  bindCommand(audit.command('prune').description('Cut off what is old and was exported'), {
    table: auditPruneOptions,
    env,
    action: async ({ options: { api, apiKey, approval, json, before: ageMs, exported } }) => {
      const head = pointFrom('--exported', exported);
      const before = Math.max(0, Math.round(tools.clock.now()) - ageMs);
      const client = new ApiClient(api, apiKey, { approval });
      const pruned = await client.ask('audit.prune', { before, exported: head }, { signal });
      const { records, through } = pruned;
      const text = `${records} records are not kept any more, up to ${through.seq}:${through.hash}`;
      print(`${json ? JSON.stringify(pruned) : text}\n`);
    },
  });
  const verify = audit
    .command('verify')
    .description('Find out whether an export was changed or cut');
  bindCommand(verify.argument('<FILE>', 'an export; - for standard input'), {
    table: auditVerifyOptions,
    env,
    action: async ({ options: { cell, since, json }, args: [file = ''] }) => {
      const atLeast = since === undefined ? undefined : pointFrom('--since', since);
      if (!peerIdPattern.test(cell))
        throw new CodedError('ERR_USAGE', '--cell: is no id of a cell');
      const bytes = file === '-' ? tools.input() : contentOf(file);
      const verdict = await verifyAudit(bytes, { cell, atLeast });
      print(
        json
          ? `${JSON.stringify({ good: verdict.fault === undefined, ...verdict })}\n`
          : textOf(verdict),
      );
      if (verdict.fault !== undefined) throw broken(verdict.fault);
    },
  });
}

async function* newest(
  api: ApiClient,
  query: {
    readonly kind?: string | undefined;
    readonly principal?: string | undefined;
    readonly limit: number;
  },
  signal: AbortSignal,
): AsyncGenerator<AuditRecord> {
  const { kind, principal, limit } = query;
  let left = limit;
  for (let after: number | undefined; ;) {
    const part = Math.min(left, pageLimits.max);
    const about = { order: 'newest', limit: part, after, kind, principal } as const;
    const page: VerbAnswer<'audit.list'> = await api.ask('audit.list', about, { signal });
    const { records, next } = page;
    yield* records;
    left -= records.length;
    if (next === undefined || left <= 0) return;
    after = next;
  }
}

function lineOf(record: AuditRecord): string {
  const { seq, at, decision, kind, principal, source, object, detail } = record;
  const who = `${principal || '-'}@${source || '-'}`;
  const words = [String(seq), timeOf(at), decision, kind, who, object, JSON.stringify(detail)];
  return `${printable(words.join('  '))}\n`;
}

function textOf(verdict: AuditVerdict): string {
  const { records, from, checkpoints, unsigned, first, last, head } = verdict;
  const lines = [
    `records      ${records}`,
    ...(from === undefined
      ? []
      : [
          `from         ${from.seq}:${from.hash}, signed ${timeOf(from.at)}; before that it was pruned`,
        ]),
    ...(first === undefined ? [] : [`first        ${timeOf(first.at)}`]),
    ...(last === undefined ? [] : [`last         ${timeOf(last.at)}`]),
    `checkpoints  ${checkpoints}`,
    ...(unsigned === 0 ? [] : [`unsigned     ${unsigned}, after the last checkpoint`]),
    ...(head === undefined ? [] : [`head         ${head.seq}:${head.hash}`]),
  ];
  const state = verdict.fault === undefined ? 'good\n' : 'NOT GOOD; what follows is before that:\n';
  return `${state}${lines.join('\n')}\n`;
}

function timeOf(ms: number): string {
  // What is no time of a calendar is shown as it is.
  return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : String(ms);
}

function broken({ problem, seq, line, message }: NonNullable<AuditVerdict['fault']>): CodedError {
  return new CodedError('ERR_AUDIT_BROKEN', printable(`line ${line}: ${problem}: ${message}`), {
    detail: { problem, seq, line },
  });
}

function pointFrom(flag: string, text: string): ChainPoint {
  const [, seq, hash] = /^([0-9]{1,15}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (seq !== undefined && hash !== undefined) return { seq: Number(seq), hash };
  throw new CodedError('ERR_USAGE', `${flag}: expected SEQ:HASH as "dfops audit verify" prints it`);
}

async function* contentOf(file: string): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of createReadStream(file)) if (Buffer.isBuffer(chunk)) yield chunk;
  } catch (cause) {
    const reason = systemCode(cause) ?? String(cause);
    throw new CodedError('ERR_USAGE', `cannot read ${file}: ${reason}`, { cause });
  }
}

async function written(bytes: AsyncIterable<Uint8Array>, output: Writable): Promise<void> {
  try {
    await pipeline(bytes, output, { end: false });
  } catch (cause) {
    if (cause instanceof CodedError) throw cause;
    const reason = systemCode(cause) ?? String(cause);
    throw new CodedError('ERR_OUTPUT_UNWRITABLE', `cannot write the export: ${reason}`, { cause });
  }
}

// What a host is told to run, and what it says became of it: two signed statements, so that whoever passes them on can
// delay or drop them, and nothing else.
import { createHash } from 'node:crypto';
import { CodedError } from '../base/error.ts';
import { openEnvelope, seal } from './envelope.ts';
import type { HostKey } from './host-key.ts';
import { SignedBody } from './signed-body.ts';

/** Whether a call may take long: slow ones never stand in the way of fast ones. */
export const lanes = ['fast', 'slow'] as const;
export type Lane = (typeof lanes)[number];

/** One command for one host, good once and until `expires` (ms of cell time). */
export interface CallOrder {
  /** Of the cell that it is for. */
  readonly cell: string;
  /** The call, the same for all its hosts. */
  readonly call: string;
  /** Peer id of the one host that may run this. */
  readonly host: string;
  /** All hosts of the call, frozen when it was made: `digestOfHosts()`. */
  readonly hosts: string;
  /** Who asked for it: the id of his key. */
  readonly principal: string;
  readonly issued: number;
  readonly expires: number;
  readonly lane: Lane;
  /** A name that the host itself maps to a program. */
  readonly command: string;
  /** What is passed to the program after what the host puts there itself; never seen by a shell. */
  readonly args: readonly string[];
  /** The user to run as; absent: as the host says of the command. */
  readonly runAs?: string;
  /** From its start; then it is ended with all its processes. */
  readonly timeoutMs: number;
  /** Of stdout and of stderr each; what is more is counted and thrown away. */
  readonly maxOutputBytes: number;
  /** Epoch of the cell map whose revocations were in force when this was signed; absent: of a control that dates none. */
  readonly epoch?: number;
}

/** How long an order may be on its way; what has not begun by then never does. */
export const maxCallTtlMs = 300_000;
/** Bounds of an order. */
export const callLimits = {
  args: 256,
  /** Of all arguments together, in UTF-8. */
  argBytes: 65_536,
  timeoutMs: 24 * 3_600_000,
  outputBytes: 1_048_576,
} as const;

const MAX_ORDER_BYTES = 131_072;
const CALL_ID = /^[0-9a-z]{8,32}$/;
const COMMAND = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const PRINCIPAL = /^[\p{L}\p{N}@._-]{1,64}$/u;
const USER = /^[a-z_][a-z0-9_-]{0,31}$/;
const DIGEST = /^[0-9a-f]{64}$/;

/** SHA-256 over the peer ids of a set of hosts, sorted, one a line. */
export function digestOfHosts(peerIds: Iterable<string>): string {
  const sorted = [...new Set(peerIds)].toSorted();
  return createHash('sha256').update(sorted.join('\n')).digest('hex');
}

/** The order (envelope kind `call`), signed by a control key; ERR_SIGNATURE naming a field that readers would refuse. */
export function issueCallOrder(controlKey: HostKey, order: CallOrder): string {
  const body = { v: 1, ...order };
  parseOrder(body);
  return seal('call', body, controlKey);
}

/** What an order says and who signed it; whether that signer may is for the host to judge. ERR_SIGNATURE. */
export function openCallOrder(envelope: string): { order: CallOrder; signer: string } {
  const { body, signer } = openEnvelope(envelope, 'call', { maxBytes: MAX_ORDER_BYTES });
  return { order: parseOrder(body), signer };
}

function parseOrder(body: Readonly<Record<string, unknown>>): CallOrder {
  const fields = new SignedBody('call', body);
  const runAs = fields.optionalText('runAs', USER);
  const order = {
    cell: fields.peerId('cell'),
    call: fields.text('call', CALL_ID),
    host: fields.peerId('host'),
    hosts: fields.text('hosts', DIGEST),
    principal: fields.text('principal', PRINCIPAL),
    issued: fields.integer('issued'),
    expires: fields.integer('expires'),
    lane: fields.oneOf('lane', lanes),
    command: fields.text('command', COMMAND),
    args: fields.list('args', parseArg, { max: callLimits.args }),
    ...(runAs === undefined ? {} : { runAs }),
    timeoutMs: fields.integer('timeoutMs'),
    maxOutputBytes: fields.integer('maxOutputBytes'),
    ...(body['epoch'] === undefined ? {} : { epoch: fields.integer('epoch') }),
  };
  const bytes = order.args.reduce((sum, arg) => sum + Buffer.byteLength(arg), 0);
  if (bytes > callLimits.argBytes) throw wrong('args');
  if (order.expires < order.issued || order.expires - order.issued > maxCallTtlMs) {
    throw wrong('expires');
  }
  if (order.timeoutMs < 1 || order.timeoutMs > callLimits.timeoutMs) throw wrong('timeoutMs');
  if (order.maxOutputBytes > callLimits.outputBytes) throw wrong('maxOutputBytes');
  return order;
}

/** No program can be given a NUL; a lone surrogate has no bytes. */
function parseArg(value: unknown): string | undefined {
  return typeof value === 'string' && !value.includes('\0') && value.isWellFormed()
    ? value
    : undefined;
}

/** How a call ended on one host: `unknown` when it may or may not have run. */
export const callOutcomes = ['ok', 'failed', 'refused', 'unknown'] as const;
export type CallOutcome = (typeof callOutcomes)[number];

/** What became of one order, by the host that had it. */
export interface CallResult {
  readonly call: string;
  readonly host: string;
  readonly outcome: CallOutcome;
  /** Of what is not ok: a code of the table, and what a person should know. */
  readonly code?: string;
  readonly message?: string;
  readonly exitCode?: number;
  readonly signal?: string;
  /** Cell time, ms; absent when it never began. */
  readonly began?: number;
  readonly ended: number;
  /** Bytes that the program wrote, and SHA-256 of those that are passed on. */
  readonly stdoutBytes: number;
  readonly stdoutDigest: string;
  readonly stderrBytes: number;
  readonly stderrDigest: string;
}

const TEXT = /^[^\p{Cc}]{0,1000}$/u;
const CODE = /^ERR_[A-Z_]{1,60}$/;
const SIGNAL = /^SIG[A-Z0-9+]{1,12}$/;

/** The result (envelope kind `call-result`), signed by the host; ERR_SIGNATURE naming a field readers would refuse. */
export function issueCallResult(hostKey: HostKey, result: CallResult): string {
  const body = { v: 1, ...result };
  parseResult(body);
  return seal('call-result', body, hostKey);
}

/** What a result says; ERR_SIGNATURE when it is malformed or not signed by the host that it is of. */
export function openCallResult(envelope: string): CallResult {
  const { body, signer } = openEnvelope(envelope, 'call-result', { maxBytes: 8_192 });
  const result = parseResult(body);
  if (result.host === signer) return result;
  throw new CodedError('ERR_SIGNATURE', 'the call-result is signed by another host', {
    detail: { kind: 'call-result', signer },
  });
}

function parseResult(body: Readonly<Record<string, unknown>>): CallResult {
  const fields = new SignedBody('call-result', body);
  const code = fields.optionalText('code', CODE);
  const message = fields.optionalText('message', TEXT);
  const signal = fields.optionalText('signal', SIGNAL);
  return {
    call: fields.text('call', CALL_ID),
    host: fields.peerId('host'),
    outcome: fields.oneOf('outcome', callOutcomes),
    ...(code === undefined ? {} : { code }),
    ...(message === undefined ? {} : { message }),
    ...(body['exitCode'] === undefined ? {} : { exitCode: fields.integer('exitCode') }),
    ...(signal === undefined ? {} : { signal }),
    ...(body['began'] === undefined ? {} : { began: fields.integer('began') }),
    ended: fields.integer('ended'),
    stdoutBytes: fields.integer('stdoutBytes'),
    stdoutDigest: fields.text('stdoutDigest', DIGEST),
    stderrBytes: fields.integer('stderrBytes'),
    stderrDigest: fields.text('stderrDigest', DIGEST),
  };
}

function wrong(field: string): CodedError {
  return new CodedError('ERR_SIGNATURE', `the call has a wrong field "${field}"`, {
    detail: { kind: 'call', field },
  });
}

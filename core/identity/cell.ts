// A cell is named by its key: the cell id is the peer id of the cell key, so whoever knows the id can check what
// the key signed. The cell key signs two things, the certificates of supernodes and (in need) the cell map, and may
// stay offline in between.
import { CodedError } from '../base/error.ts';
import { isRecord, openEnvelope, seal } from './envelope.ts';
import type { HostKey } from './host-key.ts';
import { peerIdPattern } from './peer-id.ts';
import { SignedBody } from './signed-body.ts';

/** That a key is a supernode of the cell from `notBefore` to `expires`, ms of cell time. */
export interface SupernodeCertificate {
  readonly supernode: string;
  readonly notBefore: number;
  readonly expires: number;
}

/** A supernode and where its mesh port is reached. */
export interface SupernodeEntry {
  readonly peerId: string;
  readonly addresses: readonly string[];
}

/** Who serves the cell and who is no longer of it; of two maps the one with the higher epoch holds. */
export interface CellMap {
  readonly epoch: number;
  readonly supernodes: readonly SupernodeEntry[];
  /** Peer ids, of hosts and of supernodes. */
  readonly revoked: readonly string[];
}

/** How long a supernode's certificate holds, ms; successive ones overlap. */
export const certificateTtlMs = 90 * 86_400_000;
/** Largest cell map, bytes. */
export const maxCellMapBytes = 1_048_576;

const MAX_CERTIFICATE_BYTES = 2048;
const MAX_SUPERNODES = 1000;
/** What a map of `maxCellMapBytes` has room for. */
const MAX_REVOKED = 14_000;
const MAX_ADDRESSES = 16;
const MAX_ADDRESS_LENGTH = 256;

/** The certificate (envelope kind `cert`) of a supernode, signed by the cell key; ERR_SIGNATURE on a wrong field. */
export function issueCertificate(
  cellKey: HostKey,
  options: { supernode: string; now: number; ttlMs?: number },
): string {
  const { supernode, now, ttlMs = certificateTtlMs } = options;
  const body = { v: 1, supernode, notBefore: now, expires: now + ttlMs };
  parseCertificate(body);
  return seal('cert', body, cellKey);
}

/** What a certificate says; ERR_SIGNATURE when it is malformed or not signed by the key of `cellId`. */
export function openCertificate(envelope: string, cellId: string): SupernodeCertificate {
  const { body, signer } = openEnvelope(envelope, 'cert', { maxBytes: MAX_CERTIFICATE_BYTES });
  if (signer !== cellId) {
    throw new CodedError('ERR_SIGNATURE', 'the cert is signed by the key of another cell', {
      detail: { signer, cell: cellId },
    });
  }
  return parseCertificate(body);
}

/** A cell map (envelope kind `map`), signed by a supernode or by the cell key; ERR_SIGNATURE on a wrong field. */
export function issueCellMap(key: HostKey, map: CellMap): string {
  const { epoch, supernodes, revoked } = map;
  const body = { v: 1, epoch, supernodes, revoked };
  parseCellMap(body);
  const envelope = seal('map', body, key);
  if (envelope.length > maxCellMapBytes) {
    throw new CodedError('ERR_SIGNATURE', `the map is longer than ${maxCellMapBytes} bytes`);
  }
  return envelope;
}

/** What a cell map says and who signed it; whether that signer may is for `CellTrust` to judge. */
export function openCellMap(envelope: string): { map: CellMap; signer: string } {
  const { body, signer } = openEnvelope(envelope, 'map', { maxBytes: maxCellMapBytes });
  return { map: parseCellMap(body), signer };
}

function parseCertificate(body: Readonly<Record<string, unknown>>): SupernodeCertificate {
  const fields = new SignedBody('cert', body);
  return {
    supernode: fields.peerId('supernode'),
    notBefore: fields.integer('notBefore'),
    expires: fields.integer('expires'),
  };
}

function parseCellMap(body: Readonly<Record<string, unknown>>): CellMap {
  const fields = new SignedBody('map', body);
  return {
    epoch: fields.integer('epoch'),
    supernodes: fields.list('supernodes', parseSupernode, { max: MAX_SUPERNODES }),
    revoked: fields.list('revoked', parsePeerId, { max: MAX_REVOKED }),
  };
}

function parsePeerId(value: unknown): string | undefined {
  return typeof value === 'string' && peerIdPattern.test(value) ? value : undefined;
}

function parseSupernode(value: unknown): SupernodeEntry | undefined {
  if (!isRecord(value)) return undefined;
  const peerId = parsePeerId(value['peerId']);
  const addresses: unknown = value['addresses'];
  if (peerId === undefined || !isAddressList(addresses)) return undefined;
  return { peerId, addresses };
}

function isAddressList(value: unknown): value is string[] {
  if (!Array.isArray(value) || value.length > MAX_ADDRESSES) return false;
  return value.every(
    (item: unknown) =>
      typeof item === 'string' && item.length > 0 && item.length <= MAX_ADDRESS_LENGTH,
  );
}

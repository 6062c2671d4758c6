import { join } from 'node:path';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import {
  issueControlCertificate,
  openControlCertificate,
} from '../../core/identity/control-certificate.ts';
import type { ControlCertificate } from '../../core/identity/control-certificate.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import type { StateStore } from '../../core/store/state-store.ts';

const ROW = 'control/certificate';
/** Renewed when so much of its life is over: the rest is for fetching an offline key. */
const RENEW_AT = 2 / 3;

export interface ControlKeyParts {
  readonly dataDir: string;
  readonly state: StateStore;
  /** Cell id. */
  readonly cell: string;
  readonly clock: Clock;
  /** The key of the cell, or undefined while it is kept elsewhere. */
  readonly cellKey: () => Promise<HostKey | undefined>;
}

/** The key that calls are signed with, and what makes hosts believe it. */
export class ControlKey {
  readonly key: HostKey;
  readonly #parts: ControlKeyParts;
  #known: { readonly envelope: string; readonly certificate: ControlCertificate } | undefined;

  private constructor(key: HostKey, parts: ControlKeyParts) {
    this.key = key;
    this.#parts = parts;
  }

  /** Loads the key, made at the first start, and its certificate, made and renewed while the key of the cell is there. */
  static async open(parts: ControlKeyParts): Promise<ControlKey> {
    const control = new ControlKey(
      await HostKey.load(join(parts.dataDir, 'identity', 'control.key')),
      parts,
    );
    await control.#load();
    await control.renewIfDue();
    return control;
  }

  /** The certificate in force; ERR_KEY_FILE when there is none, and the key of the cell is not there to make one. */
  get certificate(): string {
    const { clock, cell } = this.#parts;
    if (this.#known !== undefined && this.#known.certificate.expires > clock.now()) {
      return this.#known.envelope;
    }
    throw new CodedError(
      'ERR_KEY_FILE',
      'this supernode has no valid certificate for calls: put cell.key back into the identity folder',
      { detail: { cell, control: this.key.peerId } },
    );
  }

  /** Makes a certificate when the last one is old and the key of the cell is there. */
  async renewIfDue(): Promise<void> {
    const { cell, cellKey, clock, state } = this.#parts;
    const now = Math.round(clock.now());
    const known = this.#known?.certificate;
    if (known !== undefined && now < known.notBefore + (known.expires - known.notBefore) * RENEW_AT)
      return;
    const key = await cellKey();
    if (key === undefined) return;
    const envelope = issueControlCertificate(key, { control: this.key.peerId, now });
    await state.commit([{ type: 'put', key: ROW, value: envelope }]);
    this.#known = { envelope, certificate: openControlCertificate(envelope, cell) };
  }

  async #load(): Promise<void> {
    const { state, cell } = this.#parts;
    const envelope = (await state.get(ROW))?.value;
    if (typeof envelope !== 'string') return;
    const certificate = openControlCertificate(envelope, cell);
    // One of a key that is no more is of no use.
    if (certificate.control === this.key.peerId) this.#known = { envelope, certificate };
  }
}

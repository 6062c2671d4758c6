// Where others reach a host, out of what it says of itself. The supernode connects there, and so do all hosts that it
// offers the host to: a member must not have them connect to whatever it names.
import { isIP } from 'node:net';
import { formatHostPort, parseHostPort } from '../../core/base/addresses.ts';
import { CodedError } from '../../core/base/error.ts';
import { isInCidr } from '../../core/identity/cidr.ts';
import { AddressGuard } from '../../core/origin/address-guard.ts';
import type { Hello } from '../../core/wire/messages.ts';

/** As many as a host tries to dial. */
const MAX_ADDRESSES = 8;

export interface HostAddressesOptions {
  /** Networks, in CIDR notation, in which a host may name addresses that it does not connect from. */
  readonly allow: readonly string[];
  /** Addresses of the supernode, and its ports: never another host's, but for one on the same machine. */
  readonly own: { readonly hosts: readonly string[]; readonly ports: readonly number[] };
}

/** What is made of the addresses of one host, each `HOST:PORT`. */
export interface ChosenAddresses {
  readonly taken: readonly string[];
  readonly refused: readonly string[];
}

/** Which of the addresses that hosts name are used. */
export class HostAddresses {
  readonly #allow: readonly string[];
  readonly #own: ReadonlySet<string>;
  readonly #guard = new AddressGuard({ allow: [] });

  constructor({ allow, own }: HostAddressesOptions) {
    this.#allow = allow;
    this.#own = new Set(own.hosts);
    this.#guard.addOwnPorts(own.ports);
  }

  /** Those that it may name, the first of them; where there are none, the one it connects from. */
  choose(
    { addresses, linkPort }: Pick<Hello, 'addresses' | 'linkPort'>,
    from: string,
  ): ChosenAddresses {
    const taken = new Set<string>();
    const refused: string[] = [];
    for (const text of addresses) {
      const address = parseHostPort(text);
      const isTaken =
        address !== undefined && taken.size < MAX_ADDRESSES && this.#mayName(address, from);
      if (isTaken) taken.add(formatHostPort(address));
      else refused.push(text);
    }
    if (taken.size === 0 && linkPort !== undefined) {
      taken.add(formatHostPort({ host: from, port: linkPort }));
    }
    return { taken: [...taken], refused };
  }

  #mayName(
    { host, port }: { readonly host: string; readonly port: number },
    from: string,
  ): boolean {
    // A name would lead elsewhere whenever its owner likes.
    if (isIP(host) === 0) return false;
    if (isInCidr(host, from)) return true;
    // It runs on this machine, and no other machine can have such a sender.
    if (isLoopback(from) && (isLoopback(host) || this.#own.has(host))) return true;
    if (this.#own.has(host) || !this.#allow.some((network) => isInCidr(host, network)))
      return false;
    try {
      this.#guard.check(host, port);
      return true;
    } catch (error) {
      if (CodedError.from(error).code === 'ERR_ORIGIN_FORBIDDEN') return false;
      throw error;
    }
  }
}

function isLoopback(ip: string): boolean {
  return isInCidr(ip, '127.0.0.0/8') || isInCidr(ip, '::1');
}

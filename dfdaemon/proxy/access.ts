// Who may use the proxy, and what he may reach through it. The proxy connects with the rights of dfdaemon, which is
// often root and stands inside the firewall, so it must not lend those to anybody: programs on this host may use it, and
// the networks that the operator names. What `--origin-allow` opens (loopback, link-local) is open to the former only.
import { AddressGuard } from '../../core/origin/address-guard.ts';
import { inRange, parseIp, parseIpRange } from '../../core/origin/ip-address.ts';
import type { IpRange } from '../../core/origin/ip-address.ts';
import { CodedError } from '../../core/base/error.ts';

/** `local`: on this host; `admitted`: in a network of `--proxy-allow`; `stranger`: may read /healthz and /metrics. */
export type ProxyUser = 'local' | 'admitted' | 'stranger';

/** Who may use the proxy. */
export type AdmittedUser = Exclude<ProxyUser, 'stranger'>;

/** The two ends of a connection, as a socket tells them. */
export interface ConnectionEnds {
  readonly remoteAddress?: string | undefined;
  readonly localAddress?: string | undefined;
}

/** Who is let in, and what is opened to him. */
export interface ProxyAccessOptions {
  /** Networks besides this host, as CIDR. */
  readonly allow: readonly string[];
  /** What origins may be reached although refused by default, as CIDR. */
  readonly originAllow: readonly string[];
}

const loopback = ['127.0.0.0/8', '::1/128'].map(rangeOf);

/** Knows clients from their addresses, and guards what each kind connects to. */
export class ProxyAccess {
  readonly #allow: readonly IpRange[];
  readonly #guards: Readonly<Record<AdmittedUser, AddressGuard>>;

  /** Throws ERR_CONFIG naming a malformed range. */
  constructor(options: ProxyAccessOptions) {
    this.#allow = options.allow.map(rangeOf);
    this.#guards = {
      local: new AddressGuard({ allow: options.originAllow }),
      admitted: new AddressGuard({ allow: [] }),
    };
  }

  /** Ports of this program: nobody reaches them through the proxy, so that no request can come round in a circle. */
  addOwnPorts(ports: readonly number[]): void {
    for (const guard of Object.values(this.#guards)) guard.addOwnPorts(ports);
  }

  /** Who is at the other end. */
  userOf({ remoteAddress = '', localAddress = '' }: ConnectionEnds): ProxyUser {
    const remote = plain(remoteAddress);
    // From one of this host's addresses to itself; no other machine can complete a connection with such a sender.
    if (remote !== '' && remote === plain(localAddress)) return 'local';
    const address = parseIp(remote);
    if (address === undefined) return 'stranger';
    if (loopback.some((range) => inRange(address, range))) return 'local';
    return this.#allow.some((range) => inRange(address, range)) ? 'admitted' : 'stranger';
  }

  /** The user, when he may use the proxy; throws ERR_FORBIDDEN naming his address. */
  admit(ends: ConnectionEnds): AdmittedUser {
    const user = this.userOf(ends);
    if (user !== 'stranger') return user;
    const address = plain(ends.remoteAddress ?? '');
    throw new CodedError('ERR_FORBIDDEN', `${address} may not use this proxy (--proxy-allow)`, {
      detail: { address },
    });
  }

  /** The check of an address right before it is connected to for this user. */
  checkFor(user: AdmittedUser): (ip: string, port: number) => void {
    const guard = this.#guards[user];
    return (ip, port) => guard.check(ip, port);
  }
}

/** An IPv4 client of a socket on `::` is shown as `::ffff:1.2.3.4`. */
function plain(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
}

function rangeOf(text: string): IpRange {
  const range = parseIpRange(text);
  if (range === undefined) throw new CodedError('ERR_CONFIG', `not an address range: ${text}`);
  return range;
}

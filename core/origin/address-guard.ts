import { networkInterfaces } from 'node:os';
import { CodedError } from '../base/error.ts';
import { embeddedV4, inRange, parseIp, parseIpRange } from './ip-address.ts';
import type { IpAddress, IpRange } from './ip-address.ts';

/** What a fetcher may connect to. */
export interface AddressGuardOptions {
  /** Ranges in CIDR notation that are opened although they are refused by default. */
  readonly allow: readonly string[];
  /** This host's addresses besides loopback; default: those of its interfaces, read when needed. */
  readonly ownAddresses?: () => readonly string[];
}

interface RefusedRange {
  readonly range: IpRange;
  readonly name: string;
}

/**
 * What nobody may reach through us unless the operator says so: the machine itself, its link, and the
 * metadata services of clouds (which hand credentials to anything that can ask). Private networks are
 * where most origins of a fleet live, and stay open.
 */
const refusedRanges: readonly RefusedRange[] = [
  ...refused('unspecified', ['0.0.0.0/8', '::/128']),
  ...refused('loopback', ['127.0.0.0/8', '::1/128']),
  ...refused('link-local', ['169.254.0.0/16', 'fe80::/10']),
  ...refused('multicast', ['224.0.0.0/4', 'ff00::/8']),
  ...refused('broadcast', ['255.255.255.255/32']),
  ...refused('cloud metadata', ['100.100.100.200/32', 'fd00:ec2::254/128']),
];

const selfRanges: readonly IpRange[] = ['0.0.0.0/8', '127.0.0.0/8', '::/128', '::1/128'].map(range);

/** Keeps a fetcher from being used to reach places its users could not (a confused deputy). */
export class AddressGuard {
  /** Allows every address: for a program that acts for nobody but the user who started it. */
  static readonly open: AddressGuard = new AddressGuard({
    allow: ['0.0.0.0/0', '::/0'],
  });

  readonly #allow: readonly IpRange[];
  readonly #ownPorts = new Set<number>();
  readonly #ownAddresses: () => readonly string[];

  /** Throws ERR_CONFIG naming a malformed range. */
  constructor(options: AddressGuardOptions) {
    this.#allow = options.allow.map(range);
    this.#ownAddresses = options.ownAddresses ?? interfaceAddresses;
  }

  /** Ports that this host listens on itself: refused on its own addresses whatever else is allowed. */
  addOwnPorts(ports: readonly number[]): void {
    for (const port of ports) this.#ownPorts.add(port);
  }

  /** Throws ERR_ORIGIN_FORBIDDEN, naming the address and why, unless a connection to it may be made. */
  check(ip: string, port: number): void {
    const address = parseIp(ip);
    if (address === undefined) throw forbidden(ip, port, 'not an address');
    // A v6 address that leads to a v4 one is judged as both.
    const inner = embeddedV4(address);
    const faces = inner === undefined ? [address] : [address, inner];
    if (this.#ownPorts.has(port) && this.#isOwn(faces)) {
      throw forbidden(ip, port, "one of this host's own ports");
    }
    const refusal = refusedRanges.find((entry) => isWithin(faces, entry.range));
    if (refusal === undefined) return;
    if (this.#allow.some((allowed) => isWithin(faces, allowed))) return;
    throw forbidden(ip, port, refusal.name);
  }

  #isOwn(faces: readonly IpAddress[]): boolean {
    if (selfRanges.some((self) => isWithin(faces, self))) return true;
    return this.#ownAddresses().some((text) => {
      const own = parseIpRange(text);
      return own !== undefined && isWithin(faces, own);
    });
  }
}

function isWithin(faces: readonly IpAddress[], block: IpRange): boolean {
  return faces.some((face) => inRange(face, block));
}

function range(text: string): IpRange {
  const parsed = parseIpRange(text);
  if (parsed === undefined) {
    throw new CodedError('ERR_CONFIG', `not an address range: ${text.slice(0, 100)}`, {
      detail: { range: text.slice(0, 100) },
    });
  }
  return parsed;
}

function refused(name: string, ranges: readonly string[]): RefusedRange[] {
  return ranges.map((text) => ({ name, range: range(text) }));
}

function interfaceAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((list) =>
    (list ?? []).map((entry) => entry.address.split('%', 1)[0] ?? ''),
  );
}

function forbidden(ip: string, port: number, reason: string): CodedError {
  return new CodedError(
    'ERR_ORIGIN_FORBIDDEN',
    `connections to ${ip} port ${port} are not allowed: ${reason}`,
    { detail: { address: ip, port, reason } },
  );
}

import { BlockList, isIP, SocketAddress } from 'node:net';

interface Network {
  readonly address: string;
  readonly family: 'ipv4' | 'ipv6';
  readonly prefix: number;
}

/**
 * A network (`10.0.0.0/8`, `fd00::/8`, or one address) in its plain form, v4 networks mapped into v6 as v4;
 * undefined when it is not one.
 */
export function normaliseCidr(text: string): string | undefined {
  const network = parse(text);
  return network === undefined ? undefined : `${network.address}/${network.prefix}`;
}

/** True when `address` lies in `cidr`; v4-mapped v6 addresses count as v4. False when either is malformed. */
export function isInCidr(address: string, cidr: string): boolean {
  const network = parse(cidr);
  const host = plainAddress(address);
  // BlockList maps v4 into v6 and would let ::/0 hold for every v4 address, which nobody means who writes it.
  if (network === undefined || host === undefined || network.family !== host.family) return false;
  const list = new BlockList();
  list.addSubnet(network.address, network.prefix, network.family);
  return list.check(host.address, host.family);
}

function parse(text: string): Network | undefined {
  const slash = text.indexOf('/');
  const written = slash === -1 ? text : text.slice(0, slash);
  const host = plainAddress(written);
  if (host === undefined) return undefined;
  const writtenBits = isIP(written) === 6 ? 128 : 32;
  const bits = host.family === 'ipv6' ? 128 : 32;
  const prefixText = slash === -1 ? String(writtenBits) : text.slice(slash + 1);
  // A prefix of a v4-mapped network counts the 96 bits before the v4 address.
  const prefix = Number(prefixText) - (writtenBits - bits);
  if (!/^(0|[1-9]\d{0,2})$/.test(prefixText) || prefix < 0 || prefix > bits) return undefined;
  return { ...host, prefix };
}

/** The address without zone, v4-mapped v6 as v4. */
function plainAddress(text: string): Pick<Network, 'address' | 'family'> | undefined {
  const version = isIP(text);
  if (version === 0) return undefined;
  if (version === 4) return { address: text, family: 'ipv4' };
  const [withoutZone = text] = text.split('%', 1);
  const { address } = new SocketAddress({ address: withoutZone, family: 'ipv6' });
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(address)?.[1];
  if (mapped !== undefined) return { address: mapped, family: 'ipv4' };
  return { address, family: 'ipv6' };
}

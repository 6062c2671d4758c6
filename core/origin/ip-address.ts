import { isIPv4, isIPv6 } from 'node:net';

/** An IP address as a number of 32 or 128 bits. */
export interface IpAddress {
  readonly family: 4 | 6;
  readonly value: bigint;
}

/** A block of addresses in CIDR notation. */
export interface IpRange {
  readonly network: IpAddress;
  readonly prefixLength: number;
}

/** Parses a textual address (a zone such as `%eth0` is ignored); undefined when it is none. */
export function parseIp(text: string): IpAddress | undefined {
  if (isIPv4(text)) return { family: 4, value: v4Value(text) };
  const [bare = ''] = text.split('%', 1);
  if (!isIPv6(bare)) return undefined;
  const [head = '', tail] = bare.split('::', 2);
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  const gap = Array.from({ length: 8 - front.length - back.length }, () => 0n);
  let value = 0n;
  for (const group of [...front, ...gap, ...back]) value = (value << 16n) | group;
  return { family: 6, value };
}

/** Parses `ADDRESS/BITS` or a lone address; undefined when malformed. */
export function parseIpRange(text: string): IpRange | undefined {
  const [address = '', bits, ...rest] = text.trim().split('/');
  const network = parseIp(address);
  if (network === undefined || rest.length > 0) return undefined;
  const width = network.family === 4 ? 32 : 128;
  if (bits === undefined) return { network, prefixLength: width };
  if (!/^\d{1,3}$/.test(bits) || Number(bits) > width) return undefined;
  return { network, prefixLength: Number(bits) };
}

/** True when `address` lies in `range`; families never match each other. */
export function inRange(address: IpAddress, range: IpRange): boolean {
  if (address.family !== range.network.family) return false;
  const free = BigInt((address.family === 4 ? 32 : 128) - range.prefixLength);
  return address.value >> free === range.network.value >> free;
}

/** The v4 address inside a v6 one that routes to it: v4-mapped, v4-compatible, NAT64 or 6to4. */
export function embeddedV4(address: IpAddress): IpAddress | undefined {
  if (address.family === 4) return undefined;
  const low = address.value & 0xffff_ffffn;
  const high = address.value >> 32n;
  const isMapped = high === 0xffffn;
  const isCompatible = high === 0n && low > 1n;
  const isNat64 = high === 0x64_ff9b_0000_0000_0000_0000n;
  if (isMapped || isCompatible || isNat64) return { family: 4, value: low };
  const is6to4 = address.value >> 112n === 0x2002n;
  if (is6to4) return { family: 4, value: (address.value >> 80n) & 0xffff_ffffn };
  return undefined;
}

function v4Value(text: string): bigint {
  return text.split('.').reduce((value, part) => (value << 8n) | BigInt(part), 0n);
}

/** The 16-bit groups of one side of `::`; a dotted quad makes two. */
function groups(text: string): bigint[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [BigInt(`0x${group}`)];
    const quad = v4Value(group);
    return [quad >> 16n, quad & 0xffffn];
  });
}

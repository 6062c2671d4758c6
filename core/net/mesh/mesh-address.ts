import { lookup } from 'node:dns/promises';
import { isIP, isIPv6 } from 'node:net';
import { multiaddr } from '@multiformats/multiaddr';
import type { Multiaddr } from '@multiformats/multiaddr';
import { parseHostPort } from '../../base/addresses.ts';
import { abortable } from '../../base/clock.ts';
import { CodedError } from '../../base/error.ts';

/** At most so many addresses of one name are tried. */
const MAX_ADDRESSES = 8;

const MAPPED = /^::ffff:(?:(\d+\.\d+\.\d+\.\d+)|([0-9a-f]{1,4}):([0-9a-f]{1,4}))$/i;

/** The multiaddr of an IP address (with a zone, perhaps) and a port. */
export function tcpMultiaddr(ip: string, port: number): Multiaddr {
  if (!isIPv6(ip)) return multiaddr(`/ip4/${ip}/tcp/${port}`);
  const [address = '', zone] = ip.split('%');
  const prefix = zone === undefined ? '' : `/ip6zone/${zone}`;
  return multiaddr(`${prefix}/ip6/${address}/tcp/${port}`);
}

/**
 * Where `HOST:PORT` leads: one multiaddr an IP address, in the order of the resolver. ERR_USAGE for what is no
 * address; ERR_MESH_UNAVAILABLE for a name that cannot be resolved.
 */
export async function resolveAddress(text: string, signal: AbortSignal): Promise<Multiaddr[]> {
  const address = parseHostPort(text);
  if (address === undefined) {
    throw new CodedError('ERR_USAGE', `not an address of the form HOST:PORT: ${text}`, {
      detail: { address: text },
    });
  }
  const { host, port } = address;
  if (isIP(host) !== 0) return [tcpMultiaddr(host, port)];
  try {
    const found = await abortable(lookup(host, { all: true }), signal);
    return found.slice(0, MAX_ADDRESSES).map((entry) => tcpMultiaddr(entry.address, port));
  } catch (error) {
    if (signal.aborted) throw error;
    throw new CodedError('ERR_MESH_UNAVAILABLE', `the name ${host} cannot be resolved`, {
      cause: error,
      detail: { address: text, reason: 'name' },
    });
  }
}

/** IP address and port of the other end of a connection; v4 mapped into v6 is given as v4. */
export function endpointOf(address: Multiaddr): { ip: string; port: number } {
  let ip = '';
  let port = 0;
  for (const { name, value = '' } of address.getComponents()) {
    if (name === 'ip4' || name === 'ip6') ip = value;
    if (name === 'tcp') port = Number(value);
  }
  return { ip: unmapped(ip), port };
}

/** `::ffff:127.0.0.1`, in whichever spelling, as `127.0.0.1`; any other address as it is. */
function unmapped(ip: string): string {
  const [, dotted, high = '', low = ''] = MAPPED.exec(ip) ?? [];
  if (dotted !== undefined) return dotted;
  if (high === '') return ip;
  const bits = Number.parseInt(high, 16) * 0x1_00_00 + Number.parseInt(low, 16);
  return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 0xff).join('.');
}

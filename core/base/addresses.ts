import { isIP, isIPv6 } from 'node:net';

/** A host name or address with a port; `host` carries no brackets. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** A network: address, prefix length in bits, and which kind of address it is. */
export interface Cidr {
  readonly address: string;
  readonly prefix: number;
  readonly family: 'ipv4' | 'ipv6';
}

const BRACKETED = /^\[([^\]]*)\](?::(\d{1,5}))?$/;
const PLAIN = /^([^:[\]]+)(?::(\d{1,5}))?$/;
const NAME = /^(?!.*\.\.)[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?$/i;
const DOTTED_NUMBERS = /^[\d.]+$/;

/**
 * Parses `name:8002`, `10.0.0.1:8002`, `[::1]:8002`, and without a port when `defaultPort` is given
 * (then a bare `::1` too); undefined when it is none of these.
 */
export function parseHostPort(text: string, defaultPort?: number): HostPort | undefined {
  if (isIPv6(text)) return withPort(text, undefined, defaultPort);
  const bracketed = BRACKETED.exec(text);
  if (bracketed !== null) {
    const host = bracketed[1] ?? '';
    return isIPv6(host) ? withPort(host, bracketed[2], defaultPort) : undefined;
  }
  const [, host = '', port] = PLAIN.exec(text) ?? [];
  return isHost(host) ? withPort(host, port, defaultPort) : undefined;
}

/** `name:8002` or `[::1]:8002`. */
export function formatHostPort(address: HostPort): string {
  return address.host.includes(':')
    ? `[${address.host}]:${address.port}`
    : `${address.host}:${address.port}`;
}

/** An IP address without the brackets that v6 may come in; undefined when it is none. */
export function parseIp(text: string): string | undefined {
  const bare = text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text;
  return isIP(bare) === 0 ? undefined : bare;
}

/** Parses `10.0.0.0/8`, `fd00::/8` or one address alone; undefined when it is no network. */
export function parseCidr(text: string): Cidr | undefined {
  const [address = '', prefixText, ...rest] = text.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0 || address.includes('%')) return undefined;
  const bits = version === 4 ? 32 : 128;
  if (prefixText !== undefined && !/^\d{1,3}$/.test(prefixText)) return undefined;
  const prefix = prefixText === undefined ? bits : Number(prefixText);
  if (prefix > bits) return undefined;
  return { address, prefix, family: version === 4 ? 'ipv4' : 'ipv6' };
}

function isHost(host: string): boolean {
  if (DOTTED_NUMBERS.test(host)) return isIP(host) === 4;
  return host.length <= 253 && NAME.test(host);
}

function withPort(host: string, text: string | undefined, other?: number): HostPort | undefined {
  const port = text === undefined ? other : Number(text);
  if (port === undefined || port < 1 || port > 65_535) return undefined;
  return { host, port };
}

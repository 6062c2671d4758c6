import { CodedError } from '../../core/base/error.ts';

/** What every namespace and device of every lab begins with, so that labs are told from all else. */
export const LAB_PREFIX = 'odl-';
/** One folder for each lab that is up, and one link for each network that is taken. */
export const STATE_DIR = '/run/odonata-lab';
/** Labs that can be up at a time: each has a /20 of the addresses set aside for benchmarks (RFC 2544). */
export const MAX_LABS = 16;
/** All addresses of all labs. */
export const LAB_NETWORK = '198.18.0.0/15';
/** Hosts of one lab; a bridge has 1023 ports, one of them is the harness's. */
export const MAX_LAB_HOSTS = 1000;
/** Each host talks to the relay through a port of its own, and so has a socket buffer of its own there. */
export const FIRST_RELAY_PORT = 20_000;

const HARNESS = 4094;
const RELAY = 4093;

/** `[a-z0-9]`, 8 at most: device names have 15 characters. */
export function labName(text: string): string {
  if (/^[a-z0-9]{1,8}$/.test(text)) return text;
  throw new CodedError('ERR_USAGE', `a lab is named by 1 to 8 of a-z and 0-9, got ${text}`);
}

/** The namespace of a host. */
export function namespaceOf(lab: string, host: string): string {
  return `${LAB_PREFIX}${lab}-${host}`;
}

/** The namespace that holds the bridges, and with a delay the relay. */
export function switchOf(lab: string): string {
  return `${LAB_PREFIX}${lab}-switch`;
}

/** The device by which whoever runs the lab stands on its bridge, without limits. */
export function harnessDevice(lab: string): string {
  return `${LAB_PREFIX}${lab}`;
}

/** Addresses of one lab. `wire` ones are on the bridge, `over` ones on what the delay relay carries. */
export class LabAddresses {
  readonly #network: number;

  constructor(network: number) {
    this.#network = network;
  }

  wire(number: number): string {
    return this.#address(18, number);
  }

  over(number: number): string {
    return this.#address(19, number);
  }

  get harness(): string {
    return this.wire(HARNESS);
  }

  get relay(): string {
    return this.wire(RELAY);
  }

  #address(second: number, number: number): string {
    const low = this.#network * 4096 + number;
    return `198.${second}.${Math.floor(low / 256)}.${low % 256}`;
  }
}

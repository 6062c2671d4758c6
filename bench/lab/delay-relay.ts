/**
 * The process that all frames of a lab with a delay pass through: each host sends them here in VXLAN packets, from
 * and to a port of its own, and here they wait before they go on to the host they are for.
 */
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { parseArgs } from 'node:util';
import { SystemClock } from '../../core/base/clock.ts';
import { DelayLine } from './delay-line.ts';
import { FIRST_RELAY_PORT } from './lab-names.ts';

/** In front of a frame. */
const VXLAN_BYTES = 8;
const ETHERNET_BYTES = 14;
const GROUP_BIT = 1;
/** 2 Gbit/s of full frames for 200 ms. */
const MAX_HELD = 33_000;

interface Port {
  readonly socket: Socket;
  readonly address: string;
  readonly port: number;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    address: { type: 'string', default: '' },
    'delay-ms': { type: 'string', default: '0' },
  },
});
const ports = new Map<number, Port>();
const line = new DelayLine<{ readonly frame: Uint8Array; readonly to: Port }>(
  { clock: new SystemClock(), delayMs: Number(values['delay-ms']), maxHeld: MAX_HELD },
  ({ frame, to }) => to.socket.send(frame, to.port, to.address),
);

function relay(packet: Uint8Array, from: Port): void {
  if (packet.length < VXLAN_BYTES + ETHERNET_BYTES) return;
  if (((packet[VXLAN_BYTES] ?? 0) & GROUP_BIT) === 1) {
    for (const to of ports.values()) if (to !== from) line.push({ frame: packet, to });
    return;
  }
  const number = ((packet[VXLAN_BYTES + 4] ?? 0) << 8) | (packet[VXLAN_BYTES + 5] ?? 0);
  const to = ports.get(number);
  if (to !== undefined) line.push({ frame: packet, to });
}

// Addresses are no names, and asking for each packet would cost more than sending it.
function lookup(
  name: string,
  _options: unknown,
  done: (error: null, address: string, family: number) => void,
): void {
  done(null, name, 4);
}

for (const host of positionals) {
  const [number, address = ''] = host.split('=');
  const socket = createSocket({ type: 'udp4', lookup });
  const port = { socket, address, port: FIRST_RELAY_PORT + Number(number) };
  ports.set(Number(number), port);
  socket.on('message', (packet) => relay(packet, port));
  // A host that is gone or cut refuses packets: they are lost, as on any network.
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => void socket.bind(port.port, values.address, resolve));
}
console.log(JSON.stringify({ event: 'ready', hosts: ports.size }));

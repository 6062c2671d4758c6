/** Most a link holds back before it drops, as routers and cards with plain queues do. */
const QUEUE_MS = 50;
const PACKET_BYTES = 1_514;
/** Payload and headers of each packet that an offloaded one stands for; a bucket counts all their headers. */
const SEGMENT_BYTES = 1_448;
const HEADER_BYTES = 66;
/** An offloaded packet goes over in one piece: so much of the rate, within what the kernel allows. */
const OFFLOADED_MS = 2;
/**
 * The same where hosts are many: each packet of each bucket arms a timer, which on a virtual machine costs much more
 * than it seems to. Sixteen hosts at 20 Mbit/s kept two processors 95 % busy with 2 ms and 83 % with 8 ms.
 */
const OFFLOADED_MS_OF_MANY = 8;
const MAX_OFFLOADED_BYTES = 65_536;

/** Largest packet that is handed down to be cut up late, for a device of this rate; 0 is no limit. */
export function offloadedBytes(bitsPerSecond: number, isOfMany = false): number {
  if (bitsPerSecond === 0) return MAX_OFFLOADED_BYTES;
  const ms = isOfMany ? OFFLOADED_MS_OF_MANY : OFFLOADED_MS;
  const wanted = Math.round((bitsPerSecond / 8000) * ms);
  return Math.min(MAX_OFFLOADED_BYTES, Math.max(2 * PACKET_BYTES, wanted));
}

/** Arguments of `ip` that hold the packets a device is handed to what fits its rate. */
export function offloadArguments(
  device: string,
  bitsPerSecond: number,
  isOfMany = false,
): string[] {
  return ['link', 'set', device, 'gso_max_size', `${offloadedBytes(bitsPerSecond, isOfMany)}`];
}

/** Arguments of `tc qdisc` for a device that sends at most `bitsPerSecond`; 0 is no limit. */
export function rateArguments(device: string, bitsPerSecond: number, isOfMany = false): string[] {
  if (bitsPerSecond === 0) return ['qdisc', 'replace', 'dev', device, 'root', 'pfifo_fast'];
  const bytesPerMs = bitsPerSecond / 8000;
  // What passes at once after a pause. A smaller bucket would have the kernel cut offloaded packets up again; a larger
  // one lets senders see a rate that is not there.
  const offloaded = offloadedBytes(bitsPerSecond, isOfMany);
  const headers = Math.ceil(offloaded / SEGMENT_BYTES) * HEADER_BYTES;
  const burst = offloaded + headers + PACKET_BYTES;
  const limit = Math.ceil(bytesPerMs * QUEUE_MS) + burst;
  const bucket = ['rate', `${bitsPerSecond}bit`, 'burst', `${burst}`, 'limit', `${limit}`];
  return ['qdisc', 'replace', 'dev', device, 'root', 'tbf', ...bucket];
}

/** An nft script that drops this share, 0 to 1, of what comes in at `device`. */
export function lossScript(device: string, share: number): string {
  const table = 'table inet odonata';
  // The table is declared so that deleting it works where it was not there.
  const none = `${table}\ndelete ${table}\n`;
  if (share === 0) return none;
  const perMillion = Math.round(share * 1e6);
  const rule = `iifname "${device}" numgen random mod 1000000 < ${perMillion} counter drop`;
  return `${none}${table} { chain in { type filter hook input priority 0; ${rule}; }; }\n`;
}

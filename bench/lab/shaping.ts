/** Most a link holds back before it drops, as routers and cards with plain queues do. */
const QUEUE_MS = 50;
/** What may pass at once after a pause: 5 ms of the rate, but never less than one offloaded packet of 64 KiB. */
const BURST_MS = 5;
const OFFLOADED_BYTES = 68_000;
const PACKET_BYTES = 1_514;

/** Arguments of `tc qdisc` for a device that sends at most `bitsPerSecond`; 0 is no limit. */
export function rateArguments(
  device: string,
  bitsPerSecond: number,
  options: { readonly hasOffload: boolean },
): string[] {
  if (bitsPerSecond === 0) return ['qdisc', 'replace', 'dev', device, 'root', 'pfifo_fast'];
  const bytesPerMs = bitsPerSecond / 8000;
  // A smaller bucket would have the kernel cut offloaded packets up again, which costs what offload saves.
  const least = options.hasOffload ? OFFLOADED_BYTES : 2 * PACKET_BYTES;
  const burst = Math.max(Math.ceil(bytesPerMs * BURST_MS), least);
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

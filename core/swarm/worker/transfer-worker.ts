import { createReadStream } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { noCompression } from '../../compression/compression-stats.ts';
import { CodedError } from '../../base/error.ts';
import type { Log } from '../../base/log.ts';
import { servePort } from '../../base/port-rpc.ts';
import type {
  TransferEvents,
  TransferInit,
  TransferOperations,
  TransferStats,
} from '../transfer-messages.ts';
import type { LinkHost } from './link-host.ts';
import { OriginPumps } from './origin-pumps.ts';
import { RunningDigest } from './running-digest.ts';
import { TaskFiles } from './task-files.ts';

/**
 * A transfer worker: all payload of this process passes through one of these threads. It serves the calls
 * of the transfer pool (transfer-pool.ts) and ends when the pool closes.
 */
const port = parentPort;
if (port === null) throw new TypeError('this file runs as a worker thread');

const files = new TaskFiles();
let pumps: OriginPumps | undefined;
let links: LinkHost | undefined;

const log: Log = {
  error: (facts, message) => emit('log', { level: 'warn', facts: plain(facts), message }),
  warn: (facts, message) => emit('log', { level: 'warn', facts: plain(facts), message }),
  info: (facts, message) => emit('log', { level: 'info', facts: plain(facts), message }),
  debug: (facts, message) => emit('log', { level: 'debug', facts: plain(facts), message }),
  child: () => log,
};

const emit = servePort<TransferOperations, TransferEvents>(port, {
  init,
  trust: (trust) => linksOpen().setTrust(trust),
  'own-ports': ({ ports }) => pumpsOpen().addOwnPorts(ports),
  listen: async (listen) => linksOpen().listen(listen),
  'task-put': (task) => {
    files.put(task);
  },
  'task-drop': ({ key }) => {
    links?.drop(key);
    files.drop(key);
  },
  manifest: (args) => links?.keepManifest(args),
  announce: (args) => links?.announce(args),
  retract: (args) => links?.retract(args),
  'offer-manifest': (args) => links?.offerManifest(args),
  'channel-open': async (args, { signal }) => linksOpen().openChannel(args, signal),
  'channel-ticket': (args) => linksOpen().renew(args),
  'channel-close': ({ channel }) => linksOpen().closeChannel(channel),
  'channel-manifest': ({ channel }) => linksOpen().askManifest(channel),
  'channel-bytes': ({ channel }) => linksOpen().receivedBytes(channel),
  fetch: async (args, { signal }) => linksOpen().fetch(args, signal),
  'fetch-back': (args) => linksOpen().takeBack(args),
  'origin-open': async (args, { signal }) => pumpsOpen().open(args, signal),
  'origin-pump': async (args, { signal }) => pumpsOpen().pump(args, signal),
  'origin-read': async ({ origin, max }, { signal }) => pumpsOpen().read(origin, max, signal),
  'origin-digest': async (args, { signal }) => pumpsOpen().digest(args, signal),
  'origin-admitted': (args) => pumpsOpen().admitted(args),
  'origin-priority': (args) => pumpsOpen().setPriority(args),
  'origin-close': ({ origin }) => pumpsOpen().close(origin),
  'piece-digest': ({ key, piece, length }) => files.pieceDigest(key, piece, length),
  digest: async ({ path, algorithm }, { signal }) => digestOf(path, algorithm, signal),
  stats,
  close: async () => {
    await links?.close();
    await pumps?.closeAll();
    files.close();
  },
});

async function init(args: TransferInit): Promise<void> {
  pumps = new OriginPumps(args.origin, { files, log, emit });
  if (args.link === undefined) return;
  // Loaded only where hosts are linked: a dfget that talks to its origin alone needs none of it.
  const { LinkHost: Links } = await import('./link-host.ts');
  links = new Links(args.link, { files, log, emit });
}

function linksOpen(): LinkHost {
  if (links === undefined) throw new CodedError('ERR_INTERNAL', 'this worker has no piece link');
  return links;
}

function pumpsOpen(): OriginPumps {
  if (pumps === undefined) throw new CodedError('ERR_INTERNAL', 'this worker is not initialised');
  return pumps;
}

function stats(): TransferStats {
  const none = {
    bytesIn: 0,
    bytesOut: 0,
    receivedBytes: 0,
    duplicateBytes: 0,
    links: 0,
    channels: 0,
  };
  const idle = { activeUploads: 0, queuedBytes: 0, compression: noCompression };
  const { bytes: originBytes = 0 } = pumps ?? {};
  return { ...none, ...idle, ...links?.stats(), originBytes };
}

async function digestOf(path: string, algorithm: string, signal: AbortSignal): Promise<string> {
  const sum = new RunningDigest(algorithm);
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024, signal })) {
    sum.update(chunk);
  }
  return sum.text();
}

/** Facts that survive being sent to another thread. */
function plain(facts: object): object {
  const copy: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(facts)) {
    copy[key] = value instanceof Error ? { message: value.message, stack: value.stack } : value;
  }
  return copy;
}

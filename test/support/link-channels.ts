import type { Channel, ChannelRequest } from '../../core/net/link/channel.ts';
import { MemorySink, task, ticketFor, version } from './link-hosts.ts';
import type { MemoryTask, TestHost } from './link-hosts.ts';

/** The channel of a child to a parent that serves the task. */
export async function openedPair(
  parent: TestHost,
  child: TestHost,
  more: Partial<ChannelRequest> = {},
): Promise<Channel> {
  const link = await child.endpoint.connect(parent.peer);
  return link.open({ task, version, ticket: ticketFor(child.peerId), ...more });
}

/** A whole piece, fetched into memory; throws unless it ended as it should. */
export async function fetchPiece(
  channel: Channel,
  served: MemoryTask,
  piece: number,
): Promise<MemorySink> {
  const length = served.lengthOf(piece);
  const sink = new MemorySink(length);
  const { bytes } = await channel.fetch({ piece, length, sink });
  if (bytes !== length || sink.finished !== 1 || sink.aborted !== 0) throw new Error('bad ending');
  return sink;
}

import type { Clock } from '../../base/clock.ts';
import { memoryChannelPair } from './memory-channel.ts';
import type { MemoryChannel } from './memory-channel.ts';
import { defaultMeshLimits } from './mesh-limits.ts';
import type { MeshLimits } from './mesh-limits.ts';
import { ChannelSession } from './session.ts';

/** Two ends of a session in memory, and the channels under them. */
export interface MemorySessions {
  readonly dialer: ChannelSession;
  readonly listener: ChannelSession;
  readonly dialerChannel: MemoryChannel;
  readonly listenerChannel: MemoryChannel;
}

/** The twin of `MeshNode.dial()` and `handle()` for tests: a session without nodes, admitted on both ends. */
export function memorySessionPair(options: {
  clock: Clock;
  limits?: Partial<MeshLimits>;
  protocol?: string;
  dialerPeerId?: string;
  listenerPeerId?: string;
}): MemorySessions {
  const {
    clock,
    protocol = '/test/1',
    dialerPeerId = 'dialer',
    listenerPeerId = 'listener',
  } = options;
  const limits = { ...defaultMeshLimits, ...options.limits };
  const [dialerChannel, listenerChannel] = memoryChannelPair();
  const random = { next: () => 0.5, below: () => 0 };
  const common = { clock, random, limits, protocol, remoteAddress: '127.0.0.1' };
  return {
    dialer: new ChannelSession({ ...common, channel: dialerChannel, remotePeerId: listenerPeerId }),
    listener: new ChannelSession({
      ...common,
      channel: listenerChannel,
      remotePeerId: dialerPeerId,
    }),
    dialerChannel,
    listenerChannel,
  };
}

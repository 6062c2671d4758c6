import type { Stream } from '@libp2p/interface';
import { StreamState, YamuxStream } from '@chainsafe/libp2p-yamux/stream';

/** The smallest window that yamux knows; 256 KiB in flight is 5 MB/s at 50 ms, plenty for control messages. */
export const WINDOW_BYTES = 262_144;

/** The other side is told of room when so much has been read: the rest of the window bridges a round trip. */
const GRANT_BYTES = WINDOW_BYTES / 2;

/**
 * Yamux tells the sender of new room after each chunk: for a session of small messages that is a frame, an encryption
 * and a packet in answer to every message. From now on it does when half a window has been read.
 */
export function grantInBulk(stream: Stream): void {
  if (!(stream instanceof YamuxStream)) return;
  const handleData = stream.handleData.bind(stream);
  const sendWindowUpdate = stream.sendWindowUpdate.bind(stream);
  let readBytes = 0;
  stream.handleData = (frame) => {
    readBytes += frame.header.length;
    handleData(frame);
  };
  stream.sendWindowUpdate = () => {
    const { state } = stream;
    // The first one confirms the stream; one that is paused grants nothing.
    if (readBytes < GRANT_BYTES && state === StreamState.Established) return;
    if (state !== StreamState.Paused) readBytes = 0;
    sendWindowUpdate();
  };
}

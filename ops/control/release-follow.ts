import type { Writable } from 'node:stream';
import { CodedError } from '../../core/base/error.ts';
import { EventLines } from './event-lines.ts';
import type { ReleaseNews } from './release-driver.ts';
import type { ReleaseRecord } from './release-record.ts';
import { isEnded } from './release-state.ts';
import type { ReleaseState } from './release-state.ts';
import { summaryOf } from './release-view.ts';
import type { Releases } from './releases.ts';

/**
 * Writes the events of a release as lines of JSON: where it stands (`state`), and then, as it happens, each host that has
 * answered (`host`) and wherever else it comes to stand, until it has ended or the reader is gone. Ends `reader`.
 */
export async function followRelease(
  record: ReleaseRecord,
  releases: Releases,
  reader: Writable,
): Promise<void> {
  const lines = new EventLines(reader);
  const over = Promise.withResolvers<void>();
  reader.once('close', () => over.resolve());
  let isLive = false;
  const tell = (news: ReleaseNews): void => {
    lines.write(eventOf(record, news));
    if (news.type === 'state' && isEnded(news.state)) over.resolve();
  };
  /** What happened while it was read where it stands. */
  const missed: ReleaseNews[] = [];
  using _watch = releases.driver(record.id)?.watch((news) => {
    if (isLive) tell(news);
    else missed.push(news);
  });
  try {
    tell({ type: 'state', state: await releases.state(record.id) });
    isLive = true;
    for (const news of missed.splice(0)) tell(news);
    await over.promise;
    reader.end();
  } catch (error) {
    // The head of the answer is sent: there is no other way to say that this is not all.
    reader.destroy(CodedError.from(error));
  }
}

function eventOf(record: ReleaseRecord, news: ReleaseNews): object {
  if (news.type === 'state') return stateEvent(record, news.state);
  const { step, batch, event } = news;
  const { peer, hostname, outcome, code, message, exitCode } = event;
  return { type: 'host', step, batch, peer, hostname, outcome, code, message, exitCode };
}

function stateEvent(record: ReleaseRecord, state: ReleaseState): object {
  return { type: 'state', ...summaryOf(record, state) };
}

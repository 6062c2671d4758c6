import type { FromHost } from '../core/wire/messages.ts';

/** What hosts said and how they were answered since the start, for the metrics. */
export class ControlCounts {
  /** Registrations answered, by `ok` or error code. */
  readonly registrations = new Map<string, number>();
  /** Messages of hosts, by type. */
  readonly messages = new Map<string, number>();
  #piecesAnnounced = 0;

  /** Pieces that hosts reported one by one as they came to have them. */
  get piecesAnnounced(): number {
    return this.#piecesAnnounced;
  }

  registered(code: string): void {
    this.registrations.set(code, (this.registrations.get(code) ?? 0) + 1);
  }

  received(message: FromHost): void {
    this.messages.set(message.type, (this.messages.get(message.type) ?? 0) + 1);
    if (message.type !== 'report') return;
    for (const { had = [] } of message.tasks) this.#piecesAnnounced += had.length;
  }
}

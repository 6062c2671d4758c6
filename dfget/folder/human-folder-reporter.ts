import type { Clock } from '../../core/base/clock.ts';
import { printable } from '../../core/base/printable.ts';
import { exitCodeOf } from '../exit-code.ts';
import type { Screen } from '../human-reporter.ts';
import { renderProgress } from '../progress.ts';
import type {
  FileResult,
  FolderProgress,
  FolderReporter,
  FolderSummary,
  Listed,
} from './folder-reporter.ts';

const ERASE_LINE = '\r\u001b[K';
/** Notes that are the same for many files are told once; of different ones so many. */
const MAX_NOTES = 100;

/** Text for people: a bar on a terminal, a line for each file that failed, and one with the result. */
export class HumanFolderReporter implements FolderReporter {
  readonly #screen: Screen;
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #told = new Set<string>();
  #isDrawn = false;

  constructor(screen: Screen, clock: Clock) {
    this.#screen = screen;
    this.#clock = clock;
    this.#startedMs = clock.monotonic();
  }

  note(text: string): void {
    if (this.#told.size >= MAX_NOTES || this.#told.has(text)) return;
    this.#told.add(text);
    this.#erase();
    this.#screen.err(`dfget: ${printable(text)}\n`);
  }

  listed({ files, leftOut }: Listed): void {
    const more = leftOut === 0 ? '' : `, ${leftOut} other entries left out`;
    this.note(`${files} files${more}`);
  }

  progress(progress: FolderProgress): void {
    const { columns } = this.#screen;
    if (columns === undefined) return;
    const elapsedMs = this.#clock.monotonic() - this.#startedMs;
    const count = `${progress.finished}/${progress.files} `;
    const line = renderProgress({ ...progress, elapsedMs }, columns() - count.length);
    this.#screen.err(`${ERASE_LINE}${count}${line}`);
    this.#isDrawn = true;
  }

  stalled(_file: string, { reason }: { readonly reason: string }): void {
    if (this.#screen.columns === undefined) this.note(`waiting: ${reason}`);
  }

  file(result: FileResult): void {
    if (result.type !== 'failed') return;
    const { file, error } = result;
    this.#erase();
    this.#screen.err(`dfget: ${printable(file)}: ${error.code}: ${printable(error.message)}\n`);
  }

  finished(summary: FolderSummary): void {
    this.#erase();
    const { firstError, seconds, length, done, unchanged, failed } = summary;
    const { fromPeers, fromSeed, fromOrigin, fromCache } = summary;
    const facts = `cost:${seconds.toFixed(3)}s length:${length}`;
    const counts = `files:${done} unchanged:${unchanged} failed:${failed}`;
    if (firstError === undefined) {
      const sources = `peers:${fromPeers} seed:${fromSeed} origin:${fromOrigin} cache:${fromCache}`;
      this.#screen.out(`download SUCCESS ${facts} reason:0 ${counts} ${sources}\n`);
      return;
    }
    const reason = `${firstError.code} ${printable(firstError.message)}`;
    this.#screen.out(
      `download FAIL(${exitCodeOf(firstError)}) ${facts} ${counts} reason:${reason}\n`,
    );
    this.#screen.err(`  ${firstError.facts.next}\n`);
  }

  #erase(): void {
    if (this.#isDrawn) this.#screen.err(ERASE_LINE);
    this.#isDrawn = false;
  }
}

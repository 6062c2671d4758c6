/** What setting up promises for every client, on real files below a root of its own. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestFn } from 'ava';
import type { ClientName, Registry, SetupUser } from './client-setup.ts';
import { MachineFiles } from './machine-files.ts';
import { setUp, undoSetup } from './set-up.ts';
import type { SetupPlace, SetupReport } from './set-up.ts';
import { SetupRecords } from './setup-records.ts';

/** Where records are, below the root. */
export const RECORDS = '/var/lib/odonata/setup';

/** A machine that is a folder; gone when disposed. */
export class TestMachine {
  readonly root: string;
  readonly place: SetupPlace;
  readonly #user: SetupUser | undefined;

  /** Of the machine itself, or of a user of it. */
  constructor(user?: SetupUser) {
    this.#user = user;
    this.root = mkdtempSync(join(tmpdir(), 'odonata-setup-'));
    const files = new MachineFiles(this.root);
    const records = new SetupRecords(files, RECORDS, process.getuid?.() ?? 0);
    this.place = { files, records, isDryRun: false };
  }

  put(path: string, text: string, mode = 0o644): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), text);
    chmodSync(join(this.root, path), mode);
  }

  get(path: string): string | undefined {
    const full = join(this.root, path);
    return existsSync(full) ? readFileSync(full, 'utf8') : undefined;
  }

  mode(path: string): number {
    return statSync(join(this.root, path)).mode & 0o7777;
  }

  /** Every file and folder, with the text of files; records left out. */
  all(): Readonly<Record<string, string>> {
    const names = readdirSync(this.root, { recursive: true, encoding: 'utf8' });
    const kept = names.filter((name) => !'var/lib/odonata/setup'.startsWith(name.slice(0, 3)));
    return Object.fromEntries(kept.toSorted().map((name) => [name, this.#textOf(name)]));
  }

  async setUp(
    client: ClientName,
    wishes: { registries?: readonly Registry[]; port?: number; isDryRun?: boolean } = {},
  ): Promise<SetupReport> {
    const { registries = [], port = 65_001, isDryRun = false } = wishes;
    const address = `127.0.0.1:${port}`;
    const place = { ...this.place, isDryRun };
    return setUp(client, place, { address, registries, user: this.#user });
  }

  async undo(client: ClientName, { isForced = false } = {}): Promise<SetupReport> {
    return undoSetup(client, this.place, { isForced });
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }

  #textOf(name: string): string {
    const full = join(this.root, name);
    return statSync(full).isFile() ? readFileSync(full, 'utf8') : '/';
  }
}

/** A client, and texts that users may have in the file that it changes. */
export interface ClientSample {
  readonly client: ClientName;
  /** Absent: the machine is set up. */
  readonly user?: SetupUser;
  /** The file that texts are for. */
  readonly path: string;
  readonly texts: Readonly<Record<string, string>>;
  /** What a user adds after setup, and what it does to the text. */
  readonly later: (text: string) => string;
  /** Other files that must be there. */
  readonly others?: Readonly<Record<string, string>>;
}

/** Runs the promises for one client. */
export function testClientSetup(test: TestFn, sample: ClientSample): void {
  const { client, path, later } = sample;
  const title = sample.user === undefined ? client : `${client} --user`;
  const machineWith = (text: string | undefined): TestMachine => {
    const machine = new TestMachine(sample.user);
    for (const [name, other] of Object.entries(sample.others ?? {})) machine.put(name, other);
    if (text !== undefined) machine.put(path, text, 0o640);
    return machine;
  };
  const given = Object.entries({ 'no file': undefined, 'an empty file': '', ...sample.texts });

  for (const [name, text] of given) {
    test(`setup ${title}, ${name}: --undo gives back every byte and mode, and leaves nothing`, async (t) => {
      using machine = machineWith(text);
      const before = machine.all();
      const report = await machine.setUp(client);
      t.true(report.files.some(({ change }) => change !== 'unchanged'));
      t.regex(Object.values(machine.all()).join('\n'), /127\.0\.0\.1:65001/);
      if (text !== undefined) t.is(machine.mode(path), 0o640);
      await machine.undo(client);
      t.deepEqual(machine.all(), before);
      if (text !== undefined) t.is(machine.mode(path), 0o640);
      t.deepEqual((await machine.undo(client)).files, [], 'a second --undo has nothing to do');
    });

    test(`setup ${title}, ${name}: a second time changes nothing`, async (t) => {
      using machine = machineWith(text);
      await machine.setUp(client);
      const once = machine.all();
      const again = await machine.setUp(client);
      t.true(again.files.every(({ change }) => change === 'unchanged'));
      t.deepEqual(again.commands, []);
      t.deepEqual(machine.all(), once);
    });

    test(`setup ${title}, ${name}: --undo keeps what was added since`, async (t) => {
      using machine = machineWith(text);
      await machine.setUp(client);
      machine.put(path, later(machine.get(path) ?? ''));
      await machine.undo(client);
      const left = machine.get(path) ?? '';
      t.notRegex(left, /65001|odonata|dfdaemon/);
      t.is(withoutSpace(left), withoutSpace(later(text ?? '')));
    });

    test(`setup ${title}, ${name}: another port replaces the first, and --undo goes to the beginning`, async (t) => {
      using machine = machineWith(text);
      const before = machine.all();
      await machine.setUp(client);
      await machine.setUp(client, { port: 7001 });
      t.notRegex(Object.values(machine.all()).join('\n'), /65001/);
      await machine.undo(client);
      t.deepEqual(machine.all(), before);
    });

    test(`setup ${title}, ${name}: --dry-run writes nothing and shows what would change`, async (t) => {
      using machine = machineWith(text);
      const before = machine.all();
      const { files } = await machine.setUp(client, { isDryRun: true });
      t.deepEqual(machine.all(), before);
      t.false(existsSync(join(machine.root, RECORDS)));
      t.regex(files.map(({ diff }) => diff).join(''), /^\+.*127\.0\.0\.1:65001/m);
    });
  }
}

function withoutSpace(text: string): string {
  return text.replaceAll(/\s+/g, '');
}

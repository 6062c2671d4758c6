import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import type { Command } from 'commander';
import { create } from 'tar';
import { Create } from 'typebox/value';
import type { ApiApp } from '../../core/base/api-app.ts';
import { SystemClock } from '../../core/base/clock.ts';
import { newProgram, runProgram } from '../../core/base/command-line.ts';
import { silentLog } from '../../core/base/log.ts';
import { newApiApp } from '../../supernode/api/fastify-app.ts';
import { verbSamples } from '../../test/support/verb-samples.ts';
import { operator } from '../control/principal.ts';
import { VerbRoutes } from '../control/verb-routes.ts';
import { isVerb, verbs } from '../control/verbs.ts';
import type { Verb } from '../control/verbs.ts';
import { answers } from './answers.ts';
import { addCommands } from './commands.ts';

const KEY = '0123456789abcdef';
const ID = 'abcdefgh12';
const { peer } = verbSamples['host.show'];
const { plan } = verbSamples['release.start'];

/** What is put after the name of a command to have it ask all that it can ask. Every command has its line. */
const examples: Readonly<Record<string, readonly string[]>> = {
  'preheat image': ['r/i:1', '--to', 'all'],
  'preheat url': ['http://o/f', '--to', 'all'],
  'preheat list': [],
  'preheat show': [ID],
  'preheat cancel': [ID],
  'limits get': [],
  'limits set': ['--download', '1MiB'],
  call: ['uptime', '--on', 'all', '--wait', '--run-as', 'web', '--idempotency-key', 'once'],
  'calls list': [],
  'calls show': [ID],
  'calls follow': [ID],
  'calls stop': [ID],
  push: ['FOLDER/script', '--to', 'all', '--path', '/etc/f'],
  script: ['FOLDER/script', '--on', 'all'],
  'packages publish': ['FOLDER/web.tar'],
  'packages remove': ['web/1.2.3'],
  'packages list': ['web'],
  'audit list': ['--kind', 'call.run'],
  'audit export': [],
  'audit prune': ['--before', '90d', '--exported', `7:${KEY.repeat(4)}`],
  'audit verify': ['FOLDER/script', '--cell', peer],
  'keys create': ['ann', '--hosts-cap', '5/1h'],
  'keys list': [],
  'keys rotate': [KEY, '--overlap', '0'],
  'keys lock': [KEY],
  'policies put': ['deploy', '--file', 'FOLDER/policy.json'],
  'policies list': [],
  'policies remove': ['deploy'],
  'approvals list': [],
  'approvals show': [KEY],
  'approvals approve': [KEY],
  'approvals deny': [KEY, '--reason', 'not today'],
  'hosts list': ['--on', 'idc=hz', '--retired'],
  'hosts show': [peer],
  'hosts label': ['web-1', 'role=web', 'old-'],
  'hosts retire': ['web-1'],
  query: ['load1 > 2', '--on', 'all', '--columns', 'load1'],
  'release preview': ['web', '1.2.3', '--on', 'all', '--batches', '2'],
  'release start': ['web', '1.2.3', '--on', 'all', '--batch-size', '10%', '--yes', '--wait'],
  'release list': [],
  'release show': [ID],
  'release follow': [ID],
  'release continue': [ID],
  'release pause': [ID],
  'release rollback': [ID],
  'release close': [ID],
  'release repair': [ID, '--on', 'all', '--yes'],
};
/** Further ways to ask: a command does not ask the same with and without some argument. */
const more: readonly (readonly string[])[] = [['packages', 'list']];
/** What is not for the door: of the operator alone, or of nobody at all. */
const ofNoVerb = /^(?:preheat|limits) |^audit verify$/;

interface Bench {
  readonly program: () => Command;
  /** Runs a command to whatever end; the verbs that were asked for meanwhile. */
  readonly asked: (argv: readonly string[]) => Promise<readonly string[]>;
}

/** All commands before a server that takes all verbs, and has something to answer to each. */
async function bench(t: ExecutionContext): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), 'dfops-'));
  t.teardown(async () => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'script'), '#!/bin/sh\n');
  await writeFile(join(folder, 'policy.json'), JSON.stringify(verbSamples['policy.put'].policy));
  await writeFile(join(folder, 'package.yaml'), 'name: web\nversion: 1.2.3\nstart: [bin/web]\n');
  await create({ cwd: folder, file: join(folder, 'web.tar') }, ['package.yaml']);
  let asked: string[] = [];
  const app = newApiApp(silentLog);
  for (const name of Object.keys(verbs).filter(isVerb)) {
    addVerb(app, name, () => asked.push(name));
  }
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(async () => app.close());
  const program = (): Command => {
    const made = newProgram({ name: 'dfops', description: '', print: () => undefined });
    addCommands(made, {
      env: { ODONATA_API: url },
      clock: new SystemClock(),
      signal: new AbortController().signal,
      print: () => undefined,
      complain: () => undefined,
      input: () => emptyInput(),
      output: new Writable({ write: (_chunk, _encoding, done) => done() }),
      confirm: undefined,
    });
    return made;
  };
  return {
    program,
    asked: async (argv) => {
      asked = [];
      const words = argv.map((word) => word.replace('FOLDER', folder));
      // Answers hold nothing: that a call has not ended is no matter here.
      await runProgram(program(), words).catch(() => undefined);
      return asked;
    },
  };
}

function addVerb(app: ApiApp, name: keyof typeof verbs, onAsked: () => void): void {
  const verb: Verb = verbs[name];
  void app.register(async (part: ApiApp) => {
    if (verb.content !== undefined) {
      part.removeAllContentTypeParsers();
      part.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
    }
    const options = { callerOf: () => ({ principal: operator, source: 'test' }), door: noDoor };
    new VerbRoutes(part, options).handle(name, () => {
      onAsked();
      if (!(name in answers)) return undefined;
      const answer: unknown = Create(Reflect.get(answers, name));
      if (typeof answer !== 'object' || answer === null || !('digest' in answer)) return answer;
      // What is asked next is made of it.
      return { ...answer, digest: plan };
    });
  });
}

function noDoor(): never {
  throw new TypeError('handlers here have no door');
}

async function* emptyInput(): AsyncGenerator<Uint8Array> {}

function namesOf(command: Command, before: readonly string[] = []): string[] {
  return command.commands.flatMap((child) => {
    const words = [...before, child.name()];
    return child.commands.length === 0 ? [words.join(' ')] : namesOf(child, words);
  });
}

test('every verb is asked by a command, and every command asks a verb or is known to ask none', async (t) => {
  const { program, asked } = await bench(t);
  const names = namesOf(program()).filter((name) => name !== 'help');
  t.deepEqual(Object.keys(examples).toSorted(), names.toSorted(), 'each command has an example');
  const all = new Set<string>();
  for (const [name, words] of Object.entries(examples)) {
    const seen = await asked([...name.split(' '), ...words]);
    t.is(
      seen.length === 0,
      ofNoVerb.test(name),
      `dfops ${name} asked ${seen.join(', ') || 'nothing'}`,
    );
    for (const verb of seen) all.add(verb);
  }
  for (const argv of more) for (const verb of await asked(argv)) all.add(verb);
  t.deepEqual([...all].toSorted(), Object.keys(verbs).toSorted());
});

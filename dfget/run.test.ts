import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import test from 'ava';
import { ManualClock, SystemClock } from '../core/base/clock.ts';
import { CodedError } from '../core/base/error.ts';
import type { DownloadEvent, Downloader } from '../core/swarm/download-events.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import type { EngineOptions, OpenEngine } from './in-process.ts';
import {
  LocalApi,
  TASK,
  doneEvent,
  freshSocketPath,
  inlineDone,
} from '../core/local-api/local-api.contract.ts';
import type { DownloadPlan } from './plan.ts';
import { runDownload } from './run.ts';
import type { RunTools } from './run.ts';

const started: DownloadEvent = { type: 'started', task: TASK, url: 'http://o/f', length: 4 };

interface Told {
  readonly notes: string[];
  readonly events: string[];
  error?: CodedError;
  length?: number;
}

/** A plan in a folder of its own. */
function planIn(dir: string, changes: Partial<DownloadPlan> = {}): DownloadPlan {
  return {
    request: { url: 'http://o/f' },
    output: { kind: 'file', path: join(dir, 'out'), overwrite: false },
    sockets: [],
    engine: { dataDir: join(dir, 'data', 'dfget'), supernodes: [] },
    notes: [],
    ...changes,
  };
}

function folder(): string {
  return temporaryFolder('run');
}

/** An engine that says `events`. */
function engineOf(events: readonly DownloadEvent[], opened: EngineOptions[] = []): OpenEngine {
  return async (options) => {
    opened.push(options);
    const downloader: Downloader = {
      async *download() {
        yield* events;
      },
      async *content() {
        yield Buffer.from('in-process');
      },
      [Symbol.asyncDispose]: async () => undefined,
    };
    return downloader;
  };
}

const noEngine: OpenEngine = async () => {
  throw new Error('the engine was opened');
};

async function run(
  plan: DownloadPlan,
  changes: Partial<RunTools> = {},
): Promise<{ code: number; told: Told }> {
  const told: Told = { notes: [], events: [] };
  const clock = new SystemClock();
  const code = await runDownload(plan, {
    clock,
    signal: new AbortController().signal,
    stdout: new PassThrough(),
    openEngine: noEngine,
    locate: async (request) => ({ request }),
    uid: process.getuid?.() ?? 0,
    startedMs: clock.monotonic(),
    reporter: {
      note: (text) => void told.notes.push(text),
      passing: (event) => void told.events.push(event.type),
      done: () => void told.events.push('done'),
      failed: (error, { length }) => void Object.assign(told, { error, length }),
    },
    ...changes,
  });
  return { code, told };
}

test('runDownload() through dfdaemon puts the content in place', async (t) => {
  const dir = folder();
  await using api = await LocalApi.open((_, { send }) => {
    send(started);
    send({ type: 'stalled', reason: 'r', ms: 1 });
    send(inlineDone('tiny'));
  });
  const plan = planIn(dir, { sockets: [join(dir, 'none.sock'), api.socketPath] });
  const { code, told } = await run(plan);
  t.is(code, 0);
  t.deepEqual(told.events, ['started', 'stalled', 'done']);
  t.deepEqual(told.notes, []);
  t.is(readFileSync(join(dir, 'out'), 'utf8'), 'tiny');
});

test('runDownload() asks for what a URL was turned into, and shows it to nobody', async (t) => {
  await using api = await LocalApi.open((request, { send }) => {
    send({ ...started, url: request.url });
    send(inlineDone('tiny'));
  });
  const signed = 'https://bucket.example/key?X-Amz-Signature=abc';
  const urls: string[] = [];
  const reporter = {
    note: () => undefined,
    passing: (event: DownloadEvent) => void (event.type === 'started' && urls.push(event.url)),
    done: () => undefined,
    failed: () => undefined,
  };
  const plan = planIn(folder(), { request: { url: 's3://bucket/key' }, sockets: [api.socketPath] });
  const locate: RunTools['locate'] = async (request) => ({ request: { ...request, url: signed } });
  const { code } = await run(plan, { locate, reporter });
  t.is(code, 0);
  t.is(api.requests[0]?.url, signed);
  t.deepEqual(urls, ['s3://bucket/key']);
});

test('runDownload() checks the output before it asks anybody', async (t) => {
  const dir = folder();
  writeFileSync(join(dir, 'out'), 'old');
  await using api = await LocalApi.open((_, { send }) => send(inlineDone('new')));
  const { code, told } = await run(planIn(dir, { sockets: [api.socketPath] }));
  t.is(code, 8);
  t.is(told.error?.code, 'ERR_OUTPUT_EXISTS');
  t.deepEqual(api.requests, []);
});

test('runDownload() asks for the content where the daemon’s file cannot be read', async (t) => {
  const dir = folder();
  await using api = await LocalApi.open((_, { send }) => {
    send(doneEvent(9, { path: join(dir, 'not', 'there') }));
  });
  api.content = Buffer.from('some text');
  const { code } = await run(planIn(dir, { sockets: [api.socketPath] }));
  t.is(code, 0);
  t.is(readFileSync(join(dir, 'out'), 'utf8'), 'some text');
});

test('runDownload() ends with the exit code of what the daemon says', async (t) => {
  for (const [code, exit] of [
    ['ERR_ORIGIN_REFUSED', 2],
    ['ERR_ORIGIN_FAILING', 3],
    ['ERR_DIGEST_MISMATCH', 4],
    ['ERR_NO_SPACE', 5],
    ['ERR_TIMEOUT', 6],
    ['ERR_MESH_UNAVAILABLE', 7],
    ['ERR_INTERNAL', 10],
  ] as const) {
    await using api = await LocalApi.open((_, { send }) => {
      send(started);
      send({ type: 'failed', ...new CodedError(code, 'm').toObject() });
    });
    const dir = folder();
    const { code: exitCode, told } = await run(planIn(dir, { sockets: [api.socketPath] }));
    t.is(exitCode, exit, code);
    t.is(told.error?.code, code);
    t.is(told.length, 4);
    t.deepEqual(readdirSync(dir), []);
  }
});

test('runDownload() works in this process, with a note, where no dfdaemon is', async (t) => {
  const dir = folder();
  const opened: EngineOptions[] = [];
  const sockets = [freshSocketPath()];
  const openEngine = engineOf([started, doneEvent(10)], opened);
  const { code, told } = await run(planIn(dir, { sockets }), { openEngine });
  t.is(code, 0);
  t.regex(told.notes[0] ?? '', /no dfdaemon on .*d\.sock; downloading in this process/);
  t.is(readFileSync(join(dir, 'out'), 'utf8'), 'in-process');
  t.is(opened[0]?.dataDir, join(dir, 'data', 'dfget'));
  t.true(existsSync(join(dir, 'data', 'dfget')));
});

test('runDownload() works in this process where nobody listens on the socket', async (t) => {
  const dir = folder();
  const socketPath = join(dir, 'dead.sock');
  writeFileSync(socketPath, '');
  const { code, told } = await run(planIn(dir, { sockets: [socketPath] }), {
    openEngine: engineOf([inlineDone('x')]),
  });
  t.is(code, 0);
  t.regex(told.notes[0] ?? '', /no dfdaemon answers on .*ECONNREFUSED.*; downloading in this/);
});

test('runDownload() without a daemon says nothing of daemons', async (t) => {
  const { code, told } = await run(planIn(folder()), { openEngine: engineOf([inlineDone('x')]) });
  t.is(code, 0);
  t.deepEqual(told.notes, []);
});

test('runDownload() uses a private store, removed afterwards, while another dfget has the store', async (t) => {
  const dir = folder();
  const opened: EngineOptions[] = [];
  const engine = engineOf([inlineDone('x')], opened);
  const openEngine: OpenEngine = async (options) => {
    if (opened.length > 0) return engine(options);
    opened.push(options);
    throw new CodedError('ERR_STORE_LOCKED', 'in use');
  };
  const { code, told } = await run(planIn(dir), { openEngine });
  t.is(code, 0);
  t.regex(told.notes[0] ?? '', /is in use; this download cannot be resumed/);
  t.not(opened[1]?.dataDir, opened[0]?.dataDir);
  t.deepEqual(readdirSync(join(dir, 'data')), ['dfget']);
});

test('runDownload() asks again when dfdaemon restarts in the middle', async (t) => {
  const dir = folder();
  const socketPath = freshSocketPath();
  let second: LocalApi | undefined;
  const first = await LocalApi.open((_, { send, response }) => {
    send(started);
    response.socket?.destroy();
  }, socketPath);
  const reporter = {
    note: async () => {
      // The daemon went away: another takes its place on the same path.
      await first[Symbol.asyncDispose]();
      second = await LocalApi.open((_, { send }) => send(inlineDone('tiny')), socketPath);
    },
    passing: () => undefined,
    done: () => undefined,
    failed: (error: CodedError) => t.fail(error.message),
  };
  const { code } = await run(planIn(dir, { sockets: [socketPath] }), {
    reporter: { ...reporter, note: () => void reporter.note() },
  });
  t.is(code, 0);
  t.is(second?.requests.length, 1);
  await second?.[Symbol.asyncDispose]();
});

test('runDownload() does not begin standard output anew after a loss', async (t) => {
  await using api = await LocalApi.open((_, { send }) => send(doneEvent(4)));
  api.content = Buffer.from('ab');
  const plan = planIn(folder(), { sockets: [api.socketPath], output: { kind: 'stdout' } });
  const { code, told } = await run(plan);
  t.is(code, 7);
  t.is(told.error?.code, 'ERR_PROTOCOL');
  t.is(api.requests.length, 1);
});

test('runDownload() ends with 6 when the time is over, whatever the daemon does', async (t) => {
  const dir = folder();
  const clock = new ManualClock();
  await using api = await LocalApi.open(async (_, { send, closed }) => {
    send(started);
    clock.advance(50);
    await closed;
  });
  const request = { url: 'http://o/f', timeoutMs: 50 };
  const { code, told } = await run(planIn(dir, { request, sockets: [api.socketPath] }), { clock });
  t.is(code, 6);
  t.is(told.error?.code, 'ERR_TIMEOUT');
  t.is(api.requests[0]?.timeoutMs, 50);
});

test('runDownload() ends with 9 when the user stops it, in the daemon and in this process', async (t) => {
  const stop = new CodedError('ERR_INTERRUPTED', 'stopped by SIGINT');
  const controller = new AbortController();
  await using api = await LocalApi.open(async (_, { closed }) => {
    controller.abort(stop);
    await closed;
  });
  const plan = planIn(folder(), { sockets: [api.socketPath] });
  const daemon = await run(plan, { signal: controller.signal });
  t.is(daemon.code, 9);
  t.is(daemon.told.error, stop);
  t.is(api.requests.length, 1);
  const engine = await run(planIn(folder()), {
    signal: AbortSignal.abort(stop),
    openEngine: engineOf([]),
  });
  t.is(engine.code, 9);
});

test('runDownload() calls what nobody foresaw a defect', async (t) => {
  const { code, told } = await run(planIn(folder()));
  t.is(code, 10);
  t.like(told.error, { code: 'ERR_INTERNAL', message: 'the engine was opened' });
});

import type { RouteHandlerMethod } from 'fastify';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { programVersion } from '../../core/base/version.ts';
import type { Exposition } from '../metrics.ts';
import { addApprovalRoutes } from '../../ops/control/approval-routes.ts';
import { addAuditRoutes } from '../../ops/control/audit-routes.ts';
import { addCallRoutes } from '../../ops/control/call-routes.ts';
import { quotedApproval } from '../../ops/control/door-app.ts';
import type { CallerOf } from '../../ops/control/door-app.ts';
import { addHostRoutes } from '../../ops/control/host-routes.ts';
import { addKeyRoutes } from '../../ops/control/key-routes.ts';
import { addReleaseRoutes } from '../../ops/control/release-routes.ts';
import { addPackageRoutes } from '../../ops/control/package-routes.ts';
import type { OpsControl } from '../../ops/control/index.ts';
import { addAdminRoutes } from './admin-routes.ts';
import { addDescriptionRoute, collectRoutes } from './api-description.ts';
import { checkAccess, opsCaller } from './api-access.ts';
import type { ApiKeys } from './api-keys.ts';
import { newApiApp, spareRequest } from './fastify-app.ts';
import type { ApiApp } from '../../core/base/api-app.ts';
import { addLimitRoutes } from './limit-routes.ts';
import type { ServedLimits } from './limit-routes.ts';
import { listenError } from './listen-error.ts';
import { addReadRoutes } from './read-routes.ts';
import type { SupernodeActions, SupernodeView } from './supernode-view.ts';
import type { PushOptions } from '../warm-up/push-options.ts';
import { addHarborRoutes, addPushRoutes } from './warm-up-hook-routes.ts';
import { addWarmUpRoutes } from './warm-up-routes.ts';
import type { ServedWarmUps } from './warm-up-routes.ts';

export interface HttpApiOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Absent: only callers on this machine are answered. */
  readonly keys?: ApiKeys | undefined;
  /** True: `/metrics` is for everybody who reaches the port. */
  readonly isMetricsPublic: boolean;
  /** What is done when a registry tells of a push. */
  readonly push?: PushOptions;
  /** Keys that are good for telling of pushes and nothing else. */
  readonly pushKeys?: ApiKeys | undefined;
  readonly log: Log;
}

/** What the API speaks for, once that runs. */
export interface ServedParts {
  readonly view: SupernodeView;
  readonly actions: SupernodeActions;
  readonly warmUps: ServedWarmUps;
  readonly limits: ServedLimits;
  readonly ops: OpsControl;
  readonly metrics: () => Promise<Exposition>;
}

/**
 * The supernode's HTTP port: health, metrics, tasks, hosts, tokens. It is opened first and closed last, so that
 * `/healthz` can say at any time what is not ready.
 */
export class HttpApi implements AsyncDisposable {
  readonly #app: ApiApp;
  #port = 0;
  #parts: ServedParts | undefined;
  #absence = 'starting';

  private constructor(options: HttpApiOptions) {
    this.#app = newApiApp(options.log);
    this.#addRoutes(options);
  }

  /** Listens; ERR_ADDRESS_IN_USE or ERR_CONFIG naming the flag when that is not possible. */
  static async open(options: HttpApiOptions): Promise<HttpApi> {
    const { host, port } = options;
    const api = new HttpApi(options);
    const { server } = api.#app;
    try {
      await api.#app.listen({ host, port });
    } catch (error) {
      await api[Symbol.asyncDispose]();
      throw listenError(error, { host, port, portFlag: '--http-port' });
    }
    const address = server.address();
    api.#port = typeof address === 'object' ? (address?.port ?? port) : port;
    return api;
  }

  /** The port it listens on. */
  get port(): number {
    return this.#port;
  }

  /** From now on answers for these; until then, and after `retire()`, everything but health is ERR_BUSY. */
  serve(parts: ServedParts): void {
    this.#parts = parts;
  }

  /** The parts are about to close: says so from now on. */
  retire(): void {
    this.#parts = undefined;
    this.#absence = 'stopping';
  }

  /** Answers nobody any more; requests under way are cut off. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#app.close();
  }

  #served(): ServedParts {
    if (this.#parts !== undefined) return this.#parts;
    throw new CodedError('ERR_BUSY', `the supernode is ${this.#absence}`);
  }

  #addRoutes(options: HttpApiOptions): void {
    const { keys, isMetricsPublic } = options;
    const app = this.#app;
    const version = programVersion();
    // The others are what Harbor asks of dragonfly, kraken, and the dragonfly of before.
    const healths = ['/healthz', '/healthy', '/health', '/_ping'];
    const health: RouteHandlerMethod = async (_request, reply) => {
      const { isReady, problems } = this.#parts?.view.status() ?? {
        isReady: false,
        problems: [this.#absence],
      };
      const status = isReady ? 'ok' : 'not ready';
      return reply.code(isReady ? 200 : 503).send({ status, version, problems });
    };
    collectRoutes(app);
    void app.register(async (open: ApiApp) => {
      for (const path of healths) open.get(path, health);
      addDescriptionRoute(open);
      if (isMetricsPublic) this.#addMetricsRoute(open);
    });
    void app.register(async (guarded: ApiApp) => {
      guarded.addHook('onRequest', async ({ ip, hostname, headers }) =>
        checkAccess(keys, { ip, hostname, authorization: headers.authorization }),
      );
      addReadRoutes(guarded, () => this.#served().view);
      addAdminRoutes(guarded, () => this.#served().actions);
      addLimitRoutes(guarded, () => this.#served().limits);
      addWarmUpRoutes(guarded, () => this.#served().warmUps, keys);
      if (!isMetricsPublic) this.#addMetricsRoute(guarded);
    });
    this.#addOpsRoutes(keys);
    this.#addHookRoutes(options);
  }

  /** Who has a key of the operator or one that the door gave out; the door decides what he may. */
  #addOpsRoutes(keys: ApiKeys | undefined): void {
    const callerOf: CallerOf = ({ ip, headers }) => {
      const { principals } = this.#served().ops;
      const { authorization } = headers;
      return quotedApproval(headers, opsCaller({ keys, principals }, { ip, authorization }));
    };
    void this.#app.register(async (ops: ApiApp) => {
      ops.addHook('onRequest', async (request) => void callerOf(request));
      const options = { callerOf };
      addCallRoutes(ops, { ...options, control: () => this.#served().ops });
      addReleaseRoutes(ops, { ...options, control: () => this.#served().ops });
      addKeyRoutes(ops, { ...options, parts: () => this.#served().ops });
      addApprovalRoutes(ops, { ...options, parts: () => this.#served().ops });
      addHostRoutes(ops, { ...options, parts: () => this.#served().ops });
      addPackageRoutes(ops, { ...options, parts: () => this.#served().ops, spare: spareRequest });
      addAuditRoutes(ops, { ...options, parts: () => this.#served().ops });
    });
  }

  /** Registries and Harbor know user and password where others have a key; and a registry need not have ours. */
  #addHookRoutes({ keys, pushKeys, push = {} }: HttpApiOptions): void {
    const parts = { push, warmUps: () => this.#served().warmUps };
    void this.#app.register(async (hooks: ApiApp) => {
      hooks.addHook('onRequest', async ({ ip, hostname, headers }) => {
        const authorization = bearerOf(headers.authorization);
        if (pushKeys?.accepts(authorization) === true) return;
        checkAccess(keys ?? pushKeys, { ip, hostname, authorization });
      });
      addPushRoutes(hooks, parts);
    });
    void this.#app.register(async (harbor: ApiApp) => {
      harbor.addHook('onRequest', async ({ ip, hostname, headers }) =>
        checkAccess(keys, { ip, hostname, authorization: bearerOf(headers.authorization) }),
      );
      addHarborRoutes(harbor, parts);
    });
  }

  #addMetricsRoute(app: ApiApp): void {
    app.get('/metrics', async (_request, reply) => {
      const { contentType, text } = await this.#served().metrics();
      return reply.type(contentType).send(text);
    });
  }
}

/** The password of a Basic header as a key, whoever the user is; any other header as it is. */
function bearerOf(header: string | undefined): string | undefined {
  const [, basic] = /^Basic +(\S+) *$/i.exec(header ?? '') ?? [];
  if (basic === undefined) return header;
  const text = Buffer.from(basic, 'base64').toString();
  return `Bearer ${text.slice(text.indexOf(':') + 1)}`;
}

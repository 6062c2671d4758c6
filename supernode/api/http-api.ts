import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { programVersion } from '../../core/base/version.ts';
import type { Exposition } from '../metrics.ts';
import { addAdminRoutes } from './admin-routes.ts';
import { checkAccess } from './api-access.ts';
import type { ApiKeys } from './api-keys.ts';
import { newApiApp } from './fastify-app.ts';
import type { ApiApp } from './fastify-app.ts';
import { listenError } from './listen-error.ts';
import { addReadRoutes } from './read-routes.ts';
import type { SupernodeActions, SupernodeView } from './supernode-view.ts';
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
  readonly log: Log;
}

/** What the API speaks for, once that runs. */
export interface ServedParts {
  readonly view: SupernodeView;
  readonly actions: SupernodeActions;
  readonly warmUps: ServedWarmUps;
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

  #addRoutes({ keys, isMetricsPublic }: HttpApiOptions): void {
    const app = this.#app;
    const version = programVersion();
    app.get('/healthz', async (_request, reply) => {
      const { isReady, problems } = this.#parts?.view.status() ?? {
        isReady: false,
        problems: [this.#absence],
      };
      const status = isReady ? 'ok' : 'not ready';
      return reply.code(isReady ? 200 : 503).send({ status, version, problems });
    });
    if (isMetricsPublic) this.#addMetricsRoute(app);
    void app.register(async (guarded: ApiApp) => {
      guarded.addHook('onRequest', async ({ ip, hostname, headers }) =>
        checkAccess(keys, { ip, hostname, authorization: headers.authorization }),
      );
      addReadRoutes(guarded, () => this.#served().view);
      addAdminRoutes(guarded, () => this.#served().actions);
      addWarmUpRoutes(guarded, () => this.#served().warmUps);
      if (!isMetricsPublic) this.#addMetricsRoute(guarded);
    });
  }

  #addMetricsRoute(app: ApiApp): void {
    app.get('/metrics', async (_request, reply) => {
      const { contentType, text } = await this.#served().metrics();
      return reply.type(contentType).send(text);
    });
  }
}

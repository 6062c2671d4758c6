import { abortable } from '../../base/clock.ts';
import type { Clock } from '../../base/clock.ts';
import { CodedError } from '../../base/error.ts';
import type { ChannelSession } from './session.ts';

/** Who asks to be let in. */
export interface AdmissionRequest {
  /** Proven by the handshake of the connection. */
  readonly peerId: string;
  /** IP address, without port. */
  readonly remoteAddress: string;
  readonly protocol: string;
  /** The first words of the dialer, unchecked. */
  readonly hello: unknown;
}

/** Lets a peer in by returning what to welcome it with; refuses by throwing, and the error is told to the peer. */
export type Admission = (request: AdmissionRequest) => Promise<unknown>;

/** Says hello on a new session and waits for the welcome; throws the listener's refusal, or ERR_LINK. */
export async function sayHello(
  session: ChannelSession,
  hello: unknown,
  options: { signal: AbortSignal },
): Promise<void> {
  session.sendAs('hello', hello);
  const answer = await session.next('welcome', options);
  if (answer === undefined) {
    throw new CodedError('ERR_LINK', 'the other side closed the session without an answer');
  }
  session.hello = hello;
  session.welcome = answer.value;
}

/** Hears the hello of a new session and answers it; throws what refuses the peer, which has been told then. */
export async function hearHello(
  session: ChannelSession,
  admission: Admission | undefined,
  options: { clock: Clock; stepMs: number },
): Promise<void> {
  try {
    const hello = await withinStep(async (signal) => session.next('hello', { signal }), options);
    if (hello === undefined) throw new CodedError('ERR_LINK', 'the dialer left without a hello');
    if (admission === undefined) {
      throw new CodedError('ERR_BUSY', 'this node does not let anybody in yet');
    }
    const { remotePeerId: peerId, remoteAddress, protocol } = session;
    const request = { peerId, remoteAddress, protocol, hello: hello.value };
    const welcome = await withinStep(async () => admission(request), options);
    session.sendAs('welcome', welcome ?? null);
    session.hello = hello.value;
    session.welcome = welcome;
  } catch (error) {
    const refusal = refusalFor(error);
    await session.close(refusal);
    throw error instanceof CodedError ? error : refusal;
  }
}

/** What a peer is told of an error: ours as it is, of a defect nothing but that. */
export function refusalFor(error: unknown): CodedError {
  if (error instanceof CodedError) return error;
  return new CodedError('ERR_INTERNAL', 'the other side failed', { cause: error });
}

async function withinStep<T>(
  work: (signal: AbortSignal) => Promise<T>,
  options: { clock: Clock; stepMs: number },
): Promise<T> {
  using deadline = options.clock.deadline(options.stepMs);
  try {
    return await abortable(work(deadline.signal), deadline.signal);
  } catch (error) {
    if (!deadline.signal.aborted) throw error;
    throw new CodedError('ERR_TIMEOUT', `no hello or no answer within ${options.stepMs} ms`, {
      cause: error,
    });
  }
}

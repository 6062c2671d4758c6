/**
 * Properties are tried on the same inputs in each run, so that a run can be repeated; others with FC_SEED=$RANDOM.
 */
import { env } from 'node:process';
import * as fc from 'fast-check';

fc.configureGlobal({ seed: Number(env['FC_SEED'] ?? 20_260_101) });

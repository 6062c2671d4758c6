/** What other parts of the repository may know of dfdaemon: its options and metrics, for docs and checks. */
export { dfdaemonOptions } from './config.ts';
export { keepFlags } from './keep-command.ts';
export { limitsFlags } from './limits-command.ts';
export { proxyCaFlags } from './proxy/proxy-command.ts';
export { dfdaemonMetrics, metricPrefix } from './metrics.ts';

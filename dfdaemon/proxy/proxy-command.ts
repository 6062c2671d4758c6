/** `dfdaemon proxy ca`: where the certificate is that clients of opened tunnels must trust. */
import type { Command } from 'commander';
import { bindCommand } from '../../core/base/command-line.ts';
import type { Print } from '../../core/base/command-line.ts';
import { SystemClock } from '../../core/base/clock.ts';
import { defineOptions } from '../../core/base/options.ts';
import type { Environment } from '../../core/base/resolve-options.ts';

/** The flags of `dfdaemon proxy ca`. */
export const proxyCaFlags = defineOptions({
  'data-dir': {
    kind: 'path',
    defaultHelp: 'that of dfdaemon',
    help: 'The data folder of the dfdaemon whose CA it is',
  },
});

/** Adds `proxy ca` to the program; the CA is made when there is none. */
export function addProxyCommands(
  program: Command,
  tools: { readonly env: Environment; readonly defaultDataDir: string; readonly print: Print },
): void {
  const proxy = program.command('proxy').description('About the HTTP proxy of this host');
  const command = proxy
    .command('ca')
    .description('Print the path of the certificate that clients of --proxy-intercept must trust');
  bindCommand(command, {
    table: proxyCaFlags,
    env: tools.env,
    action: async ({ options }) => {
      const { InterceptCa } = await import('./intercept-ca.ts');
      const dataDir = options.dataDir ?? tools.defaultDataDir;
      const ca = await InterceptCa.open(dataDir, { clock: new SystemClock() });
      tools.print(`${ca.certificateFile}\n`);
    },
  });
}

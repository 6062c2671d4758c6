/** What a host without a file of commands lets be run: nothing that changes anything, and no argument of a caller. */
export const defaultCommands = {
  date: { program: '/bin/date', readOnly: true },
  df: { program: '/bin/df', args: ['-P', '-l'], readOnly: true },
  free: { program: '/usr/bin/free', readOnly: true },
  hostname: { program: '/bin/hostname', readOnly: true },
  true: { program: '/bin/true', readOnly: true },
  uname: { program: '/bin/uname', args: ['-a'], readOnly: true },
  uptime: { program: '/usr/bin/uptime', readOnly: true },
} as const;

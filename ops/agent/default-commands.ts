/** What a host without a file of commands lets be run: nothing that changes anything, and no argument of a caller. */
export const defaultCommands = {
  date: { program: '/bin/date' },
  df: { program: '/bin/df', args: ['-P', '-l'] },
  free: { program: '/usr/bin/free' },
  hostname: { program: '/bin/hostname' },
  true: { program: '/bin/true' },
  uname: { program: '/bin/uname', args: ['-a'] },
  uptime: { program: '/usr/bin/uptime' },
} as const;

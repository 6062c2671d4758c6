// Tests that start whole programs as processes: one at a time, with room for slow machines.
export default {
  extensions: ['ts'],
  files: ['test/**/*.test.ts', '!test/compat/**'],
  workerThreads: false,
  concurrency: 1,
  timeout: '240s',
};

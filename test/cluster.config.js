// Tests that start whole programs as processes: they wait much, so two files at a time, with room for slow machines.
export default {
  extensions: ['ts'],
  files: ['test/**/*.test.ts', '!test/compat/**'],
  workerThreads: false,
  concurrency: 2,
  timeout: '480s',
};

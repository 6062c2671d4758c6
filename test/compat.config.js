// Real clients against the proxy port: `npm run test:compat` installs them first. One file at a time.
export default {
  extensions: ['ts'],
  files: ['test/compat/**/*.test.ts'],
  workerThreads: false,
  concurrency: 1,
  serial: true,
  timeout: '480s',
};

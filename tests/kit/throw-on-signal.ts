// A fault that the tests bring into a service with `node --import`: exceptions that no code of the service is around.
process.on('SIGUSR2', () => {
  throw new Error('one exception of a test');
});
process.on('SIGWINCH', () => {
  for (let index = 0; index < 11; index += 1) {
    setImmediate(() => {
      throw new Error('one of many exceptions of a test');
    });
  }
});

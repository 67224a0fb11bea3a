/**
 * The program of the helper process, for `node -e` with the port and the namespace's link as arguments: it listens in the
 * network namespace that it was started in, hands the listener to its parent and ends. It is text so that a bundle needs
 * no second file, CommonJS and plain, for nothing compiles it.
 */
export const namespaceHelper = `
const { readlinkSync } = require('node:fs');
const { createServer } = require('node:net');
const [port, expected] = process.argv.slice(-2);
const fail = (problem) => process.send({ problem }, () => process.exit(1));
process.once('disconnect', () => process.exit(1));
setTimeout(() => process.exit(1), 5000);
const namespace = readlinkSync('/proc/self/ns/net');
const listen = (attempts) => {
  const server = createServer({ pauseOnConnect: true });
  server.once('error', (error) => {
    // The loopback interface comes up a moment after the namespace.
    if (error.code === 'EADDRNOTAVAIL' && attempts > 0) setTimeout(listen, 5, attempts - 1);
    else fail('it cannot listen: ' + error.code);
  });
  server.listen(Number(port), '127.0.0.1', () => {
    process.send({ listening: true }, server, () => process.exit(0));
  });
};
if (namespace === expected) listen(200);
else fail('it came into another network namespace');
`;

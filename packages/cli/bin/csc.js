#!/usr/bin/env node
// Written so that any Node, however old, can read it and say what is wrong.
var major = parseInt(process.versions.node, 10);
if (major < 24) {
  process.stderr.write(
    'csc needs Node.js 24 or newer; this is ' +
      process.version +
      ' (' +
      process.execPath +
      ').\n' +
      'What to do: install Node.js 24 or newer (https://nodejs.org/en/download), or put one that is installed first\n' +
      'in your PATH. In a checkout of the project, run make: it brings a Node.js of its own.\n',
  );
  process.exitCode = 78;
} else {
  require('./start.js');
}

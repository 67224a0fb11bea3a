import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  type Stats,
} from 'node:fs';
import { join } from 'node:path';
import { isCscError } from '@csc-fleet/common/errors';
import { explainFileError } from '@csc-fleet/common/files';
import { descriptorPath } from '@csc-fleet/sandbox/host';
import {
  checkNotCancelled,
  checkSecretName,
  maxSecretBytes,
  ownBuffer,
  type SecretProvider,
  unavailable,
} from './provider.ts';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;
const newline = 0x0a;
const carriageReturn = 0x0d;

/**
 * Secrets as files of one directory, named after the secrets; one line end (`\n` or `\r\n`) at the end of a file is not
 * part of the secret. The directory and its files must be root's or this process's own user's, with mode 0400 or 0600 for a file
 * and nobody else writing in the directory. Symbolic links are not followed.
 */
export function createDirectoryProvider(directory: string): SecretProvider {
  return {
    places: { 'secrets.directory': directory },
    check: () => withDescriptor(openDirectory(directory), () => undefined),
    warnings: () => withDescriptor(openDirectory(directory), (fd) => warnings(fd, directory)),
    async read(name, options) {
      checkSecretName(name);
      checkNotCancelled(name, options?.signal);
      return withDescriptor(openDirectory(directory), (directoryFd) => readIn(directoryFd, name, directory));
    },
  };
}

// What no contract asks for may lie there, too: no fault of the config. What a file holds is not read.
function warnings(directoryFd: number, directory: string): string[] {
  return readdirSync(descriptorPath(directoryFd))
    .sort()
    .flatMap((name) => {
      const stats = lstatSync(`${descriptorPath(directoryFd)}/${name}`, { throwIfNoEntry: false });
      if (stats?.isFile() !== true) return [];
      try {
        checkFile(stats, join(directory, name));
        return [];
      } catch (error) {
        if (!isCscError(error)) throw error;
        return [`secrets: ${error.message}`];
      }
    });
}

function openDirectory(directory: string): number {
  const fd = open(
    directory,
    O_RDONLY | O_DIRECTORY,
    (why) => `the directory of secrets ${directory}: ${why}`,
  );
  return checked(fd, () => checkDirectory(fstatSync(fd), directory));
}

// The name is looked up in the directory that was checked, whatever is at its path by now.
function readIn(directoryFd: number, name: string, directory: string): Buffer {
  const path = join(directory, name);
  // A FIFO would hold the open until somebody writes to it.
  const flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
  const fd = open(
    `${descriptorPath(directoryFd)}/${name}`,
    flags,
    (why) => `the secret ${name} in ${directory}: ${why}`,
  );
  return withDescriptor(fd, () => {
    checkFile(fstatSync(fd), path);
    return withoutLineEnd(readAll(fd, path));
  });
}

function open(path: string, flags: number, toMessage: (why: string) => string): number {
  try {
    return openSync(path, flags);
  } catch (cause) {
    throw unavailable(toMessage(explainOpenError(cause)), cause);
  }
}

function explainOpenError(error: unknown): string {
  // open(2): what O_NOFOLLOW says of a link, and a socket of being opened.
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ELOOP') return 'it is a symbolic link, which is not followed';
  if (code === 'ENXIO') return 'it is not a regular file';
  return explainFileError(error);
}

function checkDirectory(stats: Stats, path: string): void {
  checkOwner(stats, path);
  if ((stats.mode & 0o022) === 0) return;
  throw unavailable(`${path} may be written to by others than its owner: run chmod go-w ${path}`);
}

function checkFile(stats: Stats, path: string): void {
  if (!stats.isFile()) throw unavailable(`${path} is not a regular file`);
  checkOwner(stats, path);
  const mode = stats.mode & 0o7777;
  if (mode !== 0o400 && mode !== 0o600) {
    throw unavailable(
      `${path} has mode ${mode.toString(8).padStart(4, '0')}, not 0400 or 0600: run chmod 400 ${path}`,
    );
  }
}

function checkOwner({ uid }: Stats, path: string): void {
  const own = process.geteuid?.();
  if (uid === 0 || uid === own) return;
  throw unavailable(
    `${path} belongs to user ${uid}, not to root or to the executor's user: run chown ${own} ${path}`,
  );
}

// One byte more than allowed is read to tell, so that a file that grows meanwhile cannot fill the memory.
function readAll(fd: number, path: string): Buffer {
  const buffer = Buffer.alloc(maxSecretBytes + 1);
  let length = 0;
  try {
    while (length < buffer.length) {
      const count = readSync(fd, buffer, length, buffer.length - length, null);
      if (count === 0) return ownBuffer(buffer.subarray(0, length));
      length += count;
    }
  } catch (cause) {
    throw unavailable(`${path} cannot be read: ${explainFileError(cause)}`, cause);
  } finally {
    buffer.fill(0);
  }
  throw unavailable(`${path} is longer than ${maxSecretBytes} bytes`);
}

// One line end, as editors of either kind leave it.
function withoutLineEnd(content: Buffer): Buffer {
  if (content.at(-1) !== newline) return content;
  return content.subarray(0, content.at(-2) === carriageReturn ? -2 : -1);
}

function checked(fd: number, check: () => void): number {
  try {
    check();
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function withDescriptor<T>(fd: number, use: (fd: number) => T): T {
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

import { execFile } from 'node:child_process';
import { CscError } from '@csc-fleet/common/errors';
import { readBoundedFile } from '@csc-fleet/common/files';
import { maxTokenLength } from '@csc-fleet/common/oidc';

/** Gives an OIDC token for this audience; one that cannot choose gives what it has. Rejects with CscError. */
export type TokenSource = (audience: string) => Promise<string>;

const timeoutMs = 15_000;
const maxAnswer = 64 * 1024;

/**
 * The tokens of a GitHub Actions job, which needs `permissions: id-token: write`. Throws CONFIG_INVALID where this is none.
 * @see https://docs.github.com/actions/reference/security/oidc
 */
export function githubTokens(env: NodeJS.ProcessEnv = process.env): TokenSource {
  const url = env['ACTIONS_ID_TOKEN_REQUEST_URL'] ?? '';
  const secret = env['ACTIONS_ID_TOKEN_REQUEST_TOKEN'] ?? '';
  if (url === '' || secret === '' || !URL.canParse(url))
    throw invalid('this is no GitHub Actions job that may have tokens: give it permissions: id-token: write');
  return async (audience) => {
    const asked = new URL(url);
    asked.searchParams.set('audience', audience);
    const answer = await ask(asked, secret);
    const value: unknown = answer['value'];
    return checkText(typeof value === 'string' ? value : '', 'GitHub');
  };
}

async function ask(url: URL, secret: string): Promise<Record<string, unknown>> {
  try {
    // What is asked with is a secret, too: it goes nowhere else.
    const answer = await fetch(url, {
      headers: { authorization: `Bearer ${secret}`, accept: 'application/json' },
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
    if (!answer.ok) throw invalid(`GitHub gave no token: it answered ${answer.status}`);
    const text = await answer.text();
    if (text.length > maxAnswer) throw invalid('GitHub gave no token: its answer is too long');
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch (cause) {
    if (cause instanceof CscError) throw cause;
    throw invalid('GitHub gave no token: it could not be asked', cause);
  }
}

/**
 * The tokens of a Buildkite job, by its agent.
 * @see https://buildkite.com/docs/agent/v3/cli-oidc
 */
export function buildkiteTokens(program = 'buildkite-agent'): TokenSource {
  return (audience) =>
    new Promise((resolve, reject) => {
      const args = ['oidc', 'request-token', '--audience', audience];
      execFile(program, args, { timeout: timeoutMs, maxBuffer: maxAnswer }, (cause, stdout) => {
        if (cause !== null)
          return reject(invalid(`${program} gave no token: is this a Buildkite job?`, cause));
        try {
          resolve(checkText(stdout, program));
        } catch (error) {
          reject(error);
        }
      });
    });
}

/**
 * One token that is there already, for whatever audience: in an environment variable, as GitLab puts it there. Throws
 * CONFIG_INVALID.
 */
export function tokenInVariable(name: string, env: NodeJS.ProcessEnv = process.env): TokenSource {
  const text = checkText(env[name] ?? '', `the variable ${name}`);
  return async () => text;
}

/** One that a file holds, read whenever it is asked for. */
export function tokenInFile(path: string): TokenSource {
  return async () => checkText(readBoundedFile(path, { maxBytes: maxAnswer }).bytes.toString('utf8'), path);
}

/**
 * The source that a text names: github, buildkite, gitlab (the variable CSC_ID_TOKEN), env:VARIABLE, file:PATH. Throws
 * CONFIG_INVALID.
 */
export function tokenSource(text: string, env: NodeJS.ProcessEnv = process.env): TokenSource {
  if (text === 'github') return githubTokens(env);
  if (text === 'buildkite') return buildkiteTokens();
  if (text === 'gitlab') return tokenInVariable('CSC_ID_TOKEN', env);
  if (text.startsWith('env:')) return tokenInVariable(text.slice(4), env);
  if (text.startsWith('file:')) return tokenInFile(text.slice(5));
  throw invalid('tokens come from github, buildkite, gitlab, env:VARIABLE or file:PATH');
}

// Its errors must not hold it.
function checkText(given: string, whose: string): string {
  const text = given.trim();
  if (text.length <= maxTokenLength && /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2}$/.test(text)) return text;
  throw invalid(`${whose} has no OIDC token: three parts of base64url, joined by dots`);
}

function invalid(message: string, cause?: unknown): CscError {
  return new CscError('CONFIG_INVALID', message, cause === undefined ? {} : { cause });
}

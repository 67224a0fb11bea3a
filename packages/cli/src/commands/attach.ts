import type { RunHandlers } from '@csc-fleet/client';
import type { Command } from 'commander';
import { act } from '../action/act.ts';
import { exitCodes } from '../action/exit-codes.ts';
import { connectGate } from '../connect/connect-gate.ts';
import { resolveExecution } from '../connect/execution-id.ts';
import {
  addGateOptions,
  addTokenOptions,
  type GateOptions,
  gateArguments,
  gateOptionsHelp,
} from '../connect/gate-options.ts';
import { identify } from '../connect/submitter.ts';
import { TerminalClaims } from '../files/terminal-claims.ts';
import { leaveOnInterrupt, present } from '../show/follow.ts';
import { createPresenter } from '../show/presenter.ts';
import { TerminalSession } from '../show/terminal-session.ts';
import { ownTerminal } from '../terminal/raw.ts';
import { note } from '../terminal/streams.ts';
import { plainLine } from '../terminal/text.ts';

const help = `${gateOptionsHelp}
Shows what its terminal has shown, and goes on. You can type where csc submit --tty was run as this user on this machine, whose
key is in the state directory; elsewhere you look on. ~. leaves (exit code 130), and the run goes on.

Example:
  $ csc attach 4f1c
`;

export function defineAttach(command: Command): void {
  command
    .description('Come back to the terminal of an execution.')
    .argument('<execution>', 'its id, or its first characters, four or more');
  addTokenOptions(addGateOptions(command)).addHelpText('after', help);
  act<[string, GateOptions]>(command, attach);
}

async function attach(named: string, options: GateOptions): Promise<number> {
  if (!process.stdin.isTTY) {
    note(plainLine(`csc attach takes a terminal; csc get ${named} --follow looks on`));
    return exitCodes.usage;
  }
  const own = ownTerminal('csc attach');
  const presenter = await createPresenter({ json: false, quiet: false, tty: true });
  using client = connectGate(options, { ...(await identify(options)), say: presenter.alert });
  const executionId = await resolveExecution(client, named);
  const claims = new TerminalClaims(process.env);
  const claim = claims.find(executionId);
  if (claim === undefined)
    presenter.alert(
      plainLine('csc: looking on, as the key of this terminal is not on this machine; ~. or Ctrl-C leaves'),
    );
  using session = new TerminalSession();
  using interrupts = leaveOnInterrupt(executionId, presenter.alert, 'attach');
  const input = claim === undefined ? undefined : client.openTerminal(claim);
  if (input === undefined) session.lookOn(executionId, presenter.alert);
  else {
    session.open(input, presenter.alert);
    input.resize(own);
  }
  const run = (handlers: RunHandlers) =>
    client.follow(executionId, { handlers: session.recording(handlers) }).finally(() => {
      session[Symbol.dispose]();
      input?.close();
    });
  const code = await present(presenter, {
    interrupts,
    receiptOut: undefined,
    run,
    back: 'attach',
    reach: gateArguments(options),
  });
  claims.drop(executionId);
  return code;
}

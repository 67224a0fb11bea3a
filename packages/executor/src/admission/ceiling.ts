import type { CountedApproval } from '@csc-fleet/common/approval';
import { judgeCommand, unwrap } from '@csc-fleet/common/command-rules';
import { argvs, type Command, type CommandContract, networkModes } from '@csc-fleet/common/contract';
import { CscError, type Fault, formatFaults, quoteBriefly } from '@csc-fleet/common/errors';
import { coveredBy } from '@csc-fleet/common/paths';
import { matchesPattern, type PolicyDocument } from '@csc-fleet/common/policy';
import type { ExecutionTicket } from '@csc-fleet/common/ticket';
import type { ApprovedContract } from './approvals.ts';
import { ceilingUnder, type HostCeiling } from './host-ceiling.ts';
import type { SubmittedTicket } from './submission.ts';

/** What a contract is held against the ceiling with. */
export interface CeilingRequest {
  /** Of the owner's policy. */
  readonly allowCommands: readonly string[];
  /** How many approvals came with it that count. */
  readonly approvals: number;
  /** Who submitted it. Absent: not known, and not asked. */
  readonly principal?: string;
  /** It is to run on a terminal. Absent: it is not. */
  readonly terminal?: boolean;
  /** Its submitter has signed what is asked for. Absent: nobody has. */
  readonly signed?: boolean;
}

/** One rule of the ceiling: what a command asks for beyond it. The path is a member of the command. */
type CeilingRule = (command: Command, ceiling: HostCeiling, request: CeilingRequest) => readonly Fault[];

const rules: readonly CeilingRule[] = [judgePrograms, judgePaths, judgeNetwork, judgeSecrets];

class UnderCeiling {
  protected readonly step = 'admitted';
  readonly contract: CommandContract;
  readonly ticket: ExecutionTicket;
  readonly verifiedAt: Date;
  readonly document: PolicyDocument;
  readonly approvals: readonly CountedApproval[];
  readonly submitted: SubmittedTicket;
  /** That it was held under, and is granted by. */
  readonly ceiling: HostCeiling;

  constructor(
    { contract, ticket, verifiedAt, document, approvals, submitted }: ApprovedContract,
    ceiling: HostCeiling,
  ) {
    this.contract = contract;
    this.ticket = ticket;
    this.verifiedAt = verifiedAt;
    this.document = document;
    this.approvals = approvals;
    this.submitted = submitted;
    this.ceiling = ceiling;
  }
}

/** All that can be asked of papers has been: this host would run it, if it had room and what it takes. */
export type Admitted = UnderCeiling;

/**
 * Holds an approved contract under the ceiling of this host's owner. Throws HOST_CEILING_EXCEEDED.
 * @param own as the host's config has it; what the owners' hosts.yaml says of hosts with `labels` narrows it
 */
export function admitUnderCeiling(
  approved: ApprovedContract,
  own: HostCeiling,
  labels: Readonly<Record<string, string>>,
): Admitted {
  const ceiling = ceilingUnder(own, approved.submitted.owners, labels, approved.ticket);
  const { contract, ticket, document, approvals } = approved;
  checkCeiling(contract, ceiling, {
    principal: ticket.principal,
    allowCommands: document.policy.allow_commands,
    approvals: approvals.length,
    terminal: ticket.grant.terminal !== undefined,
    signed: approved.submitted.submission !== undefined,
  });
  return new UnderCeiling(approved, ceiling);
}

/** Throws HOST_CEILING_EXCEEDED with all that the contract asks for beyond the ceiling. */
export function checkCeiling(contract: CommandContract, ceiling: HostCeiling, request: CeilingRequest): void {
  const faults = [
    ...judgePrincipal(ceiling, request),
    ...judgeTerminal(ceiling, request),
    ...contract.commands.flatMap((command, index) =>
      rules
        .flatMap((rule) => rule(command, ceiling, request))
        .map(({ path, message }) => ({ path: `commands[${index}].${path}`, message })),
    ),
  ];
  if (faults.length === 0) return;
  const told = faults.slice(0, mostTold);
  const more = faults.length - told.length;
  const rest = more === 0 ? '' : `\n  and ${more} more`;
  throw new CscError('HOST_CEILING_EXCEEDED', `this host does not grant it:\n${formatFaults(told)}${rest}`, {
    faults: told,
  });
}

// A contract may declare 200,000 paths, and each would have a line.
const mostTold = 100;

function judgePrincipal({ principals }: HostCeiling, { principal }: CeilingRequest): readonly Fault[] {
  if (principals === undefined || principal === undefined) return [];
  if (principals.some((pattern) => matchesPattern(pattern, principal))) return [];
  return [{ path: 'actor', message: `was submitted by ${principal}, for whom this host runs nothing` }];
}

// Where nobody has signed it, a gate that was taken over could name a key of its own, and type.
function judgeTerminal(
  { terminal }: HostCeiling,
  { terminal: isAsked, signed: isSigned = false }: CeilingRequest,
): readonly Fault[] {
  if (isAsked !== true || terminal === true) return [];
  if (terminal === 'signed' && isSigned) return [];
  const only = terminal === 'signed' ? ' but where its submitter has signed that (csc login)' : '';
  return [{ path: 'options.terminal', message: `is asked for, and this host gives none${only}` }];
}

function judgePrograms(command: Command, ceiling: HostCeiling, request: CeilingRequest): readonly Fault[] {
  const { inlineCode } = ceiling;
  return argvs(command).flatMap((argv, index) => {
    const member = command.exec === undefined ? `pipeline.segments[${index}].argv` : 'exec.argv';
    const rules = {
      allowCommands: request.allowCommands,
      inlineCode,
      piped: index > 0 || request.terminal === true,
    };
    return [...judgeCommand(argv, rules), ...judgeNames(argv, ceiling)].map(({ path, message }) => ({
      path: `${member}${path}`,
      message,
    }));
  });
}

/** What a wrapper runs, the owner must have named as well. */
function judgeNames(argv: readonly string[], { commands }: HostCeiling): readonly Fault[] {
  if (commands === undefined) return [];
  const names = [argv, ...unwrap(argv)].map(([name = '']) => name);
  return names.flatMap((name, index) => {
    if (commands.includes(name)) return [];
    const what = index === 0 ? 'is' : `runs ${quoteBriefly(name)}, which is`;
    const message = `${what} not among the commands of this host: ${commands.join(', ')}`;
    return [{ path: index === 0 ? '[0]' : '', message }];
  });
}

function judgePaths(command: Command, { pathRoots }: HostCeiling): readonly Fault[] {
  const declared = [
    ['cwd', command.cwd] as const,
    ...command.read_paths.map((path, index) => [`read_paths[${index}]`, path] as const),
    ...command.write_paths.map((path, index) => [`write_paths[${index}]`, path] as const),
  ];
  const isCovered = coveredBy(pathRoots);
  const message = `is outside the path_roots of this host: ${pathRoots.join(', ')}`;
  return declared.filter(([, path]) => !isCovered(path)).map(([path]) => ({ path, message }));
}

function judgeNetwork(
  command: Command,
  ceiling: HostCeiling,
  { approvals }: CeilingRequest,
): readonly Fault[] {
  const { network } = command;
  if (networkModes.indexOf(network) > networkModes.indexOf(ceiling.network))
    return [{ path: 'network', message: `is "${network}"; this host grants "${ceiling.network}" at most` }];
  if (network !== 'full' || approvals > 0) return [];
  const message =
    'is "full", which takes policy, host and an approval together: set approval_mode to human_required';
  return [{ path: 'network', message }];
}

function judgeSecrets({ secret_refs: wanted }: Command, { secrets }: HostCeiling): readonly Fault[] {
  return wanted.flatMap((name, index) =>
    secrets.includes(name)
      ? []
      : [
          {
            path: `secret_refs[${index}]`,
            message: `${quoteBriefly(name)} is not a secret that this host hands out`,
          },
        ],
  );
}

/** A program and its arguments. */
export type CommandLine = readonly [program: string, ...rest: string[]];

// With --disable-userns bubblewrap leaves the user namespace that the network belongs to for one below it, and no process
// stays behind: only NS_GET_USERNS (ioctl_ns(2), 0xb701) on the network leads there, which neither Node nor nsenter knows
// before util-linux 2.41. Perl is essential on Debian; `nsenter` follows, to enter both at once.
const enterOwner = `
use Fcntl;
$^F = 1023;
my ($pid, @command) = @ARGV;
open(my $net, '<', "/proc/$pid/ns/net") or die "its network namespace: $!\\n";
my $user = ioctl($net, 0xb701, 0) or die "the owner of its network namespace: $!\\n";
open(my $owner, '<&=', $user) or die "the owner of its network namespace: $!\\n";
fcntl($owner, F_SETFD, 0);
exec('nsenter', "--user=/proc/self/fd/$user", '--net=/proc/self/fd/' . fileno($net), '--preserve-credentials', '--', @command);
die "nsenter: $!\\n";
`;

/** The command line that runs another one in the network namespace of a process. Pure. */
export function enterNetworkNamespace(pid: number, isRoot: boolean, command: CommandLine): CommandLine {
  return isRoot
    ? ['nsenter', `--net=/proc/${pid}/ns/net`, '--', ...command]
    : ['perl', '-e', enterOwner, String(pid), ...command];
}

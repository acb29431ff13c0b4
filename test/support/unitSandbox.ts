/**
 * A systemd unit's sandbox put up by hand, where systemd is not process 1: what the unit's own keys
 * say about files, devices, capabilities, system calls and address families, by mounts in a mount
 * namespace, setpriv and a seccomp filter. Reads the unit; a key whose value it does not know how
 * to put up is an error, so that none is silently left out.
 */
import { readFileSync } from 'node:fs';
import { runCommand } from '#xvs/lab/process';

const SYSCALL_NUMBERS = '/usr/include/x86_64-linux-gnu/asm/unistd_64.h';
const MARK = 'closed';

/** Keys of [Service] that others check, or that mean nothing for a sandbox. */
const OTHER_KEYS = new Set([
  ...['Type', 'NotifyAccess', 'ExecStartPre', 'ExecStart', 'ExecReload', 'Restart', 'RestartSec'],
  ...['TimeoutStartSec', 'TimeoutStopSec', 'RuntimeDirectory', 'RuntimeDirectoryMode'],
  ...['LimitNOFILE', 'LimitMEMLOCK', 'LogRateLimitIntervalSec'],
  // By the lack of a capability, or by what the filters here refuse too.
  ...['ProtectClock', 'ProtectHostname', 'ProtectKernelModules', 'LockPersonality'],
  ...['RestrictRealtime', 'RestrictSUIDSGID', 'SystemCallArchitectures', 'SystemCallErrorNumber'],
]);
/** Keys that are put up here, with the values that are. */
const PUT_UP: Readonly<Record<string, RegExp>> = {
  CapabilityBoundingSet: /^(CAP_[A-Z_]+ ?)+$/,
  RestrictAddressFamilies: /^(AF_[A-Z0-9]+ ?)+$/,
  SystemCallFilter: /^([@a-z-]+ ?)+$/,
  DevicePolicy: /^closed$/,
  DeviceAllow: /^\/dev\/net\/tun rw$/,
  NoNewPrivileges: /^yes$/,
  ProtectSystem: /^strict$/,
  ProtectHome: /^yes$/,
  ProtectControlGroups: /^yes$/,
  ProtectKernelLogs: /^yes$/,
  ProtectKernelTunables: /^yes$/,
  PrivateTmp: /^yes$/,
  RestrictNamespaces: /^yes$/,
  UMask: /^0[0-7]+$/,
};

function readUnit(file: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  const [, service = ''] = readFileSync(file, 'utf8').split(/^\[Service\]$/m);
  for (const line of service.split(/^\[/m)[0]!.split('\n')) {
    const [, key, value] = /^([A-Za-z]+)=(.*)$/.exec(line) ?? [];
    if (key === undefined || OTHER_KEYS.has(key)) continue;
    if (PUT_UP[key]?.test(value!) !== true) throw new Error(`${line}: is not put up here`);
    values.set(key, value!);
  }
  const missing = Object.keys(PUT_UP).filter((key) => !values.has(key));
  if (missing.length > 0) throw new Error(`${file}: without ${missing.join(', ')}`);
  return values;
}

/** Names of the calls that a SystemCallFilter allows, by this machine's systemd's groups. */
async function allowedCalls(filter: string): Promise<readonly string[]> {
  const calls = new Set<string>();
  const open = filter.split(' ');
  const seen = new Set<string>();
  for (const name of open) {
    if (!name.startsWith('@')) calls.add(name);
    else if (!seen.has(name)) {
      seen.add(name);
      const { stdout } = await runCommand(['systemd-analyze', 'syscall-filter', name]);
      const lines = stdout.split('\n').slice(1);
      open.push(...lines.map((line) => line.trim()).filter((line) => /^[@a-z0-9_-]+$/.test(line)));
    }
  }
  return [...calls];
}

/** Numbers of calls by name; the kernel's headers may lack the newest. */
function numbersOf(calls: readonly string[]): number[] {
  const text = readFileSync(SYSCALL_NUMBERS, 'utf8');
  const numbers = new Map(
    [...text.matchAll(/^#define __NR_(\w+) (\d+)$/gm)].map(([, name, number]) => [name!, +number!]),
  );
  return calls.flatMap((call) => numbers.get(call) ?? []);
}

/**
 * Puts a seccomp filter up and becomes the command after it: allowed are the calls of the list,
 * sockets of the families, clone without a new namespace. Numbers are x86-64's.
 */
const FILTER = `
import ctypes, errno, os, struct, sys
calls = [int(n) for n in sys.argv[1].split(',')]
families = [getattr(__import__('socket'), f, {'AF_XDP': 44}.get(f)) for f in sys.argv[2].split(',')]
LOAD, JEQ, JSET, RET = 0x20, 0x15, 0x45, 0x06
ALLOW, ERRNO = 0x7fff0000, 0x00050000
SOCKET, CLONE, UNSHARE, SETNS, CLONE3 = 41, 56, 272, 308, 435
NEW_NAMESPACE = 0x7e020000 | 0x00000080
code = [(LOAD, 0, 0, 4), (JEQ, 1, 0, 0xc000003e), (RET, 0, 0, 0x80000000), (LOAD, 0, 0, 0)]
def when(number, block):
    code.append((JEQ, 0, len(block), number)); code.extend(block)
allow = [(RET, 0, 0, ALLOW)]
refuse = lambda e: [(RET, 0, 0, ERRNO | e)]
sockets = [(LOAD, 0, 0, 16)]
for f in families:
    sockets += [(JEQ, 0, 1, int(f))] + allow
when(SOCKET, sockets + refuse(errno.EAFNOSUPPORT))
when(CLONE, [(LOAD, 0, 0, 16), (JSET, 0, 1, NEW_NAMESPACE)] + refuse(errno.EPERM) + allow)
when(CLONE3, refuse(errno.ENOSYS))
for number in (UNSHARE, SETNS):
    when(number, refuse(errno.EPERM))
for number in calls:
    when(number, allow)
code += refuse(errno.EPERM)
text = b''.join(struct.pack('HBBI', *c) for c in code)
buffer = ctypes.create_string_buffer(text)
class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('code', ctypes.c_void_p)]
program = Program(len(code), ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(22, 2, ctypes.byref(program), 0, 0) != 0:
    sys.exit('seccomp: ' + os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[3], sys.argv[3:])
`;

/** In a mount namespace of its own; $1: the one folder that may be written, $2: UMask. */
const MOUNTS = `set -e
mkdir -p "$1/${MARK}"
mount --bind "$1" "$1/${MARK}"
mount -t tmpfs -o mode=755 devices /dev/shm
for name in null zero full random urandom tty; do
  touch "/dev/shm/$name"; mount --bind "/dev/$name" "/dev/shm/$name"; done
mkdir /dev/shm/net; touch /dev/shm/net/tun; mount --bind /dev/net/tun /dev/shm/net/tun
mount --rbind /dev/shm /dev
mount --bind /proc/sys /proc/sys
for place in $(awk '{print $5}' /proc/self/mountinfo); do
  case "$place" in /dev|/dev/*|/proc|"$1"|"$1"/*) ;; *)
    mount -o remount,bind,ro "$place" 2>/dev/null || true ;; esac; done
hide() { if [ -d "$1" ]; then mount -t tmpfs -o ro,mode=0 hidden "$1"; fi; }
for home in home root; do case "$3" in /$home/*) ;; *) hide "/$home" ;; esac; done
kept=/mnt
mount --bind "$1/${MARK}" "$kept"
project=/srv
case "$3" in /tmp/*) mount --bind -o ro "$3" "$project" ;; esac
mount -t tmpfs private /tmp
mkdir -p "$1"
mount --bind "$kept" "$1"
umount "$kept"
case "$3" in /tmp/*) mkdir -p "$3"; mount --bind "$project" "$3"; umount "$project" ;; esac
umask "$2"
shift 3
exec "$@"
`;

/**
 * The words before a command that has it run as the unit would.
 * @param folder what it may write; below /tmp
 * @param project where its own files are, which a hidden home or a private /tmp would hide
 */
export async function sandboxOf(unit: string, folder: string, project: string): Promise<string[]> {
  const values = readUnit(unit);
  const capabilities = values
    .get('CapabilityBoundingSet')!
    .split(' ')
    .map((name) => `+${name.slice('CAP_'.length).toLowerCase()}`);
  const calls = numbersOf(await allowedCalls(values.get('SystemCallFilter')!));
  const families = values.get('RestrictAddressFamilies')!.split(' ');
  return [
    ...['unshare', '--mount', '--propagation', 'private'],
    ...['/bin/sh', '-c', MOUNTS, 'sandbox', folder, values.get('UMask')!, project],
    ...['setpriv', `--bounding-set=-all,${capabilities.join(',')}`, '--no-new-privs'],
    ...['python3', '-c', FILTER, calls.join(','), families.join(',')],
  ];
}

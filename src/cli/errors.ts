/**
 * What the director's refusal reads like: ipvsadm's text for the operation and the errno IPVS
 * would have set, else the C library's text for that errno, else the director's own words.
 */
import type { ErrorBody } from '../control/protocol';

export type Operation =
  | 'add-service'
  | 'edit-service'
  | 'delete-service'
  | 'zero'
  | 'add-server'
  | 'edit-server'
  | 'delete-server'
  | 'flush'
  | 'set-timeouts'
  | 'start-daemon'
  | 'stop-daemon'
  | 'list'
  | OwnOperation;

/** Commands that ipvsadm does not have: the director's own words say more than an errno. */
type OwnOperation = 'add-local-address' | 'delete-local-address';

type Texts = Readonly<Record<string, string>>;

const NO_SERVICE = 'No such service';
const NOT_DEFINED = 'Service not defined';
const NO_SERVER = 'No such destination';
const NO_SCHEDULER = 'Scheduler or persistence engine not found';

const OWN_OPERATIONS: ReadonlySet<string> = new Set<OwnOperation>([
  'add-local-address',
  'delete-local-address',
]);

const BY_OPERATION: Readonly<Record<Operation, Texts>> = {
  'add-local-address': {},
  'delete-local-address': {},
  'add-service': { EEXIST: 'Service already exists', ENOENT: NO_SCHEDULER },
  'edit-service': { ESRCH: NO_SERVICE, ENOENT: NO_SCHEDULER },
  'delete-service': { ESRCH: NO_SERVICE },
  zero: { ESRCH: NO_SERVICE },
  'add-server': { ESRCH: NOT_DEFINED, EEXIST: 'Destination already exists' },
  'edit-server': { ESRCH: NOT_DEFINED, ENOENT: NO_SERVER },
  'delete-server': { ESRCH: NOT_DEFINED, ENOENT: NO_SERVER },
  flush: {},
  'set-timeouts': {},
  'start-daemon': { EEXIST: 'Daemon has already run' },
  'stop-daemon': { ESRCH: 'No daemon is running' },
  list: { ESRCH: NO_SERVICE },
};

const PERMISSION = 'Permission denied (you must be root)';

const ANY_OPERATION: Texts = {
  EPERM: PERMISSION,
  EINVAL: 'Invalid operation.  Possibly wrong module version, address not unicast, ...',
  ENOPROTOOPT: 'Protocol not available',
  ENOMEM: 'Memory allocation problem',
  EOPNOTSUPP: 'Operation not supported with IPv6',
  EAFNOSUPPORT: 'Operation not supported with specified address family',
  EMSGSIZE: 'Module is wrong version',
};

const ERRNO_TEXT: Texts = {
  ENOENT: 'No such file or directory',
  ESRCH: 'No such process',
  EIO: 'Input/output error',
  EAGAIN: 'Resource temporarily unavailable',
  EACCES: 'Permission denied',
  EBUSY: 'Device or resource busy',
  EEXIST: 'File exists',
  ENODEV: 'No such device',
  ENOTDIR: 'Not a directory',
  ENOSPC: 'No space left on device',
  EPIPE: 'Broken pipe',
  ERANGE: 'Numerical result out of range',
  ENOTSOCK: 'Socket operation on non-socket',
  EADDRNOTAVAIL: 'Cannot assign requested address',
  ECONNRESET: 'Connection reset by peer',
  ETIMEDOUT: 'Connection timed out',
  ECONNREFUSED: 'Connection refused',
};

/** Codes whose message says more than an errno could, beginning with what it does not support. */
const OWN_WORDS = new Set(['ERR_NOT_SUPPORTED', 'ERR_INTERNAL']);
/** What a director answers that does not even know the request. */
const REQUEST_UNKNOWN = 'ERR_REQUEST';
const NO_SYNC = 'connection sync: not supported by this director';

export function refusalText(operation: Operation, error: ErrorBody): string {
  const sync = operation === 'start-daemon' || operation === 'stop-daemon';
  if (sync && error.code === REQUEST_UNKNOWN) return NO_SYNC;
  const isOwn = OWN_WORDS.has(error.code) || OWN_OPERATIONS.has(operation);
  if (isOwn && error.message !== '') return error.message;
  return (
    BY_OPERATION[operation][error.errno] ??
    ANY_OPERATION[error.errno] ??
    ERRNO_TEXT[error.errno] ??
    (error.message === '' ? `Unknown error ${error.code}` : error.message)
  );
}

/** The director cannot be reached: two lines, shaped as ipvsadm's when IPVS is not there. */
export function unreachableText(errno: string, socketPath: string): string {
  const denied = errno === 'EACCES' || errno === 'EPERM';
  const reason = denied ? PERMISSION : (ERRNO_TEXT[errno] ?? errno);
  return (
    `Can't initialize ipvs: ${reason}\n` +
    `Are you sure that xvsd is running and listens on ${socketPath}?\n`
  );
}

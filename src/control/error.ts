/** One error for every refusal of the director: `code` for programs, `errno` as IPVS would say. */

export type DirectorErrorCode =
  | 'ERR_SERVICE_EXISTS'
  | 'ERR_SERVICE_UNKNOWN'
  | 'ERR_SERVER_EXISTS'
  | 'ERR_SERVER_UNKNOWN'
  | 'ERR_LOCAL_ADDRESS_EXISTS'
  | 'ERR_LOCAL_ADDRESS_UNKNOWN'
  | 'ERR_SCHEDULER_UNKNOWN'
  | 'ERR_VALUE'
  | 'ERR_THRESHOLDS'
  | 'ERR_TABLE_FULL'
  | 'ERR_BUSY'
  | 'ERR_NOT_SUPPORTED'
  | 'ERR_REQUEST';

const ERRNO: Readonly<Record<DirectorErrorCode, string>> = {
  ERR_SERVICE_EXISTS: 'EEXIST',
  ERR_SERVICE_UNKNOWN: 'ESRCH',
  ERR_SERVER_EXISTS: 'EEXIST',
  ERR_SERVER_UNKNOWN: 'ENOENT',
  ERR_LOCAL_ADDRESS_EXISTS: 'EEXIST',
  ERR_LOCAL_ADDRESS_UNKNOWN: 'ENOENT',
  ERR_SCHEDULER_UNKNOWN: 'ENOENT',
  ERR_VALUE: 'EINVAL',
  ERR_THRESHOLDS: 'ERANGE',
  ERR_TABLE_FULL: 'ENOMEM',
  ERR_BUSY: 'EBUSY',
  ERR_NOT_SUPPORTED: 'ENOTSUP',
  ERR_REQUEST: 'EBADMSG',
};

export class DirectorError extends Error {
  override readonly name = 'DirectorError';
  readonly code: DirectorErrorCode;
  readonly errno: string;

  constructor(code: DirectorErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.errno = ERRNO[code];
  }
}

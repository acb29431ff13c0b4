/** A command run as another user. */
export const NOBODY = 65534;

/** Nobody, who may read files; in a project's folder that only root may read too. */
export const AS_NOBODY = [
  ...['setpriv', '--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups'],
  ...['--inh-caps', '-all,+dac_read_search', '--ambient-caps', '-all,+dac_read_search'],
] as const;

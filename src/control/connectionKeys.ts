/** What connections can be sorted and counted by, for tools and daemon. */
import type { ConnectionGroup, ConnectionSortKey } from './protocol';

export const GROUPS: readonly ConnectionGroup[] = ['client', 'service', 'server', 'state', 'age'];
export const SORT_KEYS: readonly ConnectionSortKey[] = [...GROUPS, 'expires'];

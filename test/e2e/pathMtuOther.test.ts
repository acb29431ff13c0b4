/** Path MTU discovery through tunnels and with local addresses: see support/pathMtu.ts. */
import { testPathMtu } from '../support/pathMtu';

testPathMtu('tunnel', 'fullnat');

/** Path MTU discovery where the director changes packets little or not: see support/pathMtu.ts. */
import { testPathMtu } from '../support/pathMtu';

testPathMtu('nat', 'dr');

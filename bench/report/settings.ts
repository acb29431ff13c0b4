/** Options of the report. */
import {
  choiceOption,
  flagOption,
  OptionError,
  type Options,
  textOption,
} from '../support/options';
import { BENCHES } from './plan';

/** Where neither git nor the formatter looks. */
const FOLDER = 'dist/bench-report';

export const OPTIONS = {
  out: textOption(FOLDER, 'DIR', 'folder for report.html, its pictures and the JSON of each bench'),
  benches: choiceOption(BENCHES.join(','), BENCHES, true, 'which benches run'),
  compare: textOption('', 'DIR|FILE', 'an earlier run, or the JSON of one bench, to compare with'),
  from: textOption('', 'DIR', 'make the page of a run that was saved there; nothing is measured'),
  'no-pictures': flagOption('the page alone, without PNG files'),
  quick: flagOption('short rounds of little: does it work? Its figures mean nothing'),
};

export interface Settings {
  readonly out: string;
  readonly benches: readonly string[];
  /** Null: with nothing. */
  readonly compare: string | null;
  /** Null: the benches run. */
  readonly from: string | null;
  readonly hasPictures: boolean;
  readonly isQuick: boolean;
}

/** Throws OptionError. */
export function readSettings(options: Options): Settings {
  const orNull = (text: string) => (text === '' ? null : text);
  const from = orNull(options.text('from'));
  const isQuick = options.flag('quick');
  if (from !== null && isQuick) throw new OptionError('--quick: with --from nothing is measured');
  const given = options.text('out');
  return {
    out: from !== null && given === FOLDER ? from : given,
    benches: options.text('benches').split(','),
    compare: orNull(options.text('compare')),
    from,
    hasPictures: !options.flag('no-pictures'),
    isQuick,
  };
}

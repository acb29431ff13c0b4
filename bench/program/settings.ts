import { numberOption } from '../support/options';

export const OPTIONS = {
  rounds: numberOption(11, 1, 1000, 'rounds, each with all frames'),
  runs: numberOption(1_000_000, 1000, 10_000_000, 'runs of the program for a figure'),
  services: numberOption(1000, 1, 60_000, 'services, each with two real servers'),
  cpu: numberOption(1, 0, 1023, 'CPU for all'),
};

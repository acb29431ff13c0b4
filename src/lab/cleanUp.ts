/**
 * What has to be undone before this process ends, however it ends: on return, on an exception, on
 * SIGINT, SIGTERM and SIGHUP. Actions are synchronous, since an exiting process has no event loop.
 */

type Action = () => void;

const actions: Action[] = [];
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
let listening = false;

function runAll(): void {
  for (let action = actions.pop(); action !== undefined; action = actions.pop()) {
    try {
      action();
    } catch (error) {
      process.stderr.write(`clean-up: ${error instanceof Error ? error.message : error}\n`);
      process.exitCode = 1;
    }
  }
}

function listen(): void {
  if (listening) return;
  listening = true;
  process.on('exit', runAll);
  for (const [signal, number] of Object.entries(SIGNALS)) {
    process.on(signal as NodeJS.Signals, () => {
      runAll();
      process.exit(128 + number);
    });
  }
}

/** Registers an action; the last one registered runs first. Returns how to call it off. */
export function onEnd(action: Action): () => void {
  listen();
  actions.push(action);
  return () => {
    const index = actions.indexOf(action);
    if (index >= 0) actions.splice(index, 1);
  };
}

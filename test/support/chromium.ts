/**
 * A headless Chromium (Debian package chromium) in a namespace, told what to do over its debugging
 * pipe: Chrome DevTools Protocol, JSON messages that end with a zero byte, on descriptors 3 and 4.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { ended, eventually } from '#xvs/lab/process';

const WAIT_MS = 60_000;
const END_MS = 5000;
const OPTIONS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-extensions',
  '--disable-sync',
  '--mute-audio',
  '--no-first-run',
  '--hide-scrollbars',
  '--force-color-profile=srgb',
  '--remote-debugging-pipe',
];

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: { readonly message: string };
}

interface Waiting {
  resolve(result: Readonly<Record<string, unknown>>): void;
  reject(error: Error): void;
}

export class Chromium {
  /** What the page said on its console, errors of loading and of scripts with it. */
  readonly complaints: string[] = [];
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #input: Writable;
  readonly #waiting = new Map<number, Waiting>();
  #rest = '';
  #next = 1;
  #session = '';

  private constructor(child: ChildProcess, folder: string) {
    this.#child = child;
    this.#folder = folder;
    this.#input = child.stdio[3] as Writable;
    // It may end before it has read everything.
    this.#input.on('error', () => undefined);
    const output = child.stdio[4] as Readable;
    output.setEncoding('utf8').on('data', (text: string) => this.#receive(text));
    child.once('exit', (status) => {
      for (const one of this.#waiting.values()) {
        one.reject(new Error(`chromium ended with status ${status}`));
      }
    });
  }

  /** `inside`: turns its command line into one that runs in a namespace. */
  static async start(
    size: { readonly width: number; readonly height: number },
    inside: (command: readonly string[]) => readonly string[] = (command) => command,
  ): Promise<Chromium> {
    const folder = mkdtempSync(join(tmpdir(), 'xvs-chromium-'));
    const window = `--window-size=${size.width},${size.height}`;
    const command = ['chromium', ...OPTIONS, window, `--user-data-dir=${folder}`, 'about:blank'];
    const [file, ...words] = inside(command);
    const child = spawn(file!, words, {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
      env: { ...process.env, HOME: folder, XDG_CONFIG_HOME: folder, XDG_CACHE_HOME: folder },
    });
    const browser = new Chromium(child, folder);
    try {
      await browser.#attach(size);
    } catch (error) {
      await browser.close();
      throw error;
    }
    return browser;
  }

  async #attach(size: { readonly width: number; readonly height: number }): Promise<void> {
    const { targetInfos } = await this.#send('Target.getTargets');
    const targets = targetInfos as readonly { readonly targetId: string; readonly type: string }[];
    const { targetId } = targets.find(({ type }) => type === 'page')!;
    const attached = await this.#send('Target.attachToTarget', { targetId, flatten: true });
    this.#session = attached['sessionId'] as string;
    for (const domain of ['Page', 'Runtime', 'Log']) await this.#send(`${domain}.enable`);
    const metrics = { ...size, deviceScaleFactor: 1, mobile: false };
    await this.#send('Emulation.setDeviceMetricsOverride', metrics);
  }

  async open(url: string): Promise<void> {
    const { errorText } = await this.#send('Page.navigate', { url });
    if (errorText !== undefined) throw new Error(`${url}: ${errorText}`);
  }

  /** What a JavaScript expression is in the page. */
  async evaluate(expression: string): Promise<unknown> {
    const answer = await this.#send('Runtime.evaluate', { expression, returnByValue: true });
    if (answer['exceptionDetails'] !== undefined) {
      throw new Error(`${expression}: ${JSON.stringify(answer['exceptionDetails'])}`);
    }
    return (answer['result'] as { readonly value?: unknown }).value;
  }

  /** Waits until an expression is true in the page. */
  async until(expression: string): Promise<void> {
    const isTrue = async () => (await this.evaluate(expression)) === true;
    if (await eventually(isTrue, WAIT_MS, 100)) return;
    const text = await this.evaluate('document.body.innerText');
    const said = this.complaints.join('\n');
    throw new Error(`waited ${WAIT_MS / 1000} s for ${expression}; the page:\n${text}\n${said}`);
  }

  /** The picture of the window as PNG. */
  async screenshot(): Promise<Buffer> {
    const { data } = await this.#send('Page.captureScreenshot', { format: 'png' });
    return Buffer.from(data as string, 'base64');
  }

  async close(): Promise<void> {
    const gone = () => this.#child.exitCode !== null || this.#child.signalCode !== null;
    if (!gone()) {
      this.#send('Browser.close').catch(() => undefined);
      if (!(await eventually(gone, END_MS))) this.#child.kill('SIGKILL');
      await ended(this.#child);
    }
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }

  #send(method: string, params: unknown = {}): Promise<Readonly<Record<string, unknown>>> {
    const id = this.#next++;
    const session = this.#session === '' ? {} : { sessionId: this.#session };
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#input.write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    });
  }

  #receive(text: string): void {
    const messages = (this.#rest + text).split('\0');
    this.#rest = messages.pop()!;
    for (const message of messages) this.#take(JSON.parse(message) as Message);
  }

  #take({ id, method, params, result, error }: Message): void {
    const waiting = id === undefined ? undefined : this.#waiting.get(id);
    if (waiting !== undefined) {
      this.#waiting.delete(id!);
      if (error === undefined) waiting.resolve(result ?? {});
      else waiting.reject(new Error(error.message));
    }
    const told = ['Runtime.consoleAPICalled', 'Runtime.exceptionThrown', 'Log.entryAdded'];
    if (told.includes(method ?? '')) this.complaints.push(`${method}: ${JSON.stringify(params)}`);
  }
}

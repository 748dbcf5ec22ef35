// Asks the compiler, which is in a worker, and starts another one where it takes too long.

import { type Call, READY, type Reply, type Request } from "./protocol";

/** The worker's script, which the build puts here. */
declare const WORKER: string;

/** What the compiler says instead of an answer. */
export class EngineError extends Error {
  constructor(message: string, readonly stopped: boolean) {
    super(message);
  }
}

/** Milliseconds after which a question is given up. */
const PATIENCE = 15_000;

interface Waiting {
  resolve(reply: Reply): void;
  reject(error: EngineError): void;
  timer: ReturnType<typeof setTimeout>;
}

export class Engine {
  private worker: Worker;
  /** Fails if the module does not start here at all. */
  private ready: Promise<void> = Promise.resolve();
  private waiting = new Map<number, Waiting>();
  private next = 0;

  /** `module`: the compiler's module, in base 64. */
  constructor(private readonly module: string) {
    this.worker = this.start();
  }

  private start(): Worker {
    // From a text, as files of a folder that nobody serves may not be workers.
    const script = URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" }));
    const worker = new Worker(script);
    this.ready = new Promise((resolve, reject) => {
      const failed = (reason: string) => reject(new EngineError(`The compiler does not start in this browser, which needs WebAssembly with SIMD: ${reason}`, true));
      worker.onerror = ({ message }) => failed(message);
      worker.onmessage = ({ data }: MessageEvent<Reply>) => {
        if (data.id !== READY) return this.answered(data);
        URL.revokeObjectURL(script);
        if (data.error === undefined) resolve();
        else failed(data.error);
      };
    });
    // Who asks is told; nobody may ask.
    this.ready.catch(() => undefined);
    worker.postMessage(this.module);
    return worker;
  }

  private answered(reply: Reply): void {
    const waiting = this.waiting.get(reply.id);
    this.waiting.delete(reply.id);
    if (!waiting) return;
    clearTimeout(waiting.timer);
    if (reply.error === undefined) waiting.resolve(reply);
    else waiting.reject(new EngineError(reply.error, reply.stopped ?? false));
  }

  private giveUp(reason: string): void {
    this.worker.terminate();
    const waiting = [...this.waiting.values()];
    this.waiting.clear();
    this.worker = this.start();
    for (const { reject, timer } of waiting) {
      clearTimeout(timer);
      reject(new EngineError(reason, true));
    }
  }

  /** Asks for the bytes that a function says. */
  async ask(call: Call, input?: Uint8Array, operator?: number): Promise<{ output: Uint8Array; ms: number }> {
    await this.ready;
    const id = this.next++;
    const reply = await new Promise<Reply>((resolve, reject) => {
      const seconds = PATIENCE / 1000;
      const timer = setTimeout(() => this.giveUp(`The compiler needs more than ${seconds} seconds for this.`), PATIENCE);
      this.waiting.set(id, { resolve, reject, timer });
      this.worker.postMessage({ id, call, input, operator } satisfies Request);
    });
    return { output: reply.output ?? new Uint8Array(), ms: reply.ms };
  }

  /** Asks for JSON. */
  async read<T>(call: Call, input?: Uint8Array): Promise<T> {
    const { output } = await this.ask(call, input);
    return JSON.parse(new TextDecoder().decode(output)) as T;
  }
}

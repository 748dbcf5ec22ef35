// The compiler, beside the page's own thread, so that nothing that it does keeps the page from answering.

import { bytes } from "./base64";
import { READY, type Reply, type Request } from "./protocol";

/** The module's doors, as `src/lib.rs` has them. */
interface Doors {
  memory: WebAssembly.Memory;
  start(): void;
  input(len: number): number;
  output(): number;
  output_len(): number;
  zoo(): number;
  style(): number;
  check(): number;
  open(): number;
  classify(): number;
  features(operator: number): number;
}

let compiled: Promise<WebAssembly.Module>;
let doors: Promise<Doors>;

async function instantiate(): Promise<Doors> {
  const instance = await WebAssembly.instantiate(await compiled);
  const fresh = instance.exports as unknown as Doors;
  fresh.start();
  return fresh;
}

function said(from: Doors): Uint8Array {
  return new Uint8Array(from.memory.buffer, from.output() >>> 0, from.output_len() >>> 0).slice();
}

async function answer({ id, call, input, operator }: Request): Promise<Reply> {
  const into = await doors;
  const start = performance.now();
  const took = () => performance.now() - start;
  try {
    if (input) {
      const at = into.input(input.length) >>> 0;
      new Uint8Array(into.memory.buffer, at, input.length).set(input);
    }
    const done = call === "features" ? into.features(operator ?? 0) : into[call]();
    const output = said(into);
    return done ? { id, output, ms: took() } : { id, error: new TextDecoder().decode(output), ms: took() };
  } catch (trap) {
    // It stopped in the middle of something: what it was is what it said last, and its memory is of no use any more.
    const panic = new TextDecoder().decode(said(into)).slice(0, 1000);
    doors = instantiate();
    return { id, error: `The compiler has stopped. This is a bug in it, or there is not enough memory: ${panic || trap}`, stopped: true, ms: took() };
  }
}

// First the module, then requests, which are answered in their order.
let turn: Promise<void>;
onmessage = ({ data }: MessageEvent<string | Request>) => {
  if (typeof data === "string") {
    compiled = WebAssembly.compile(bytes(data) as BufferSource);
    doors = instantiate();
    turn = doors.then(
      () => postMessage({ id: READY, ms: 0 } satisfies Reply),
      error => postMessage({ id: READY, error: String(error), ms: 0 } satisfies Reply),
    );
    return;
  }
  turn = turn.then(async () => postMessage(await answer(data)));
};

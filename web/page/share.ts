// A table in the address bar: `#zoo=NAME`, or `#table=` and the text, deflated, in base 64 for addresses.

import { bytes } from "./base64";

/** Most bytes of a table, as the compiler has it (`spec/tree.rs`). */
const MOST_TEXT = 1 << 20;

export type Shared = { zoo: string } | { table: string };

export async function toFragment(text: string, zoo: string | undefined): Promise<string> {
  if (zoo !== undefined) return `#zoo=${encodeURIComponent(zoo)}`;
  const deflated = new Blob([text]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const packed = new Uint8Array(await new Response(deflated).arrayBuffer());
  const characters = Array.from(packed, byte => String.fromCharCode(byte)).join("");
  return `#table=${btoa(characters).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}

/** What a fragment shares, if it shares anything; it comes from anyone. */
export async function fromFragment(fragment: string): Promise<Shared | undefined> {
  const [, kind, value] = /^#(zoo|table)=(.*)$/s.exec(fragment) ?? [];
  if (kind === undefined || value === undefined) return undefined;
  if (kind === "zoo") {
    try {
      return { zoo: decodeURIComponent(value) };
    } catch {
      throw new Error("The address names a network in a way that cannot be read.");
    }
  }
  try {
    return { table: await inflate(value) };
  } catch (error) {
    if (error instanceof RangeError) throw error;
    throw new Error("The address carries a table that is damaged: was it cut short?");
  }
}

async function inflate(value: string): Promise<string> {
  const deflated = bytes(value.replaceAll("-", "+").replaceAll("_", "/")) as BlobPart;
  const reader = new Blob([deflated]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let text = "";
  let read = 0;
  for (;;) {
    const { done, value: piece } = await reader.read();
    if (done) return text + decoder.decode();
    read += piece.length;
    if (read > MOST_TEXT) throw new RangeError(`The address carries a table of more than ${MOST_TEXT} bytes; none that long is read.`);
    text += decoder.decode(piece, { stream: true });
  }
}

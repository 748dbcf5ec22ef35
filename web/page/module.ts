// The compiler's module, in base 64: files of a folder that nobody serves cannot be fetched, but scripts can be.
import wasm from "../target/resnet.wasm";

declare global {
  var MODULE: string;
}

globalThis.MODULE = wasm;

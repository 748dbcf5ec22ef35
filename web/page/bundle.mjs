// Bundles the page: its scripts, the worker's among them, and its style sheet, of which the reports' part is asked of the module.
import { readFileSync, writeFileSync, copyFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import esbuild from "esbuild";

const here = name => fileURLToPath(new URL(name, import.meta.url));
const page = name => here(`../target/page/${name}`);
const common = {
  bundle: true,
  minify: true,
  charset: "utf8",
  format: "iife",
  target: "es2022",
  legalComments: "none",
  logLevel: "warning",
  loader: { ".yaml": "text", ".safetensors": "base64", ".wasm": "base64", ".png": "dataurl" },
};

const worker = await esbuild.build({ ...common, entryPoints: [here("worker.ts")], write: false });
const define = { WORKER: JSON.stringify(worker.outputFiles[0].text) };
await esbuild.build({
  ...common,
  define,
  entryPoints: { page: here("main.ts"), engine: here("module.ts"), models: here("models.ts") },
  outdir: page(""),
});

const { instance } = await WebAssembly.instantiate(readFileSync(here("../target/resnet.wasm")));
const { memory, style, output, output_len } = instance.exports;
style();
const reports = Buffer.from(memory.buffer, output() >>> 0, output_len()).toString();
const css = await esbuild.transform(reports + readFileSync(here("page.css")), { loader: "css", minify: true });
writeFileSync(page("page.css"), css.code);
copyFileSync(here("index.html"), page("index.html"));

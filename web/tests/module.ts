// The module alone: whatever it is given, it answers or says why not, and what it answers is what the command does.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import type { About, Answer, Checked } from "../page/protocol";

const ROOT = `${import.meta.dirname}/../../..`;
export const root = (name: string) => `${ROOT}/${name}`;
const module = await WebAssembly.compile(readFileSync(root("web/target/resnet.wasm")));

type Doors = Record<string, (argument?: number) => number> & { memory: WebAssembly.Memory };

/** A fresh compiler; it throws what it says instead of an answer, and traps where it should not. */
async function compiler() {
  const { exports } = await WebAssembly.instantiate(module);
  const doors = exports as unknown as Doors;
  doors["start"]?.();
  const bytes = () => new Uint8Array(doors.memory.buffer, doors["output"]!() >>> 0, doors["output_len"]!()).slice();
  return (call: string, input?: Uint8Array | string, operator?: number): Uint8Array => {
    if (input !== undefined) {
      const given = typeof input === "string" ? new TextEncoder().encode(input) : input;
      const at = doors["input"]!(given.length) >>> 0;
      new Uint8Array(doors.memory.buffer, at, given.length).set(given);
    }
    let done;
    try {
      done = doors[call]!(operator);
    } catch (trap) {
      assert.fail(`${call} stopped: ${new TextDecoder().decode(bytes())} (${trap})`);
    }
    if (!done) throw new Error(new TextDecoder().decode(bytes()));
    return bytes();
  };
}

const read = <T>(bytes: Uint8Array) => JSON.parse(new TextDecoder().decode(bytes)) as T;

function opening(weights: string): Buffer {
  const table = readFileSync(root("models/cifar10/resnet20.yaml"));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(table.length);
  return Buffer.concat([length, table, readFileSync(root(`models/cifar10/${weights}`))]);
}

test("every network of the zoo has its views and no mistakes", async () => {
  const call = await compiler();
  const zoo = read<[string, string][]>(call("zoo"));
  assert.ok(zoo.length > 30);
  for (const [name, table] of zoo) {
    const { marks, failure, page } = read<Checked>(call("check", table));
    assert.deepEqual([marks, failure], [[], null], name);
    assert.ok(page!.sections.every(({ content }) => content.length > 100), name);
  }
});

test("places are in UTF-16's units, whatever is before them", async () => {
  const call = await compiler();
  const mistake = "kernal";
  for (const before of ["", "\uFEFF", "# 🦀 é\n", "\uFEFF# 🦀 é\n"]) {
    const table = `${before}name: x\ninput: 3x8x8\ntable:\n  - {layer: a, op: conv, ${mistake}: 3, channels: 16}\n`;
    const { marks } = read<Checked>(call("check", table));
    const [{ from, to, fixes }] = marks as [Checked["marks"][number]];
    assert.equal(table.slice(from, to), mistake);
    assert.deepEqual(fixes.map(({ from, to, text }) => [table.slice(from, to), text]), [[mistake, "kernel"]]);
  }
});

test("each fix that is offered mends its mistake", async () => {
  const call = await compiler();
  const table = readFileSync(root("models/cifar10/resnet20.yaml"), "utf8");
  const changes: [string, string][] = [
    ["kernel: 3", "kernal: 3"], ["op: conv", "op: cnov"], ["shortcut: zero_pad", "shortcut: zero_pod"],
    ["output: 16x16", "output: 15x15"], ["output: 8x8", "output: 16x16"], ["stride: 2, shortcut", "stride: 1, shortcut"],
    ["depth: 20", "depth: 21"], ["params: 0.27e6", "params: 0.28e6"], ["expect", "expects"],
  ];
  for (const [right, wrong] of changes) {
    const changed = table.replace(right, wrong);
    assert.notEqual(changed, table);
    const [mark] = read<Checked>(call("check", changed)).marks;
    assert.ok(mark && mark.fixes.length > 0, wrong);
    for (const { from, to, text } of mark.fixes) {
      const { marks } = read<Checked>(call("check", changed.slice(0, from) + text + changed.slice(to)));
      assert.ok(marks.every(({ message }) => message !== mark.message), `${wrong}: ${text}`);
    }
  }
});

test("hostile tables are answered", async () => {
  const call = await compiler();
  const row = (cells: string) => `name: x\ninput: 3x8x8\ntable:\n  - {layer: a, ${cells}}\n`;
  const huge = [268435456, 268435457, 2147483648, 4294967295, 4294967296, 65536, 46341, 16384];
  const tables = huge.flatMap(n => [
    row(`op: conv, kernel: ${n}, channels: 1`),
    row(`op: conv, kernel: 3, channels: ${n}`),
    row(`op: conv, kernel: 3, channels: 16, padding: ${n}`),
    row(`op: conv, kernel: 3, channels: 16, dilation: ${n}, padding: ${n}`),
    row(`op: conv, kernel: ${n}, channels: 1, padding: ${n}`),
    row(`op: max_pool, kernel: 3, stride: ${n}, padding: 1`),
    row(`op: basic, channels: ${n}, repeat: ${n}`),
    row(`op: bottleneck, channels: 64, dilation: ${n}`),
    row(`op: linear, channels: ${n}`),
    row(`op: conv, kernel: 3, channels: 16, output: ${n}x${n}`),
    row(`op: conv, kernel: 1, groups: ${n}, channels: ${n}`),
    row("op: softmax").replace("3x8x8", `${n}x${n}x1`),
    row("op: conv, kernel: 3, channels: 1").replace("3x8x8", `1x${n}x1`),
  ]);
  // Each layer alone could be addressed; not all of them.
  const many = Array.from({ length: 40 }, (_, i) => `  - {layer: l${i}, op: conv, kernel: 1, channels: 4096}\n`).join("");
  tables.push(`name: x\ninput: 4096x64x64\ntable:\n${many}`);
  let refused = 0;
  for (const table of tables) {
    const { marks, failure, page } = read<Checked>(call("check", table));
    assert.ok(page || failure || marks.length > 0, table);
    refused += page ? 0 : 1;
  }
  assert.ok(refused > tables.length / 2);
  for (const kind of ["table", "inline", "schedule"]) {
    for (const file of readdirSync(root(`fuzz/corpus/${kind}`))) {
      const bytes = readFileSync(root(`fuzz/corpus/${kind}/${file}`));
      for (const end of [bytes.length, bytes.length >> 1]) call("check", bytes.subarray(0, end).toString());
    }
  }
  assert.throws(() => call("check", Uint8Array.of(0xff, 0xfe)), /no text/);
});

test("hostile weights and pictures are answered", async () => {
  const call = await compiler();
  assert.throws(() => call("classify", Uint8Array.of(1)), /no network is open/);
  assert.throws(() => call("open", Uint8Array.of(255, 255, 255, 255, 1)), /a length, a table and its weights/);
  const whole = opening("resnet20.safetensors");
  for (const end of [4, 100, whole.length - 1]) assert.throws(() => call("open", whole.subarray(0, end)));
  for (const file of readdirSync(root("fuzz/corpus/weights"))) {
    const table = whole.subarray(0, 4 + whole.readUInt32LE(0));
    const bytes = Buffer.concat([table, readFileSync(root(`fuzz/corpus/weights/${file}`))]);
    assert.throws(() => call("open", bytes), file);
  }
  call("open", whole);
  assert.throws(() => call("features", undefined, 3), /no picture/);
  for (const file of readdirSync(root("fuzz/corpus/image"))) {
    const bytes = readFileSync(root(`fuzz/corpus/image/${file}`));
    for (const end of [bytes.length, bytes.length - 7, 12]) {
      try {
        call("classify", bytes.subarray(0, end));
      } catch (error) {
        assert.ok(!(error instanceof assert.AssertionError) && (error as Error).message, file);
      }
    }
  }
  assert.throws(() => call("features", undefined, 1e9), /no such operator/);
});

test("what an operator makes is what the command says of that layer", async () => {
  const picture = readFileSync(root("examples/pictures/04-cat.png"));
  const said = read<{ results: { features: number[] }[] }>(readFileSync(root("web/target/expected/features.json")));
  const wanted = said.results[0]!.features;
  for (const kind of ["f32", "int8"]) {
    const call = await compiler();
    const about = read<About>(call("open", opening(kind === "f32" ? "resnet20.safetensors" : "resnet20-int8.safetensors")));
    call("classify", picture);
    // Every one of them can be asked for, and has as many values as its shape says.
    for (const [place, { name, shape }] of about.operators.entries()) {
      const bytes = call("features", undefined, place);
      assert.deepEqual([...new Uint32Array(bytes.slice(0, 12).buffer)], shape, name);
      assert.equal(bytes.length, 12 + 4 * shape.reduce((a, b) => a * b), name);
    }
    const last = about.operators.findLastIndex(({ row }) => row === "conv3_x");
    const found = new Float32Array(call("features", undefined, last).slice(12).buffer);
    assert.equal(found.length, wanted.length);
    const error = Math.hypot(...found.map((value, i) => value - wanted[i]!)) / Math.hypot(...wanted);
    assert.ok(kind === "f32" ? error < 1e-5 : error > 1e-3 && error < 0.1, `${kind}: ${error}`);
  }
});

test("an answer does not depend on what was asked before", async () => {
  const call = await compiler();
  call("open", opening("resnet20.safetensors"));
  const one = readFileSync(root("examples/pictures/01-airplane.png"));
  const other = readFileSync(root("examples/pictures/11-cat-rotated.jpg"));
  const first = read<Answer>(call("classify", one));
  call("classify", other);
  assert.deepEqual(read<Answer>(call("classify", one)), first);
});

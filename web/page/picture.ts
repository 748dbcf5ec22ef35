// A picture, what the trained network takes it for, and what an operator makes of it.

import trained from "../../models/cifar10/resnet20.yaml";
import p01 from "../../examples/pictures/01-airplane.png";
import p02 from "../../examples/pictures/02-automobile.png";
import p03 from "../../examples/pictures/03-bird.png";
import p04 from "../../examples/pictures/04-cat.png";
import p05 from "../../examples/pictures/05-deer.png";
import p06 from "../../examples/pictures/06-dog.png";
import p07 from "../../examples/pictures/07-frog.png";
import p08 from "../../examples/pictures/08-horse.png";
import p09 from "../../examples/pictures/09-ship.png";
import p10 from "../../examples/pictures/10-truck.png";
import { bytes } from "./base64";
import { element, make } from "./dom";
import type { Engine, EngineError } from "./engine";
import type { About, Answer, Operator } from "./protocol";

const SAMPLES = [p01, p02, p03, p04, p05, p06, p07, p08, p09, p10];

/** Most bytes of a picture's file. */
const MOST_BYTES = 64 << 20;

type Weights = "f32" | "int8";

/** Loads a script of the page's folder, once. */
const scripts = new Map<string, Promise<void>>();
function script(name: string): Promise<void> {
  const loading = scripts.get(name) ?? new Promise<void>((resolve, reject) => {
    const failed = () => reject(new Error(`The page's file ${name} cannot be loaded.`));
    document.head.append(make("script", { src: name, onload: () => resolve(), onerror: failed }));
  });
  scripts.set(name, loading);
  return loading;
}

export class Picture {
  private readonly complaint = element("complaint");
  private readonly preview = element<HTMLImageElement>("preview");
  private readonly select = element<HTMLSelectElement>("operator");
  private weights: Weights = "f32";
  private opened: Weights | undefined;
  private file: Blob | undefined;
  private operators: Operator[] = [];
  /** One picture after the other. */
  private turn: Promise<void> = Promise.resolve();

  constructor(private readonly engine: Engine) {
    const samples = SAMPLES.map((address, index) => {
      const button = make("button", { type: "button", onclick: () => this.take(new Blob([bytes(address.slice(address.indexOf(",") + 1)) as BlobPart])) });
      button.append(make("img", { src: address, alt: `Picture ${index + 1}`, width: 48, height: 48 }));
      return button;
    });
    element("samples").append(...samples);
    const input = element<HTMLInputElement>("file");
    input.addEventListener("change", () => {
      const [file] = input.files ?? [];
      if (file) this.take(file);
      input.value = "";
    });
    for (const radio of document.querySelectorAll<HTMLInputElement>("input[name=weights]")) {
      radio.addEventListener("change", () => {
        this.weights = radio.value as Weights;
        if (this.file) this.take(this.file);
      });
    }
    this.select.addEventListener("change", () => this.queue(() => this.features()));
    const drop = element("drop");
    document.addEventListener("dragover", event => {
      event.preventDefault();
      drop.classList.add("over");
    });
    for (const end of ["dragleave", "drop", "dragend"]) document.addEventListener(end, () => drop.classList.remove("over"));
    document.addEventListener("drop", event => {
      event.preventDefault();
      const [file] = event.dataTransfer?.files ?? [];
      if (file) this.take(file);
    });
  }

  /** The network of a module that has stopped is gone. */
  forget(): void {
    this.opened = undefined;
  }

  private queue(work: () => Promise<void>): void {
    this.turn = this.turn.then(work).then(() => (this.complaint.hidden = true), error => this.complain(error)).then(() => undefined);
  }

  private complain(error: unknown): void {
    this.complaint.textContent = error instanceof Error ? error.message : String(error);
    this.complaint.hidden = false;
    element("answer").hidden = true;
    element("features").hidden = true;
  }

  private take(file: Blob): void {
    this.file = file;
    const { weights } = this;
    this.queue(async () => {
      if (file.size > MOST_BYTES) throw new Error(`The picture's file has ${file.size} bytes; at most ${MOST_BYTES} are read.`);
      const read = new Uint8Array(await file.arrayBuffer());
      await this.open(weights);
      const { output, ms } = await this.engine.ask("classify", read).catch((error: EngineError) => {
        if (error.stopped) this.forget();
        throw new Error(`This cannot be classified: ${error.message}`);
      });
      this.show(file, JSON.parse(new TextDecoder().decode(output)) as Answer, ms);
      await this.features();
    });
  }

  private async open(weights: Weights): Promise<void> {
    if (this.opened === weights) return;
    await script("models.js");
    const table = new TextEncoder().encode(trained);
    const packed = bytes(globalThis.MODELS?.[weights] ?? "");
    const input = new Uint8Array(4 + table.length + packed.length);
    new DataView(input.buffer).setUint32(0, table.length, true);
    input.set(table, 4);
    input.set(packed, 4 + table.length);
    const about = await this.engine.read<About>("open", input);
    this.opened = weights;
    this.list(about.operators);
  }

  /** Fills the menu of operators, by rows of the table, and keeps what was chosen. */
  private list(operators: Operator[]): void {
    this.operators = operators;
    const chosen = this.select.value;
    const groups = new Map<string, HTMLOptGroupElement>();
    for (const [place, { name, row, shape }] of operators.entries()) {
      const group = groups.get(row) ?? make("optgroup", { label: row });
      groups.set(row, group);
      group.append(make("option", { value: String(place) }, `${name}  ${shape.join("x")}`));
    }
    this.select.replaceChildren(...groups.values());
    this.select.value = chosen !== "" && operators[Number(chosen)] ? chosen : "0";
  }

  private show(file: Blob, { top, logits, width, height }: Answer, ms: number): void {
    URL.revokeObjectURL(this.preview.src);
    this.preview.hidden = false;
    this.preview.onerror = () => (this.preview.hidden = true);
    this.preview.src = URL.createObjectURL(file);
    this.preview.alt = `The picture, which is taken for: ${top[0]?.label ?? top[0]?.class}`;
    const rows = top.map(({ class: number, label, probability }) => {
      const percent = `${(100 * probability).toFixed(2)}%`;
      const bar = make("span", {}, make("i", {}));
      (bar.firstChild as HTMLElement).style.width = `${100 * probability}%`;
      return make("li", {}, make("span", {}, label ?? `class ${number}`), bar, make("span", { className: "n" }, percent));
    });
    const classes = element("classes");
    classes.replaceChildren(...rows);
    classes.dataset["logits"] = JSON.stringify(logits);
    element("took").textContent = `${width}x${height} pixels, classified in ${ms.toFixed(1)} ms: decoded, resized, computed.`;
    element("answer").hidden = false;
  }

  private async features(): Promise<void> {
    const place = Number(this.select.value);
    const operator = this.operators[place];
    if (!operator) return;
    const { output } = await this.engine.ask("features", undefined, place);
    const view = new DataView(output.buffer, output.byteOffset);
    const [channels, rows, columns] = [0, 4, 8].map(at => view.getUint32(at, true)) as [number, number, number];
    const values = new Float32Array(output.slice(12).buffer);
    const maps = element("maps");
    const points = rows * columns === 1;
    maps.classList.toggle("points", points);
    maps.setAttribute("aria-label", `${channels} channels of ${operator.name}, ${rows}x${columns} pixels each`);
    const [least, most] = range(values);
    element("scale-of").textContent = `${channels} channels of ${rows}x${columns}, from ${least.toPrecision(3)} to ${most.toPrecision(3)}; ` +
      (points ? "light is much." : "light is much of what the channel has.");
    const drawn = Array.from({ length: channels }, (_, channel) => {
      const plane = values.subarray(channel * rows * columns, (channel + 1) * rows * columns);
      return draw(plane, [rows, columns], points ? [least, most] : range(plane), channel);
    });
    maps.replaceChildren(...drawn);
    element("features").hidden = false;
  }
}

/** The least and the largest value. */
function range(values: Float32Array): [number, number] {
  let [least, most] = [Infinity, -Infinity];
  for (const value of values) [least, most] = [Math.min(least, value), Math.max(most, value)];
  return [least, most];
}

/** One channel in grey, from the least value to the most. */
function draw(plane: Float32Array, [rows, columns]: [number, number], [least, most]: [number, number], channel: number): HTMLCanvasElement {
  const canvas = make("canvas", { width: columns, height: rows, title: `channel ${channel}: ${least.toPrecision(3)} to ${most.toPrecision(3)}` });
  const context = canvas.getContext("2d");
  const image = new ImageData(columns, rows);
  plane.forEach((value, pixel) => {
    const grey = most > least ? (255 * (value - least)) / (most - least) : 0;
    image.data.set([grey, grey, grey, 255], 4 * pixel);
  });
  context?.putImageData(image, 0, 0);
  return canvas;
}

import "../../report/src/page/script.js";
import trained from "../../models/cifar10/resnet20.yaml";
import { element, make } from "./dom";
import { Editor } from "./editor";
import { Engine, EngineError } from "./engine";
import { Picture } from "./picture";
import type { Checked, Mark } from "./protocol";
import { Report } from "./report";
import { fromFragment, toFragment } from "./share";

/** What the trained network is called in the menu. */
const TRAINED = "cifar10-resnet20";

/** Milliseconds without typing after which the address bar has the table. */
const STILL = 400;

const engine = new Engine(globalThis.MODULE);
const report = new Report();
const picture = new Picture(engine);
const menu = element<HTMLSelectElement>("zoo");
const status = element("status");
const problems = element("problems");
const editor = new Editor(element("editor"), changed);
const zoo = new Map<string, string>([[TRAINED, trained]]);

/** Text that waits for the compiler, the newest alone. */
let waiting: string | undefined;
let checking = false;
let still: ReturnType<typeof setTimeout> | undefined;
/** The fragment that has the table. */
let shared = "";

function changed(text: string): void {
  performance.mark("edited");
  waiting = text;
  void check();
  clearTimeout(still);
  still = setTimeout(() => void share(), STILL);
  menu.value = named(text) ?? "";
}

/** The network of the menu that has this table. */
function named(text: string): string | undefined {
  for (const [name, table] of zoo) if (table === text) return name;
  return undefined;
}

async function check(): Promise<void> {
  if (checking) return;
  checking = true;
  while (waiting !== undefined) {
    const text = waiting;
    waiting = undefined;
    try {
      const { output, ms } = await engine.ask("check", new TextEncoder().encode(text));
      const checked = JSON.parse(new TextDecoder().decode(output)) as Checked;
      // What was typed meanwhile has other places.
      if (waiting === undefined) show(checked, ms);
    } catch (error) {
      if (error instanceof EngineError && error.stopped) picture.forget();
      show({ marks: [], more: 0, failure: (error as Error).message, page: null }, 0);
    }
  }
  checking = false;
}

function show({ marks, more, failure, page }: Checked, ms: number): void {
  editor.show(marks);
  report.show(page);
  // Once it is on the screen.
  requestAnimationFrame(() => setTimeout(() => performance.mark("drawn")));
  const count = (severity: Mark["severity"], word: string) => {
    const found = marks.filter(mark => mark.severity === severity).length;
    return found === 0 ? [] : [`${found} ${word}${found === 1 ? "" : "s"}`];
  };
  const said = [...count("error", "mistake"), ...count("warning", "warning"), ...(more > 0 ? [`${more} more`] : [])];
  const none = failure === null ? "No mistakes" : "No network";
  status.textContent = `${said.join(", ") || none}; read in ${ms.toFixed(1)} ms.`;
  problems.replaceChildren(...(failure === null ? [] : [make("li", {}, make("p", {}, failure))]), ...marks.map(problem));
}

/** A line of the list under the editor: the same as the editor says at the place, for those who do not point. */
function problem(mark: Mark): HTMLLIElement {
  const place = make("a", { href: "#editor", onclick: event => {
    event.preventDefault();
    editor.select(mark.from, mark.to);
  } }, `line ${mark.line}`);
  const fixes = mark.fixes.map(fix => make("button", { type: "button", onclick: () => editor.mend(fix) }, fix.label));
  const about = [mark.label, ...mark.notes, mark.help].filter(text => text !== null).join("\n");
  return make("li", { className: mark.severity }, make("p", {}, place, `: ${mark.message}`), ...(about ? [make("p", {}, about)] : []), ...fixes);
}

/** Puts the table into the address bar. */
async function share(): Promise<void> {
  const { text } = editor;
  shared = await toFragment(text, named(text));
  history.replaceState(null, "", shared);
}

/** Shows the table that the address carries; false if there is none. */
async function open(): Promise<boolean> {
  try {
    const found = await fromFragment(location.hash);
    if (!found) return false;
    const table = "table" in found ? found.table : zoo.get(found.zoo);
    if (table === undefined) throw new Error(`The address names a network that is not in the menu.`);
    editor.text = table;
    return true;
  } catch (error) {
    complain((error as Error).message);
    return false;
  }
}

function complain(message: string): void {
  const line = make("li", { id: "address" }, make("p", {}, message));
  document.getElementById("address")?.remove();
  problems.before(make("ul", { id: "address-list" }, line));
}

addEventListener("hashchange", () => {
  if (location.hash === shared) return;
  // A place in the page has been gone to, by `script.js`; the address keeps the table.
  if (/^#(zoo|table)=/.test(location.hash)) void open();
  else void share();
});
element("share").addEventListener("click", async () => {
  await share();
  const button = element("share");
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Copied";
  } catch {
    button.textContent = "It is in the address bar";
  }
  setTimeout(() => (button.textContent = "Copy link"), 2000);
});
menu.addEventListener("change", () => {
  const table = zoo.get(menu.value);
  if (table !== undefined) editor.text = table;
});

async function begin(): Promise<void> {
  for (const [name, table] of await engine.read<[string, string][]>("zoo")) zoo.set(name, table);
  const option = (name: string) => make("option", { value: name }, name);
  const own = make("option", { value: "", hidden: true }, "your own");
  menu.replaceChildren(own, make("optgroup", { label: "trained" }, option(TRAINED)),
    make("optgroup", { label: "the zoo" }, ...[...zoo.keys()].slice(1).map(option)));
  if (!(await open())) editor.text = trained;
}

begin().catch((error: Error) => {
  status.textContent = "The compiler has not started.";
  complain(error.message);
});

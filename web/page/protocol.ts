// What the page and the worker that has the compiler say to each other, and what the compiler says (`src/*.rs`).

export type Call = "zoo" | "style" | "check" | "open" | "classify" | "features";

/** What the page asks for. */
export interface Request {
  id: number;
  call: Call;
  input?: Uint8Array;
  /** Of `features`: the operator. */
  operator?: number;
}

/** The id of what the worker says unasked: that it is ready, or why it is not. */
export const READY = -1;

/** What it gets. */
export interface Reply {
  id: number;
  output?: Uint8Array;
  error?: string;
  /** The module has stopped, and another one is in its place, in which no network is open. */
  stopped?: boolean;
  /** Milliseconds that the compiler took. */
  ms: number;
}

/** Text in the place of other text. Places are in UTF-16's units, as everywhere in JavaScript. */
export interface Fix {
  from: number;
  to: number;
  text: string;
  label: string;
}

/** A mistake or a warning, and its place. */
export interface Mark {
  severity: "error" | "warning";
  from: number;
  to: number;
  line: number;
  message: string;
  label: string | null;
  notes: string[];
  help: string | null;
  fixes: Fix[];
}

export interface Section {
  id: string;
  heading: string;
  content: string;
}

/** What is known of a table; `page` is HTML, in which all text of the table is escaped. */
export interface Checked {
  marks: Mark[];
  more: number;
  failure: string | null;
  page: { title: string; head: string; sections: Section[] } | null;
}

export interface Operator {
  name: string;
  row: string;
  shape: [number, number, number];
}

export interface About {
  name: string;
  input: [number, number, number];
  operators: Operator[];
}

export interface Answer {
  top: { class: number; label: string | null; probability: number }[];
  logits: number[];
  width: number;
  height: number;
}

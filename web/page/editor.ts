// The editor of the table: mistakes underlined, what is said of them, and their fixes.

import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { type Diagnostic, lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { EditorState, Text } from "@codemirror/state";
import { EditorView, drawSelection, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import type { Fix, Mark } from "./protocol";

const colours = HighlightStyle.define([
  { tag: tags.comment, color: "var(--muted)", fontStyle: "italic" },
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--key)" },
  { tag: [tags.number, tags.bool], color: "var(--number)" },
  { tag: [tags.string, tags.content], color: "var(--ink)" },
  { tag: [tags.punctuation, tags.separator, tags.squareBracket, tags.brace], color: "var(--muted)" },
]);

const look = EditorView.theme({
  "&": { height: "100%", fontSize: "13px", color: "var(--ink)", backgroundColor: "var(--paper)" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "ui-monospace, monospace", lineHeight: "1.6" },
  ".cm-content": { caretColor: "var(--ink)", padding: ".6rem 0" },
  ".cm-cursor": { borderLeftColor: "var(--ink)", borderLeftWidth: "2px" },
  ".cm-gutters": { backgroundColor: "var(--paper)", color: "var(--muted)", border: "none" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--panel)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "var(--selection)",
  },
  ".cm-tooltip": { backgroundColor: "var(--panel)", color: "var(--ink)", border: "1px solid var(--rule)", borderRadius: "6px", maxWidth: "min(34rem, 90vw)" },
  ".cm-diagnostic": { fontFamily: "system-ui, sans-serif", whiteSpace: "pre-wrap", padding: ".5rem .8rem", borderLeftWidth: "4px" },
  ".cm-diagnosticText": { display: "block" },
  ".cm-diagnostic-error": { borderLeftColor: "var(--error)" },
  ".cm-diagnostic-warning": { borderLeftColor: "var(--warning)" },
  ".cm-diagnosticAction": { font: "inherit", color: "var(--paper)", backgroundColor: "var(--link)", border: "none", borderRadius: "4px", padding: ".1rem .6rem", margin: ".35rem .4rem 0 0", cursor: "pointer" },
  ".cm-lintRange-error": { backgroundImage: "none", textDecoration: "underline wavy var(--error) 1.5px", textUnderlineOffset: "4px" },
  ".cm-lintRange-warning": { backgroundImage: "none", textDecoration: "underline wavy var(--warning) 1.5px", textUnderlineOffset: "4px" },
});

/** What is said of a mark, as text. */
export function words({ message, label, notes, help }: Mark): string {
  const lines = [message, ...(label === null ? [] : [label]), ...notes, ...(help === null ? [] : [`help: ${help}`])];
  return lines.join("\n");
}

export class Editor {
  readonly view: EditorView;
  /** What is marked. */
  private marked = Text.empty;

  /** `inside`: what it fills. It is a tree of its own, in which style sheets may be made. */
  constructor(inside: HTMLElement, changed: (text: string) => void) {
    const root = inside.attachShadow({ mode: "open" });
    this.view = new EditorView({
      root,
      parent: root,
      state: EditorState.create({
        extensions: [
          lineNumbers(),
          history(),
          drawSelection(),
          highlightActiveLine(),
          lintGutter(),
          yaml(),
          syntaxHighlighting(colours),
          look,
          keymap.of([...defaultKeymap, ...historyKeymap, ...lintKeymap, indentWithTab]),
          EditorView.contentAttributes.of({ "aria-label": "The layer table, in YAML", tabindex: "0", "aria-describedby": "editor-keys" }),
          EditorView.updateListener.of(update => {
            if (update.docChanged) changed(update.state.doc.toString());
          }),
        ],
      }),
    });
  }

  get text(): string {
    return this.view.state.doc.toString();
  }

  set text(text: string) {
    this.view.dispatch({ changes: { from: 0, to: this.view.state.doc.length, insert: text }, selection: { anchor: 0 }, scrollIntoView: true });
  }

  /** Underlines what is marked. */
  show(marks: Mark[]): void {
    this.marked = this.view.state.doc;
    const { length } = this.marked;
    const diagnostics = marks.map((mark): Diagnostic => ({
      from: Math.min(mark.from, length),
      to: Math.min(mark.to, length),
      severity: mark.severity,
      message: words(mark),
      actions: mark.fixes.map(fix => ({
        name: fix.label,
        apply: () => this.mend(fix),
      })),
    }));
    this.view.dispatch(setDiagnostics(this.view.state, diagnostics));
  }

  /** Does what a fix of the marks says that are shown. */
  mend({ from, to, text }: Fix): void {
    // What was typed since has other places, and is being read.
    if (!this.view.state.doc.eq(this.marked)) return;
    this.view.dispatch({ changes: { from, to, insert: text }, selection: { anchor: from + text.length }, scrollIntoView: true });
    this.view.focus();
  }

  /** Goes to a place. */
  select(from: number, to: number): void {
    this.view.dispatch({ selection: { anchor: from, head: to }, scrollIntoView: true });
    this.view.focus();
  }
}

// The views of the network, as the compiler draws them.

import { element, make } from "./dom";
import type { Checked, Section } from "./protocol";

export class Report {
  private readonly main = document.querySelector("main") as HTMLElement;
  private readonly head = element("head");
  private readonly sections = element("sections");
  private readonly links = element("links");
  /** What each section shows, so that what stays the same is left alone. */
  private shown = new Map<string, string>();

  /** Shows a network, or, if a table has none, the last one as the past. */
  show(page: Checked["page"]): void {
    this.main.classList.toggle("stale", page === null);
    if (page === null) return;
    document.title = `${page.title} - resnet`;
    this.put("head", this.head, page.head);
    const ids = page.sections.map(section => section.id).join();
    if (ids !== this.sections.dataset["ids"]) this.lay(page.sections, ids);
    for (const { id, content } of page.sections) this.put(id, element(`${id}-c`), content);
  }

  private lay(sections: Section[], ids: string): void {
    this.sections.dataset["ids"] = ids;
    this.shown.clear();
    const made = sections.map(({ id, heading }) => {
      const section = make("section", { id }, make("h2", { id: `${id}-h` }, heading), make("div", { id: `${id}-c` }));
      section.setAttribute("aria-labelledby", `${id}-h`);
      return section;
    });
    this.sections.replaceChildren(...made);
    const links = sections.map(({ id, heading }) => make("a", { href: `#${id}` }, heading));
    this.links.replaceChildren(this.links.children[0] as Element, ...links);
  }

  /** `html` is the compiler's: what comes from the table is escaped in it. */
  private put(id: string, place: HTMLElement, html: string): void {
    if (this.shown.get(id) === html) return;
    this.shown.set(id, html);
    const folds = () => [...place.querySelectorAll("details")];
    const open = folds().map(fold => fold.open);
    place.innerHTML = html;
    folds().forEach((fold, index) => (fold.open = open[index] ?? false));
  }
}

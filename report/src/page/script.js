
// A link leads to what is folded, too.
addEventListener("hashchange", () => {
  const to = document.getElementById(location.hash.slice(1));
  for (let d = to?.closest("details"); d; d = d.parentElement.closest("details")) d.open = true;
  to?.scrollIntoView();
});
// What the pointer is on, in every view.
let shown = [];
addEventListener("pointerover", event => {
  shown.forEach(part => part.classList.remove("hot"));
  const part = event.target.closest("svg a, tr[id]");
  const id = part?.id || part?.getAttribute("href").slice(1);
  shown = id ? [...document.querySelectorAll(`#${id}, a[href='#${id}'] rect`)] : [];
  shown.forEach(part => part.classList.add("hot"));
});
// What is folded cannot be printed.
addEventListener("beforeprint", () => document.querySelectorAll("details:not([open])").forEach(d => { d.open = true; d.dataset.shut = "" }));
addEventListener("afterprint", () => document.querySelectorAll("[data-shut]").forEach(d => { d.open = false; delete d.dataset.shut }));

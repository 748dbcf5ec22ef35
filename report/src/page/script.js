
// What is folded cannot be printed.
addEventListener("beforeprint", () => document.querySelectorAll("details:not([open])").forEach(d => { d.open = true; d.dataset.shut = "" }));
addEventListener("afterprint", () => document.querySelectorAll("[data-shut]").forEach(d => { d.open = false; delete d.dataset.shut }));

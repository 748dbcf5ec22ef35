// The page in headless Chromium, from the folder that the build leaves, as somebody would use it.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, readdirSync } from "node:fs";
import { after, test } from "node:test";
import { broken } from "./broken";
import { FROM_FOLDER, type Watched, fragment, launch, open, root, serve, settled, text } from "./browser";

const browser = await launch();
after(() => browser.close());

const EXAMPLES = readdirSync(root("examples/pictures")).filter(name => /^\d/.test(name)).sort();
const picture = (name: string) => root(`examples/pictures/${name}`);

async function answered({ page }: Watched): Promise<void> {
  await page.locator("#took, #complaint").locator("visible=true").first().waitFor();
}

/** Gives the page a picture's file, and waits for what it says to it. */
async function give(watched: Watched, file: string | { name: string; mimeType: string; buffer: Buffer }) {
  const { page } = watched;
  await page.evaluate(() => {
    document.getElementById("answer")!.hidden = true;
    document.getElementById("complaint")!.hidden = true;
  });
  await page.setInputFiles("#file", file);
  await answered(watched);
  return page.evaluate(() => ({
    label: document.querySelector("#classes li span")?.textContent,
    logits: JSON.parse(document.getElementById("classes")?.dataset["logits"] ?? "null") as number[] | null,
    complaint: document.getElementById("complaint")?.hidden ? null : document.getElementById("complaint")?.textContent,
  }));
}

async function no_errors({ page, errors }: Watched) {
  await page.waitForTimeout(50);
  assert.deepEqual(errors, []);
  await page.close();
}

test("it shows a network, from a folder and from a server", async () => {
  const server = await serve();
  for (const address of [undefined, server.address]) {
    const watched = await open(browser, address);
    const { page } = watched;
    assert.equal(await page.locator("h1").textContent(), "cifar10-resnet20");
    assert.equal(await page.locator("#problems li").count(), 0);
    assert.ok((await page.locator("#sections > section").count()) >= 6);
    assert.ok((await give(watched, picture("04-cat.png"))).label);
    await no_errors(watched);
  }
  server.stop();
});

test("a mistake that is typed is told at its place, and gone once it is mended", async () => {
  const watched = await open(browser);
  const { page } = watched;
  const before = await text(page);
  await page.locator(".cm-line", { hasText: "conv1" }).getByText("kernel", { exact: true }).dblclick();
  await page.keyboard.type("kernal");
  const mark = page.locator(".cm-lintRange-error");
  const mended = async () => {
    await page.locator("#status", { hasText: /^No mistakes/ }).waitFor();
    assert.equal(await mark.count(), 0);
  };
  // What is typed is read meanwhile, and half of it is a mistake too.
  const whole = page.locator(".cm-lintRange-error", { hasText: /^kernal$/ });
  await whole.waitFor();
  const line = before.split("\n").findIndex(line => line.includes("conv1")) + 1;
  assert.match((await page.locator("#problems li").textContent()) ?? "", new RegExp(`^line ${line}: unknown field .kernal.`));
  assert.match((await page.locator("#status").textContent()) ?? "", /^1 mistake;/);
  assert.ok(await page.locator("main.stale").isVisible());
  // By hand.
  await whole.dblclick();
  await page.keyboard.type("kernel");
  await mended();
  assert.equal(await text(page), before);
  // By the fix, where the mistake is.
  await page.locator(".cm-line", { hasText: "conv1" }).getByText("kernel", { exact: true }).dblclick();
  await page.keyboard.type("kernal");
  await whole.hover();
  const tooltip = page.locator(".cm-tooltip-lint");
  assert.match((await tooltip.textContent()) ?? "", /unknown field .kernal. in a .conv. row[\s\S]*did you mean .kernel.\?/);
  await tooltip.locator(".cm-diagnosticAction").click();
  await mended();
  assert.equal(await text(page), before);
  // And by that of the list.
  await page.locator(".cm-line", { hasText: "conv3_x" }).getByText("16x16", { exact: false }).last().dblclick();
  await page.keyboard.type("15x15");
  await page.locator("#problems li", { hasText: "says 15x15" }).waitFor();
  await page.locator("#problems button", { hasText: "write output: 16x16" }).click();
  await mended();
  assert.equal(await text(page), before);
  assert.equal(await page.locator("main.stale").count(), 0);
  await no_errors(watched);
});

test("the trained network answers as the command does", async () => {
  for (const kind of ["f32", "int8"] as const) {
    const { results } = JSON.parse(readFileSync(root(`web/target/expected/${kind}.json`), "utf8")) as {
      results: { input: string; logits: number[]; top: { label: string }[] }[];
    };
    assert.equal(results.length, EXAMPLES.length);
    const watched = await open(browser);
    await watched.page.locator(`input[value=${kind}]`).check();
    for (const { input, logits, top } of results) {
      const name = input.split("/").at(-1)!;
      const found = await give(watched, picture(name));
      assert.equal(found.complaint, null);
      assert.equal(found.label, top[0]!.label, name);
      assert.equal(found.logits!.length, logits.length);
      // Parsed as the command wrote them: the same text is the same bits.
      if (kind === "int8") assert.deepEqual(found.logits, logits, name);
      else found.logits!.forEach((logit, i) => assert.ok(Math.abs(logit - logits[i]!) < 1e-4, `${name}: ${logit} ${logits[i]}`));
    }
    await no_errors(watched);
  }
});

test("a picture can be dropped, or taken from those that are there, and shows what operators make of it", async () => {
  const watched = await open(browser);
  const { page } = watched;
  const dropped = readFileSync(picture("04-cat.png")).toString("base64");
  await page.evaluate(base64 => {
    const bytes = Uint8Array.from(atob(base64), character => character.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], "cat.png", { type: "image/png" }));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
  }, dropped);
  await answered(watched);
  assert.equal(await page.locator("#classes li span").first().textContent(), "cat");
  await page.locator("#maps canvas").first().waitFor();
  assert.equal(await page.locator("#maps canvas").count(), 16);
  assert.match((await page.locator("#operator option:checked").textContent()) ?? "", /^conv1/);
  const grey = () => page.evaluate(() => {
    const canvas = document.querySelector<HTMLCanvasElement>("#maps canvas")!;
    return new Set(canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height).data).size;
  });
  assert.ok((await grey()) > 20, "a plane has many greys");
  const last = await page.locator("#operator option", { hasText: "conv4_x.2" }).last().textContent();
  await page.locator("#operator").selectOption({ label: last! });
  await page.locator("#maps[aria-label^='64 channels of conv4_x.2']").waitFor();
  assert.equal(await page.locator("#maps canvas").count(), 64);
  // With other weights the picture and the operator stay.
  await page.locator("input[value=int8]").check();
  await page.waitForTimeout(200);
  assert.equal(await page.locator("#operator option:checked").textContent(), last);
  await page.locator("#samples button").nth(8).click();
  await page.locator("#classes li span", { hasText: "ship" }).first().waitFor();
  await no_errors(watched);
});

test("a table is shared by the address, and none of it is markup", async () => {
  const hostile = `name: "<img src=x onerror=alert(1)>"
input: 3x8x8
table:
  - {layer: "</script><script>alert(2)</script>", op: conv, kernel: 3, channels: 16}
  - {layer: "<svg onload=alert(3)>", op: basic, channels: 16, repeat: 2}
  - {layer: "' onclick='alert(4)", op: global_average_pool}
  - {layer: '" autofocus onfocus="alert(5)', op: linear, channels: 2}
labels: ["<b>one</b>", "two"]
`;
  const watched = await open(browser, undefined);
  const { page } = watched;
  const go = async (hash: string) => {
    await page.evaluate(hash => (location.hash = hash), hash);
    await page.waitForTimeout(250);
    await settled(page);
  };
  await go(await fragment(hostile));
  assert.equal(await text(page), hostile);
  assert.equal(await page.locator("h1").textContent(), "<img src=x onerror=alert(1)>");
  assert.equal(await page.locator("main img[src=x], main script, main [onload], main [onclick], main [onfocus], main [autofocus], main b b").count(), 0);
  // With a mistake, whose message quotes it.
  await go(await fragment(hostile.replace("kernel: 3", "kernel: '<img src=x onerror=alert(6)>'")));
  assert.equal(await page.locator("#problems li").count(), 1);
  assert.equal(await page.locator("#problems img, .cm-tooltip img").count(), 0);
  // What cannot be read is told, and the table stays.
  const bomb = await fragment("#".repeat(64 << 20));
  for (const [hash, said] of [
    ["#table=%%%", /damaged/], ["#table=AAAA", /damaged/], ["#zoo=%E0%A4%A", /cannot be read/], ["#zoo=<img src=x>", /not in the menu/],
    [(await fragment(hostile)).slice(0, 60), /damaged/], [bomb, /more than 1048576 bytes/],
  ] as const) {
    await go(hash);
    assert.match((await page.locator("#address").textContent()) ?? "", said, hash.slice(0, 20));
  }
  // From the first, too, and by name.
  await page.goto("about:blank");
  await page.goto(`${FROM_FOLDER}#zoo=resnet50`);
  await settled(page);
  assert.equal(await page.locator("h1").textContent(), "resnet50");
  assert.equal(await page.locator("#zoo").inputValue(), "resnet50");
  // What is typed is in the address, and opened anew it is there.
  await page.locator(".cm-line").first().click();
  await page.keyboard.press("Home");
  await page.keyboard.type("# mine");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => location.hash.startsWith("#table="));
  const mine = await text(page);
  await page.reload();
  await settled(page);
  assert.equal(await text(page), mine);
  // A place in the page leaves the table in the address.
  await page.locator("#links a", { hasText: "Memory" }).click();
  await page.waitForFunction(() => location.hash.startsWith("#table="));
  await no_errors(watched);
});

test("hostile pictures get a message", async () => {
  const watched = await open(browser);
  const whole = readFileSync(picture("11-cat-rotated.jpg"));
  const files = readdirSync(root("fuzz/corpus/image")).map(name => ({ name, buffer: readFileSync(root(`fuzz/corpus/image/${name}`)) }));
  files.push({ name: "cut.jpg", buffer: whole.subarray(0, 9000) }, { name: "none.png", buffer: Buffer.alloc(0) }, { name: "text.png", buffer: Buffer.from("<svg onload='alert(1)'>") });
  let refused = 0;
  for (const { name, buffer } of files) {
    const { complaint, label } = await give(watched, { name, mimeType: "image/png", buffer });
    assert.ok(complaint || label, name);
    refused += complaint ? 1 : 0;
  }
  assert.ok(refused >= 3);
  // The browser may complain of those that it cannot draw; it is asked for those that were read alone.
  assert.equal((await give(watched, picture("09-ship.png"))).label, "ship");
  await no_errors(watched);
});

test("a module that stops, or does not end, is replaced, and the page goes on", async () => {
  const server = await serve();
  for (const [how, said] of [["stops", /The compiler has stopped/], ["endless", /needs more than 15 seconds/]] as const) {
    const page = await browser.newPage();
    const errors: string[] = [];
    page.on("pageerror", error => errors.push(String(error)));
    await page.clock.install();
    await page.route("**/engine.js", route => route.fulfill({ contentType: "text/javascript", body: `globalThis.MODULE = "${broken(how)}"` }));
    await page.goto(server.address, { waitUntil: "commit" });
    await page.locator(".cm-line", { hasText: "conv1" }).waitFor();
    for (const more of ["", "#"]) {
      await page.locator(".cm-line").first().click();
      await page.keyboard.type(more);
      await page.waitForTimeout(300);
      if (how === "endless") await page.clock.fastForward(15_100);
      await page.locator("#problems li", { hasText: said }).waitFor();
      assert.match((await page.locator("#status").textContent()) ?? "", /^No network/);
    }
    assert.deepEqual(errors, []);
    await page.close();
  }
  server.stop();
});

test("all of it can be used by keys", async () => {
  const watched = await open(browser);
  const { page } = watched;
  await page.locator("body").focus();
  const reached = new Set<string>();
  for (let i = 0; i < 60 && !reached.has("operator end"); i++) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const deep = document.activeElement?.shadowRoot?.activeElement ?? document.activeElement;
      return deep?.id || deep?.className || deep?.tagName || "";
    });
    reached.add(at.split(" ")[0]!);
    // The editor takes Tab, and lets go after Escape.
    if (at.startsWith("cm-content")) await page.keyboard.press("Escape");
  }
  for (const wanted of ["zoo", "share", "cm-content", "file"]) assert.ok(reached.has(wanted), `${wanted} of ${[...reached]}`);
  await page.locator("#file").focus();
  await page.locator("#samples button").first().focus();
  await page.keyboard.press("Enter");
  await answered(watched);
  assert.equal(await page.locator("#classes li span").first().textContent(), "airplane");
  await no_errors(watched);
});

const SHOTS = root("web/target/screenshots");
mkdirSync(SHOTS, { recursive: true });
const axe = readFileSync(root("web/node_modules/axe-core/axe.min.js"), "utf8");

for (const colorScheme of ["light", "dark"] as const) {
  test(`axe finds nothing, and pictures are taken, in ${colorScheme}`, async () => {
    for (const width of [360, 768, 1280, 1920]) {
      const watched = await open(browser, undefined, { viewport: { width, height: width < 800 ? 800 : 1000 }, colorScheme, reducedMotion: "reduce" });
      const { page } = watched;
      const look = async (name: string, fullPage = true) => {
        // What is not on the screen is not laid out until it is; on a picture of the whole page it is.
        await page.evaluate(() => document.querySelectorAll<HTMLElement>("#sections > section").forEach(section => (section.style.contentVisibility = "visible")));
        await page.screenshot({ path: `${SHOTS}/${name}-${width}-${colorScheme}.png`, fullPage });
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(overflow, 0, `${name} at ${width} is wider than the window`);
        await page.evaluate(axe);
        const { violations } = await page.evaluate("axe.run(document, { resultTypes: ['violations'], preload: false })") as { violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] };
        assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(({ html, failureSummary }) => [html.slice(0, 200), failureSummary])]), [], name);
      };
      await give(watched, picture("04-cat.png"));
      await page.locator("#maps canvas").first().waitFor();
      await page.mouse.move(0, 0);
      await look("trained");
      await page.locator("#zoo").selectOption("resnet50");
      await page.locator("h1", { hasText: "resnet50" }).waitFor();
      await page.locator("details").first().evaluate(details => ((details as HTMLDetailsElement).open = true));
      await look("resnet50");
      await page.evaluate(() => scrollTo(0, 0));
      await page.locator(".cm-line", { hasText: "conv3_x" }).getByText("stride", { exact: false }).first().click();
      await page.keyboard.press("End");
      await page.keyboard.press("ArrowLeft");
      await page.keyboard.press("ArrowLeft");
      await page.keyboard.type("9");
      await page.locator(".cm-lintRange-error").first().hover();
      const tooltip = page.locator(".cm-tooltip-lint");
      await tooltip.waitFor();
      // Nothing of the page is over it.
      const box = (await tooltip.boundingBox())!;
      assert.ok(await page.evaluate(([x, y]) => document.elementFromPoint(x, y)?.id === "editor", [box.x + box.width - 8, box.y + 8] as const));
      await look("mistake", false);
      await no_errors(watched);
    }
  });
}

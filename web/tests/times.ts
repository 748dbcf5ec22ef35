// How long the page takes, in Chromium on this machine: `web/test --times`. Medians.
import { readFileSync } from "node:fs";
import { FROM_FOLDER, launch, root, settled } from "./browser";

const median = (times: number[]) => times.sort((a, b) => a - b)[times.length >> 1] ?? NaN;
const say = (what: string, times: number[]) => console.log(`${median(times).toFixed(1).padStart(8)} ms  ${what} (${times.length} times, ${times[0]?.toFixed(1)} to ${times.at(-1)?.toFixed(1)})`);

const browser = await launch();
const views: number[] = [];
for (let i = 0; i < 7; i++) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  await page.goto(FROM_FOLDER);
  await settled(page);
  views.push(await page.evaluate(() => performance.getEntriesByName("drawn")[0]?.startTime ?? NaN));
  await page.close();
}
say("from the address to the network's views, from a local folder", views);

const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
await page.goto(FROM_FOLDER);
await settled(page);
await page.locator("#zoo").selectOption("resnet152");
await page.locator("h1", { hasText: "resnet152" }).waitFor();
const [edits, compiler]: [number[], number[]] = [[], []];
await page.locator(".cm-line", { hasText: "conv4_x" }).click();
await page.keyboard.press("End");
for (let i = 0; i < 30; i++) {
  await page.evaluate(() => performance.clearMarks());
  await page.keyboard.press(i % 2 ? "Backspace" : "Space");
  await page.waitForFunction(() => performance.getEntriesByName("drawn").length > 0);
  edits.push(await page.evaluate(() => {
    const at = (name: string) => performance.getEntriesByName(name)[0]!.startTime;
    return at("drawn") - at("edited");
  }));
  compiler.push(Number(/read in ([\d.]+)/.exec((await page.locator("#status").textContent()) ?? "")?.[1]));
}
say("from a change of resnet152's table to its marks and views", edits);
say("  of which the compiler", compiler);

for (const kind of ["f32", "int8"]) {
  await page.locator(`input[value=${kind}]`).check();
  const times: number[] = [];
  for (let i = 0; i < 20; i++) {
    await page.evaluate(() => (document.getElementById("took")!.textContent = ""));
    await page.setInputFiles("#file", { name: "cat.png", mimeType: "image/png", buffer: readFileSync(root("examples/pictures/04-cat.png")) });
    await page.waitForFunction(() => document.getElementById("took")?.textContent);
    times.push(Number(/in ([\d.]+) ms/.exec((await page.locator("#took").textContent()) ?? "")?.[1]));
  }
  say(`a CIFAR picture, decoded and classified, ${kind}`, times);
}
await browser.close();

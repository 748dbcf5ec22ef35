// Chromium with the page in it, as tests and measurements want it.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, type Page, chromium } from "playwright-core";

const ROOT = `${import.meta.dirname}/../../..`;
export const root = (name: string) => `${ROOT}/${name}`;
export const FOLDER = root("web/target/page");
export const FROM_FOLDER = pathToFileURL(`${FOLDER}/index.html`).href;

export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
}

/** A page that complains of what the browser complains of. */
export interface Watched {
  page: Page;
  /** What went to the console as an error, and what nobody caught. */
  errors: string[];
}

export async function open(browser: Browser, address = FROM_FOLDER, options: Parameters<Browser["newPage"]>[0] = {}): Promise<Watched> {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options });
  // On a machine that has other things to do; none of it is about time.
  page.setDefaultTimeout(180_000);
  const errors: string[] = [];
  page.on("console", message => {
    if (["error", "warning"].includes(message.type())) errors.push(message.text());
  });
  page.on("pageerror", error => errors.push(String(error)));
  page.on("dialog", dialog => {
    errors.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("request", request => {
    if (/^(https?|wss?):/.test(request.url()) && !request.url().startsWith("http://127.0.0.1:")) errors.push(`asks ${request.url()}`);
  });
  await page.goto(address);
  await settled(page);
  return { page, errors };
}

/** Waits until the compiler has answered. */
export async function settled(page: Page): Promise<void> {
  await page.locator("#status", { hasText: /read in/ }).waitFor();
  await page.waitForTimeout(50);
}

/** The folder, served as any server of files would. */
export async function serve(): Promise<{ address: string; stop(): void }> {
  const types: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };
  const server = createServer(async (request, response) => {
    const name = new URL(request.url ?? "/", "http://x").pathname.slice(1) || "index.html";
    try {
      assert.ok(/^[a-z]+\.[a-z]+$/.test(name));
      const file = await readFile(`${FOLDER}/${name}`);
      response.writeHead(200, { "content-type": types[extname(name)] ?? "application/octet-stream" }).end(file);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>(resolve => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return { address: `http://127.0.0.1:${port}/`, stop: () => server.close() };
}

/** A fragment that shares a table. */
export async function fragment(text: string): Promise<string> {
  const deflated = new Blob([text]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  return `#table=${Buffer.from(await new Response(deflated).arrayBuffer()).toString("base64url")}`;
}

/** The table in the editor. */
export function text(page: Page): Promise<string> {
  return page.evaluate(() => {
    const lines = document.querySelector("#editor")?.shadowRoot?.querySelectorAll(".cm-line") ?? [];
    return [...lines].map(line => line.textContent).join("\n");
  });
}

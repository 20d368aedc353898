/** A headless Chromium, driven over the DevTools protocol (chromedevtools.github.io/devtools-protocol). */

import * as fs from "node:fs";
import * as path from "node:path";
import { tempDir } from "./temp.ts";

type Message = {
  id?: number;
  method?: string;
  sessionId?: string;
  params?: unknown;
  result?: unknown;
  error?: unknown;
};

/** Something the page complained about: an exception, an error on its console, a broken security policy. */
export interface Complaint {
  readonly kind: string;
  readonly text: string;
}

export interface Screen {
  readonly width: number;
  readonly height: number;
  readonly dark?: boolean;
  readonly mobile?: boolean;
}

/** Milliseconds until something that should happen at once is given up. */
const PATIENCE = 30_000;

export class Chromium {
  readonly #process: Bun.Subprocess;
  readonly #socket: WebSocket;
  readonly #answers = new Map<number, (message: Message) => void>();
  readonly #listeners = new Set<(message: Message) => void>();
  #last = 0;

  private constructor(child: Bun.Subprocess, socket: WebSocket) {
    this.#process = child;
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      const message = JSON.parse(String(data)) as Message;
      const answer = message.id === undefined ? undefined : this.#answers.get(message.id);
      if (answer !== undefined) {
        this.#answers.delete(message.id!);
        answer(message);
      } else for (const listener of this.#listeners) listener(message);
    });
  }

  static async start(): Promise<Chromium> {
    const profile = tempDir("chromium");
    const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"];
    // Nothing of what a browser does besides showing a page.
    flags.push(
      "--disable-extensions",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    );
    flags.push("--no-default-browser-check", "--disable-dev-shm-usage", "--mute-audio", "--no-proxy-server");
    const child = Bun.spawn(["chromium", ...flags, `--user-data-dir=${profile}`, "about:blank"], {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "ignore",
      env: { ...process.env, HOME: profile },
    });
    const file = path.join(profile, "DevToolsActivePort");
    const [port, name] = await eventually(() => {
      if (child.exitCode !== null) throw new Error(`chromium ended with ${child.exitCode}`);
      const lines = fs.existsSync(file) ? fs.readFileSync(file, "utf8").split("\n") : [];
      return lines.length >= 2 ? lines : undefined;
    });
    const socket = new WebSocket(`ws://127.0.0.1:${port}${name}`);
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve);
      socket.addEventListener("error", () => reject(new Error("chromium cannot be talked to")));
    });
    return new Chromium(child, socket);
  }

  /** A new page of this size and colour scheme. */
  async page(screen: Screen): Promise<Page> {
    const { targetId } = await this.send<{ targetId: string }>("Target.createTarget", { url: "about:blank" });
    const attach = { targetId, flatten: true };
    const { sessionId } = await this.send<{ sessionId: string }>("Target.attachToTarget", attach);
    const page = new Page(this, sessionId);
    await page.prepare();
    await page.show(screen);
    return page;
  }

  async send<T = unknown>(method: string, params: object = {}, sessionId?: string): Promise<T> {
    const id = ++this.#last;
    const { promise, resolve } = Promise.withResolvers<Message>();
    this.#answers.set(id, resolve);
    this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    const { result, error } = await promise;
    if (error !== undefined) throw new Error(`${method}: ${JSON.stringify(error)}`);
    return result as T;
  }

  listen(listener: (message: Message) => void): void {
    this.#listeners.add(listener);
  }

  async stop(): Promise<void> {
    this.#socket.close();
    this.#process.kill();
    await this.#process.exited;
  }
}

export class Page {
  readonly complaints: Complaint[] = [];
  /** Addresses it asked for. */
  readonly requests: string[] = [];
  readonly #chromium: Chromium;
  readonly #session: string;

  constructor(chromium: Chromium, session: string) {
    this.#chromium = chromium;
    this.#session = session;
    chromium.listen(({ method, sessionId, params }) => {
      if (sessionId !== session) return;
      const complain = (kind: string): void => void this.complaints.push({ kind, text: JSON.stringify(params) });
      if (method === "Runtime.exceptionThrown") complain("exception");
      if (method === "Log.entryAdded" && (params as { entry: { level: string } }).entry.level === "error")
        complain("log");
      if (method === "Runtime.consoleAPICalled" && (params as { type: string }).type === "error") complain("console");
      if (method === "Network.requestWillBeSent") {
        this.requests.push((params as { request: { url: string } }).request.url);
      }
    });
  }

  async prepare(): Promise<void> {
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await this.#send(`${domain}.enable`);
  }

  /** Changes size and colour scheme. */
  async show({ width, height, dark = false, mobile = false }: Screen): Promise<void> {
    const metrics = { width, height, deviceScaleFactor: mobile ? 2 : 1, mobile };
    await this.#send("Emulation.setDeviceMetricsOverride", metrics);
    const features = [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }];
    await this.#send("Emulation.setEmulatedMedia", { features });
  }

  /** Opens `url`; complaints and requests are counted from there. */
  async open(url: string): Promise<void> {
    this.complaints.length = 0;
    this.requests.length = 0;
    await this.#send("Page.navigate", { url });
    await this.until("document.readyState === 'complete'");
  }

  /** The value of an expression in the page. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.#send<{ result: { value: T }; exceptionDetails?: object }>(
      "Runtime.evaluate",
      { expression, returnByValue: true, awaitPromise: true },
    );
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return result.value;
  }

  /** Waits until an expression in the page is true. */
  async until(expression: string): Promise<void> {
    await eventually(async () => ((await this.evaluate<boolean>(expression)) ? true : undefined), expression);
  }

  /** Role and name of all that a screen reader finds. */
  async accessibility(): Promise<{ readonly role: string; readonly name: string }[]> {
    interface Node {
      readonly ignored: boolean;
      readonly role?: { value: string };
      readonly name?: { value: string };
    }
    const { nodes } = await this.#send<{ nodes: Node[] }>("Accessibility.getFullAXTree");
    const seen = nodes.filter(({ ignored }) => !ignored);
    return seen.map(({ role, name }) => ({ role: role?.value ?? "", name: name?.value ?? "" }));
  }

  async press(key: string): Promise<void> {
    const code = { Tab: 9, Enter: 13 }[key];
    const text = key === "Enter" ? "\r" : undefined;
    for (const type of ["keyDown", "keyUp"]) {
      await this.#send("Input.dispatchKeyEvent", { type, key, code: key, windowsVirtualKeyCode: code, text });
    }
  }

  /** The whole page as a PNG file. */
  async screenshot(file: string): Promise<void> {
    const { data } = await this.#send<{ data: string }>("Page.captureScreenshot", { captureBeyondViewport: true });
    fs.writeFileSync(file, Buffer.from(data, "base64"));
  }

  #send<T = unknown>(method: string, params: object = {}): Promise<T> {
    return this.#chromium.send<T>(method, params, this.#session);
  }
}

/** Looks again and again until there is something. */
async function eventually<T>(look: () => Promise<T | undefined> | T | undefined, what = "chromium"): Promise<T> {
  for (const end = Date.now() + PATIENCE; ; await Bun.sleep(20)) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > end) throw new Error(`did not happen: ${what}`);
  }
}

/** A real etcd on the loopback, in a temporary folder, filled through its JSON gateway. */

import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../demo/shell.ts";
import type { Change } from "./data.ts";
import type { Scratch } from "./scratch.ts";

const PUTS_PER_REQUEST = 4_000;

export class Etcd {
  readonly version: string;
  readonly #scratch: Scratch;
  readonly #url: string;

  private constructor(scratch: Scratch, url: string, version: string) {
    this.#scratch = scratch;
    this.#url = url;
    this.version = version;
  }

  /** Starts one with `changes` in it; undefined where etcd is not installed. */
  static async start(scratch: Scratch, changes: Iterable<Change>): Promise<Etcd | undefined> {
    if (Bun.which("etcd") === null || Bun.which("etcdctl") === null) return undefined;
    const url = `http://127.0.0.1:${await freePort()}`;
    const peer = `http://127.0.0.1:${await freePort()}`;
    const child = Bun.spawn(
      [
        "etcd",
        ...["--data-dir", scratch.path("etcd"), "--name", "bench", "--log-level", "error"],
        ...["--listen-client-urls", url, "--advertise-client-urls", url],
        ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", `bench=${peer}`],
        ...["--max-txn-ops", String(PUTS_PER_REQUEST), "--max-request-bytes", String(8 << 20)],
      ],
      { stdout: "ignore", stderr: "ignore", env: scratch.env as Record<string, string> },
    );
    scratch.onEnd(async () => {
      child.kill("SIGTERM");
      await child.exited;
    });
    const etcd = new Etcd(scratch, url, await ready(url));
    await etcd.#fill(changes);
    return etcd;
  }

  /** Where it answers, its JSON gateway too. */
  get url(): string {
    return this.#url;
  }

  /** Milliseconds of an etcdctl process. */
  ctl(...args: string[]): { ms: number; stdout: Buffer } {
    return this.#scratch.run("", ["etcdctl", `--endpoints=${this.#url}`, ...args], {
      env: { ...this.#scratch.env, ETCDCTL_API: "3" },
    });
  }

  async #fill(changes: Iterable<Change>): Promise<void> {
    let puts: object[] = [];
    const send = async (): Promise<void> => {
      if (puts.length > 0) await post(`${this.#url}/v3/kv/txn`, { success: puts });
      puts = [];
    };
    for (const [key, value = ""] of changes) {
      puts.push({ request_put: { key: btoa(key), value: btoa(value) } });
      if (puts.length === PUTS_PER_REQUEST) await send();
    }
    await send();
  }
}

async function post(url: string, body: object): Promise<void> {
  const response = await fetch(url, { method: "POST", body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`etcd answered ${response.status}: ${await response.text()}`);
}

/** Waits until it answers; returns its version. */
async function ready(url: string): Promise<string> {
  for (let i = 0; i < 1_000; i++) {
    try {
      const health = (await (await fetch(`${url}/health`)).json()) as { health?: string };
      if (health.health === "true") {
        const { etcdserver } = (await (await fetch(`${url}/version`)).json()) as { etcdserver: string };
        return etcdserver;
      }
    } catch {
      // not listening yet
    }
    await sleep(20);
  }
  throw new Error("etcd does not answer");
}

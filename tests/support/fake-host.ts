/** A host that stands for GitHub: it keeps refs in memory, counts pushes and misbehaves as it is told. */

import { KvError } from "../../src/errors.ts";
import type { Oid } from "../../src/gitwire/object/oid.ts";
import type { RemoteRefs } from "../../src/gitwire/protocol/fetch-pack.ts";
import type { PushOutcome, PushResult } from "../../src/gitwire/protocol/send-pack.ts";
import type { Repository } from "../../src/gitwire/repo.ts";
import type { MirrorPort, MirrorPush } from "../../src/stargate/mirror/mirror-remote.ts";

/** What becomes of one push; a host without instructions takes it. */
export type Mishap =
  | { readonly kind: "drop"; readonly when: "before" | "after" }
  | { readonly kind: "busy"; readonly retryAfter?: number }
  | { readonly kind: "refuse"; readonly ref: RegExp; readonly reason: string }
  /** The host fails by itself, without telling of any ref. */
  | { readonly kind: "internal" }
  | { readonly kind: "hang" };

export class FakeHost implements MirrorPort {
  readonly url = "https://host.test/org/kv.git";
  readonly refsHere = new Map<string, Oid>();
  /** Time of every push that arrived, whatever came of it. */
  readonly pushes: number[] = [];
  /** Pushes and listings that were turned away while it was down. */
  turnedAway = 0;
  /** Bytes of the largest pack. */
  largest = 0;
  isDown = false;
  isHanging = false;
  /** What to do with the next pushes, in order; `always` when there is none left. */
  readonly mishaps: Mishap[] = [];
  always: Mishap | undefined;
  /** Words beside the report. */
  words = "";
  /** Called whenever refs have moved. */
  onMoved: () => void = () => {};
  readonly #repo: Repository;
  readonly #now: () => number;

  constructor(repo: Repository, now: () => number) {
    this.#repo = repo;
    this.#now = now;
  }

  async refs(prefixes: readonly string[]): Promise<RemoteRefs> {
    this.#reachable();
    const refs = [...this.refsHere].map(([name, oid]) => ({ name, oid }));
    return {
      format: this.#repo.format,
      refs: refs.filter(({ name }) => prefixes.some((prefix) => name.startsWith(prefix))),
      unbornHead: undefined,
    };
  }

  async push(push: MirrorPush, signal?: AbortSignal): Promise<PushResult> {
    this.#reachable();
    this.pushes.push(this.#now());
    const mishap = this.mishaps.shift() ?? this.always;
    push.progress?.(this.words);
    if (mishap?.kind === "busy") {
      const data = mishap.retryAfter === undefined ? {} : { retryAfter: mishap.retryAfter };
      throw new KvError("BUSY", "the host is busy (HTTP 429)", { data });
    }
    if (mishap?.kind === "hang") return this.#hang(signal);
    if (mishap?.kind === "drop" && mishap.when === "before") throw broken();
    if (mishap?.kind === "internal") return this.#report(push, () => ({ ok: false, reason: "failed" }));
    this.largest = Math.max(this.largest, push.pack?.byteLength ?? 0);
    const result = this.#apply(push, mishap?.kind === "refuse" ? mishap : undefined);
    if (mishap?.kind === "drop") throw broken();
    return result;
  }

  pushSession<T>(): Promise<T> {
    throw new Error("no branch is pushed here");
  }

  #reachable(): void {
    if (!this.isDown) return;
    this.turnedAway++;
    throw new KvError("NETWORK", "cannot reach the host: connection refused");
  }

  #hang(signal: AbortSignal | undefined): Promise<never> {
    this.isHanging = true;
    return new Promise((_, reject) => {
      signal?.addEventListener("abort", () => {
        this.isHanging = false;
        reject(broken());
      });
    });
  }

  /** All or nothing, as the push must ask for. */
  #apply(push: MirrorPush, refuse: Extract<Mishap, { kind: "refuse" }> | undefined): PushResult {
    if (!push.atomic) throw new Error("the push is not atomic");
    const reasons = new Map<string, string>();
    for (const { ref, oldOid } of push.commands) {
      const at = this.refsHere.get(ref) ?? this.#repo.format.zeroOid;
      if (at !== oldOid) reasons.set(ref, "fetch first");
      else if (refuse?.ref.test(ref)) reasons.set(ref, refuse.reason);
    }
    if (reasons.size === 0) {
      for (const { ref, newOid } of push.commands) this.refsHere.set(ref, newOid);
      this.onMoved();
    }
    return this.#report(push, (ref): PushOutcome => {
      if (reasons.size === 0) return { ok: true };
      return { ok: false, reason: reasons.get(ref) ?? "atomic push failure" };
    });
  }

  #report({ commands }: MirrorPush, outcome: (ref: string) => PushOutcome): PushResult {
    return { unpack: "ok", refs: new Map(commands.map(({ ref }) => [ref, outcome(ref)])), advertised: undefined };
  }
}

function broken(): KvError {
  return new KvError("NETWORK", "the connection broke", { data: { unknownOutcome: true } });
}

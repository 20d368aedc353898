/** Turns: who waits longest is served first, a turn nobody uses lapses, and 32 writers of one namespace each get through. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import { writePack } from "../../src/gitwire/store/object-writer.ts";
import { clone } from "../../src/kv/clone.ts";
import { etagOf } from "../../src/kv/etag.ts";
import { stargateAcceptor } from "../../src/kv/stargate-acceptor.ts";
import { offerPlace, readTurnFeature, takeOffer, turnFeature } from "../../src/kv/turn-words.ts";
import type { Workspace } from "../../src/kv/workspace.ts";
import { writeTransaction } from "../../src/kv/write.ts";
import { answerHook } from "../../src/stargate/hook-push.ts";
import { type After, type Turn, Turns, type TurnTimes } from "../../src/stargate/turns.ts";
import { git } from "../support/git.ts";
import { TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { workspaceAt } from "../support/workspace.ts";

/** Timers that a test winds. */
class Wound {
  #now = 0;
  readonly #waiting: { readonly at: number; readonly act: () => void }[] = [];

  readonly after: After = (ms, act) => {
    const timer = { at: this.#now + ms, act };
    this.#waiting.push(timer);
    return () => {
      const at = this.#waiting.indexOf(timer);
      if (at >= 0) this.#waiting.splice(at, 1);
    };
  };

  pass(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const next = this.#waiting.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#now = next.at;
      this.#waiting.splice(this.#waiting.indexOf(next), 1);
      next.act();
    }
    this.#now = end;
  }

  get pending(): number {
    return this.#waiting.length;
  }
}

const TIMES: TurnTimes = { plan: 10, push: 100, wait: 1_000, most: 400 };

function wound(): { turns: Turns; time: Wound; got: string[]; wait: (name: string, ticket?: string) => void } {
  const time = new Wound();
  const turns = new Turns(TIMES, time.after);
  const got: string[] = [];
  const held = new Map<string, Turn>();
  const wait = (name: string, ticket?: string): void => {
    turns.wait("main", "plan", ticket).then((turn) => {
      got.push(`${name} ${turn?.ms ?? "none"}`);
      if (turn !== undefined) held.set(name, turn);
    });
  };
  return { turns, time, got, wait };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("turns", () => {
  test("the first has it at once, the others in the order in which they came", async () => {
    const { turns, got, wait, time } = wound();
    expect(turns.isBusy("main")).toBe(false);
    for (const name of ["a", "b", "c"]) wait(name);
    await settle();
    expect(got).toEqual(["a 10"]);
    expect(turns.isBusy("main")).toBe(true);
    expect(turns.isBusy("other")).toBe(false);
    expect(turns.waiting).toBe(2);
    time.pass(10);
    await settle();
    expect(got).toEqual(["a 10", "b 10"]);
    time.pass(20);
    await settle();
    expect(got).toEqual(["a 10", "b 10", "c 10"]);
    expect([turns.isBusy("main"), turns.waiting, time.pending]).toEqual([false, 0, 0]);
  });

  test("a push that arrives in its turn has longer, another one has none", async () => {
    const { turns, time } = wound();
    const turn = (await turns.wait("main", "plan"))!;
    expect(turns.arrive("main", undefined)).toBeUndefined();
    expect(turns.arrive("other", turn.ticket)).toBeUndefined();
    expect(turns.arrive("main", turn.ticket)?.ms).toBe(100);
    time.pass(99);
    expect(turns.isBusy("main")).toBe(true);
    expect(turns.renew(turn)?.ms).toBe(10);
    turns.leave(turn);
    expect([turns.isBusy("main"), time.pending]).toEqual([false, 0]);
    expect(turns.renew(turn)).toBeUndefined();
    turns.leave(turn);
  });

  test("whose turn lapsed comes back to the place it had, and has twice as long, up to a bound", async () => {
    const { turns, time, got, wait } = wound();
    let ticket = (await turns.wait("main", "plan"))!.ticket;
    wait("b");
    time.pass(10);
    await settle();
    wait("c");
    wait("a again", ticket);
    time.pass(10);
    await settle();
    expect(got).toEqual(["b 10", "a again 20"]);
    for (const ms of [40, 80, 160, 320, 400, 400]) {
      time.pass(1_000);
      const turn = (await turns.wait("main", "plan", ticket))!;
      expect(turn.ms).toBe(ms);
      ticket = turn.ticket;
    }
  });

  test("nobody waits for ever, and whoever hangs up is passed over", async () => {
    const { turns, time, got, wait } = wound();
    const turn = (await turns.wait("main", "push"))!;
    const gone = new AbortController();
    const hangUp = turns.wait("main", "plan", undefined, gone.signal);
    wait("b");
    gone.abort();
    expect(await hangUp).toBeUndefined();
    for (let i = 0; i < 10; i++) {
      time.pass(99);
      turns.arrive("main", turn.ticket);
    }
    time.pass(10);
    await settle();
    // Its place is kept all the same.
    expect(got).toEqual(["b 0"]);
    expect(await turns.wait("main", "plan", undefined, AbortSignal.abort())).toBeUndefined();
    wait("c");
    turns.close();
    await settle();
    expect(got).toEqual(["b 0", "c none"]);
    expect(await turns.wait("main", "plan")).toBeUndefined();
    expect(time.pending).toBe(0);
  });

  test("the words of both sides fit, and nothing else is taken for them", () => {
    const ticket = crypto.randomUUID();
    const said = offerPlace("refs/kv/main has moved", ticket);
    expect(takeOffer(said)).toEqual({ message: "refs/kv/main has moved", ticket });
    for (const other of ["refs/kv/main has moved", `${said}.`, said.replace(ticket, "x"), `; place ${ticket} is kept`])
      expect(takeOffer(other)).toEqual({ message: other, ticket: undefined });
    const asked = (value: string | undefined): unknown =>
      readTurnFeature(new Map([["kv-turn", value === undefined ? [] : [value]]]));
    expect(turnFeature(ticket)).toEqual(["kv-turn", ticket]);
    expect(asked(ticket)).toEqual({ ticket });
    expect(asked("../../x")).toEqual({ ticket: undefined });
    expect(asked(undefined)).toEqual({ ticket: undefined });
    expect(readTurnFeature(new Map())).toBeUndefined();
  });
});

const WRITERS = 32;
/** So long that no turn lapses, however busy the machine is. */
const PATIENT: TurnTimes = { plan: 600_000, push: 600_000, wait: 600_000, most: 600_000 };

describe("32 writers of one namespace", () => {
  let stargate: TestStargate;
  let client: TestClient;

  beforeAll(async () => {
    stargate = await TestStargate.start({ turnTimes: PATIENT });
    client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token()));
    await client.set({ seed: "1" });
  });

  afterAll(async () => {
    client.repo.close();
    await stargate.stop();
  });

  test("each transaction is in after at most two pushes", async () => {
    const root = tempDir("turns");
    const around = workspaceAt(stargate.dir, { clock: systemClock }).around;
    const first = path.join(root, "w");
    (await clone(client.address, first, around)).close();
    const workspaces = Array.from({ length: WRITERS }, (_, i): Workspace => {
      const dir = path.join(root, `w${i}`);
      fs.cpSync(first, dir, { recursive: true });
      return workspaceAt(dir, { clock: systemClock });
    });
    const pushes: number[] = [];
    const write = async (workspace: Workspace, writer: number): Promise<void> => {
      const acceptor = stargateAcceptor(workspace);
      let tries = 0;
      const counting = {
        ...acceptor,
        accept: (proposal: Parameters<typeof acceptor.accept>[0]) => {
          tries++;
          return acceptor.accept(proposal);
        },
      };
      await set(workspace, counting, `user:${writer}`, "value");
      pushes.push(tries);
    };
    await Promise.all(workspaces.map(write));
    for (const { repo } of workspaces) repo.close();
    expect(pushes.length).toBe(WRITERS);
    // The first may come too late; the second has its turn.
    expect(Math.max(...pushes)).toBe(2);
    expect(git(stargate.dir, "rev-list", "--count", "refs/kv/main")).toBe(String(WRITERS + 1));
    expect(stargate.daemon.registry.byName("kv.git")!.gate.turns.isBusy("main")).toBe(false);
  });

  test("a client that plans no second time is answered at once, and waits where others have their turn", async () => {
    const { turns } = stargate.daemon.registry.byName("kv.git")!.gate;
    const late = client.plan({ late: "1" });
    const good = client.plan({ good: "1" });
    const turn = (await turns.wait("main", "push"))!;
    const waits = client.push(good);
    while (turns.waiting === 0) await Bun.sleep(1);
    turns.leave(turn);
    expect(verdict(await waits)).toBe("ok");
    const again = (await turns.wait("main", "push"))!;
    expect(verdict(await client.push(late))).toBe("CAS_CONFLICT");
    // What is in already is not held back either.
    expect(verdict(await client.push(good))).toBe("ok");
    turns.leave(again);
    expect(turns.isBusy("main")).toBe(false);
  });

  test("a stock git's push by the hooks stands in the same line", async () => {
    const served = stargate.daemon.registry.byName("kv.git")!;
    const { turns, repo } = served.gate;
    const who = { name: "git", scope: "write", door: "hook" } as const;
    const pushes = ["first", "second"].map((value) => {
      const { commands, pack } = client.plan({ hooked: value });
      // git has taken the objects in when it asks.
      writePack(repo.objects, pack.finish());
      return () => answerHook(served, who, { phase: "accept", commands, options: [] });
    });
    repo.objects.refresh();
    const turn = (await turns.wait("main", "push"))!;
    const first = pushes[0]!();
    while (turns.waiting === 0) await Bun.sleep(1);
    turns.leave(turn);
    expect((await first).results.map(({ status }) => status)).toEqual(["ok", "ok"]);
    // git plans nothing again, so what comes too late is told at once.
    const again = (await turns.wait("main", "push"))!;
    expect((await pushes[1]!()).results).toMatchObject(
      Array(2).fill({ status: "ng", reason: expect.stringMatching(/^CAS_CONFLICT: /) }),
    );
    turns.leave(again);
    expect(turns.isBusy("main")).toBe(false);
  });

  test("a turn that is not needed after all is given back", async () => {
    const { turns } = stargate.daemon.registry.byName("kv.git")!.gate;
    const dir = path.join(tempDir("turns"), "same");
    (await clone(client.address, dir, workspaceAt(stargate.dir, { clock: systemClock }).around)).close();
    const workspace = workspaceAt(dir, { clock: systemClock });
    const acceptor = stargateAcceptor(workspace);
    let tries = 0;
    const behind = {
      ...acceptor,
      accept: async (proposal: Parameters<typeof acceptor.accept>[0]) => {
        // Somebody else sets the same value first.
        if (tries++ === 0) await client.set({ same: "value" });
        return acceptor.accept(proposal);
      },
    };
    expect(await set(workspace, behind, "same", "value")).toBe("unchanged");
    expect(tries).toBe(1);
    expect(turns.isBusy("main")).toBe(false);
    workspace.repo.close();
  });
});

async function set(
  workspace: Workspace,
  acceptor: ReturnType<typeof stargateAcceptor>,
  key: string,
  text: string,
): Promise<string> {
  const builder = new PackBuilder(workspace.repo.format);
  try {
    const data = Buffer.from(text);
    const value = {
      type: "inline",
      oid: builder.write("blob", data),
      size: data.length,
      etag: etagOf(data),
      ctype: "text/plain",
    } as const;
    const outcome = await writeTransaction(workspace, acceptor, {
      builder,
      operations: [{ kind: "set", key, value, expires: undefined, labels: undefined }],
      message: undefined,
      expectTree: undefined,
      namespace: "required",
    });
    return outcome.kind;
  } finally {
    builder.dispose();
  }
}

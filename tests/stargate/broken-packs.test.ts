/** Requests and packs that are damaged: each is answered, nothing is kept, and the server stays well. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { capabilities } from "../../src/gitwire/protocol/capabilities.ts";
import { FLUSH, pktLine } from "../../src/gitwire/protocol/pkt-line.ts";
import { encodePushRequest } from "../../src/gitwire/protocol/receive-commands.ts";
import { contents } from "../support/forged.ts";
import { fsck } from "../support/git.ts";
import { TestClient, TestStargate } from "../support/stargate.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

let stargate: TestStargate;
let client: TestClient;
let token: string;

beforeAll(async () => {
  stargate = await TestStargate.start({ upkeep: false });
  token = stargate.token();
  client = new TestClient(stargate.dir, stargate.loginUrl(token));
  await client.set({ a: "1", b: "2" });
});

afterAll(async () => {
  await stargate.stop();
  expect(fsck(stargate.dir)).toBe("");
});

describe("broken packs", () => {
  /** Pushes raw bytes as the pack; returns the HTTP status and the answer. */
  async function raw(pack: Uint8Array): Promise<{ status: number; text: string }> {
    const planned = client.plan({ [`raw${Math.random()}`]: "x".repeat(500) });
    const head = encodePushRequest({
      commands: planned.commands,
      capabilities: capabilities(["report-status"], ["side-band-64k"], ["atomic"], ["object-format", TEST_FORMAT.name]),
      pushOptions: [],
    });
    const good = Buffer.concat([...planned.pack.finish().chunks()]);
    const body = Buffer.concat([head, pack.length === 0 ? good : pack]);
    const response = await fetch(`${stargate.url}/git-receive-pack`, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/x-git-receive-pack-request" },
      body,
    });
    return { status: response.status, text: Buffer.from(await response.arrayBuffer()).toString("latin1") };
  }

  function goodPack(): Buffer {
    return Buffer.concat([
      ...client
        .plan({ [`p${Math.random()}`]: "y".repeat(500) })
        .pack.finish()
        .chunks(),
    ]);
  }

  function withCount(pack: Buffer, change: (count: number) => number): Buffer {
    pack.writeUInt32BE(change(pack.readUInt32BE(8)), 8);
    return pack;
  }

  function flipped(pack: Buffer, at: number): Buffer {
    pack[at] = pack[at]! ^ 0xff;
    return pack;
  }

  test.each([
    ["cut short", (p: Buffer) => p.subarray(0, p.length - 30)],
    ["cut inside its header", (p: Buffer) => p.subarray(0, 7)],
    ["declaring more than it holds", (p: Buffer) => withCount(p, (n) => n + 5)],
    ["declaring a billion objects", (p: Buffer) => withCount(p, () => 1_000_000_000)],
    ["declaring fewer", (p: Buffer) => withCount(p, (n) => n - 1)],
    ["with a flipped byte", (p: Buffer) => flipped(p, 40)],
    ["with a wrong trailer", (p: Buffer) => flipped(p, p.length - 1)],
    ["that is no pack", () => Buffer.from("this is not a pack at all, whatever it says")],
    ["of another version", (p: Buffer) => flipped(p, 7)],
  ])("%s", async (_what, damage) => {
    const before = contents(stargate.dir);
    const { status, text } = await raw(damage(goodPack()));
    expect(status).toBe(200);
    expect(text).toMatch(/unpack (?!ok)/);
    expect(text).toMatch(/ng refs\/kv\/main /);
    expect(contents(stargate.dir)).toBe(before);
  });

  test("the server is well afterwards", async () => {
    expect((await raw(new Uint8Array(0))).text).toContain("ok refs/kv/main");
    await client.set({ fine: "1" });
  });

  test("requests that are no push", async () => {
    const post = async (body: Uint8Array | string): Promise<string> => {
      const response = await fetch(`${stargate.url}/git-receive-pack`, {
        method: "POST",
        headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/x-git-receive-pack-request" },
        body,
      });
      return `${response.status} ${await response.text()}`;
    };
    expect(await post(FLUSH)).toBe("200 ");
    expect(await post("")).toBe("200 ");
    expect(await post("0003")).toContain("ERR");
    expect(await post("zzzz")).toContain("ERR");
    expect(await post("ffff")).toContain("ERR");
    expect(await post(pktLine(`${"1".repeat(TEST_FORMAT.hexSize)} x`).toString())).toContain("ERR");
  });
});

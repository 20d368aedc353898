import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { fsck, git } from "../support/git.ts";
import { TestClient, TestStargate } from "../support/stargate.ts";

test("a served repository keeps few packs, and serves all the while", async () => {
  const stargate = await TestStargate.start();
  try {
    const client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token()));
    const packDir = path.join(stargate.dir, "objects/pack");
    const packs = (): number => fs.readdirSync(packDir).filter((name) => name.endsWith(".pack")).length;
    for (let i = 0; i < 20; i++) await client.set({ [`key${i % 5}`]: `value ${i}` });
    const line = await stargate.logged(({ component, packs }) => component === "upkeep" && packs !== undefined);
    expect(line.level).toBe("info");
    expect(packs()).toBeLessThan(17);
    for (let i = 0; i < 20; i++) await client.set({ [`key${i}`]: `value ${i}` });
    expect(
      fsck(stargate.dir)
        .replace(/notice: .*/g, "")
        .trim(),
    ).toBe("");
    expect(git(stargate.dir, "rev-list", "--count", "refs/kv/main")).toBe("40");
  } finally {
    await stargate.stop();
  }
}, 20_000);

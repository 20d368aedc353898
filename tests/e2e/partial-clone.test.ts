/** A clone that git leaves objects out of (`git clone --filter`): what is missing says how it is had, and a fetch of ours brings it. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { git } from "../support/git.ts";
import { kv, kvOk, Scene } from "../support/scene.ts";

const SLOW = 120_000;

let scene: Scene;
let writer: string;
let partial: string;

beforeAll(async () => {
  scene = await Scene.start();
  writer = scene.clone("writer");
  kvOk(writer, "set", "a", "1");
  kvOk(writer, "set", "b", "1", "--wait");
  git(scene.github, "config", "uploadpack.allowFilter", "true");
  git(scene.root, "clone", "-q", "--filter=blob:none", `file://${scene.github}`, "partial");
  partial = path.join(scene.root, "partial");
  scene.giveToken(partial);
}, SLOW);
afterAll(async () => {
  await scene.serving.stop();
});

test(
  "is whole after every fetch of ours, whatever git brought before it",
  () => {
    kvOk(partial, "remote", "setup");
    expect(kvOk(partial, "get", "a")).toBe("1");
    for (const from of ["mirror", "stargate"]) {
      kvOk(writer, "set", "a", `by ${from}`, "--wait");
      git(partial, "fetch", "-q");
      for (const args of [
        ["get", "a"],
        ["set", "a", "mine"],
      ]) {
        const run = kv(partial, ...args);
        expect([run.status, run.stderr]).toEqual([
          5,
          expect.stringMatching(
            /^error: blob [0-9a-f]+ is missing\nhint: git left it out of this partial clone: 'git kv fetch' brings it\n$/,
          ),
        ]);
      }
      kvOk(partial, "fetch", "--read-from", from);
      expect(kvOk(partial, "get", "a")).toBe(`by ${from}`);
    }
    kvOk(partial, "set", "a", "mine", "--wait");
    kvOk(partial, "fetch");
    expect(kvOk(partial, "history", "a", "--json").split("\n")).toHaveLength(4);
    expect(kvOk(partial, "verify")).toContain("no findings");
    expect(git(partial, "fsck")).toBe("");
    // There is nothing left to bring.
    const packs = (): string[] => fs.readdirSync(path.join(partial, ".git", "objects", "pack")).sort();
    const before = packs();
    kvOk(partial, "fetch");
    expect(packs()).toEqual(before);
  },
  SLOW,
);

/** Attacks on what is stored: trees that lie, paths that are none, trailers that say two things, all signed by a writer. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { audit } from "../../../src/kv/audit.ts";
import { Arena } from "../../support/arena.ts";
import type { Files } from "../../support/forge.ts";
import { withLedger } from "../../support/forged.ts";
import { type TreeForgery, withTrees } from "../../support/forged-trees.ts";
import { policyPush, verdict } from "../../support/stargate.ts";
import { workspaceAt } from "../../support/workspace.ts";

setDefaultTimeout(60_000);

let arena: Arena;
beforeAll(async () => {
  arena = await Arena.start();
});
afterAll(() => arena.stop());

const MODE = 0o100644;
const pathOf = (files: Files, end: string): string => {
  const found = [...files.keys()].find((path) => path.endsWith(end));
  if (found === undefined) throw new Error(`no path ends with ${end}`);
  return found;
};

async function forged(forgery: TreeForgery, code: string): Promise<void> {
  const text = (commit: string): string => arena.alice.signCommit(forgery.text?.(commit) ?? commit);
  await arena.refused(withTrees(arena.http, arena.http.plan({ "cfg:x": "value" }), { ...forgery, text }), code);
}

test("the forger's tools change nothing by themselves", async () => {
  const text = (commit: string): string => arena.alice.signCommit(commit);
  const planned = withTrees(arena.http, arena.http.plan({ "cfg:honest": "1" }), { text });
  expect(verdict(await arena.http.push(planned))).toBe("ok");
});

describe("the kv-index", () => {
  test("hides an entry, invents one, or points at another key's value", async () => {
    await forged({ index: (files) => files.delete(pathOf(files, "cfg%3Ax.ref")) }, "REPLAY_MISMATCH");
    await forged({ index: (files) => files.delete(pathOf(files, "user%3Ab.ref")) }, "REPLAY_MISMATCH");
    const invent = (files: Files): void => void files.set("cfg%3Azz.ref", files.get(pathOf(files, "cfg%3Aa.ref"))!);
    await forged({ index: invent }, "REPLAY_MISMATCH");
    const swap = (files: Files): void => {
      files.set(pathOf(files, "cfg%3Ax.ref"), files.get(pathOf(files, "cfg%3Aa.ref"))!);
    };
    await forged({ index: swap }, "REPLAY_MISMATCH");
    const point: NonNullable<TreeForgery["index"]> = (files, write, read) => {
      const path = pathOf(files, "cfg%3Ax.ref");
      const other = JSON.parse(read(files.get(pathOf(files, "cfg%3Aa.ref"))!.oid)).oid;
      const record = read(files.get(path)!.oid).replace(/"oid":"[0-9a-f]+"/, `"oid":"${other}"`);
      files.set(path, { mode: MODE, oid: write(record) });
    };
    await forged({ index: point }, "REPLAY_MISMATCH");
    const bury = (files: Files): void => {
      files.set("cfg%3Ax.del", files.get(pathOf(files, "cfg%3Ax.ref"))!);
      files.delete("cfg%3Ax.ref");
    };
    await forged({ index: bury }, "REPLAY_MISMATCH");
  });
});

describe("the ledger tree", () => {
  const meta =
    (edit: (json: string) => string): NonNullable<TreeForgery["ledger"]> =>
    (files, write, read) => {
      const path = pathOf(files, "cfg%3Ax.meta");
      const json = read(files.get(path)!.oid);
      if (edit(json) === json) throw new Error("nothing changed");
      files.set(path, { mode: MODE, oid: write(edit(json)) });
    };

  test("metadata that disagree with the value", async () => {
    await forged({ ledger: meta((json) => json.replace('"size":5', '"size":6')) }, "REPLAY_MISMATCH");
    await forged({ ledger: meta((json) => json.replace(/blake3:.{8}/, "blake3:00000000")) }, "REPLAY_MISMATCH");
    await forged({ ledger: meta((json) => json.replace('"rev":1', '"rev":2')) }, "REPLAY_MISMATCH");
    await forged({ ledger: meta((json) => json.replace('"key":"cfg:x"', '"key":"user:x"')) }, "REPLAY_MISMATCH");
    await forged({ ledger: meta((json) => json.replace(",", ", ")) }, "REPLAY_MISMATCH");
    await forged({ ledger: meta((json) => json.replace('"inline"', '"outline"')) }, "REPLAY_MISMATCH");
    await forged({ ledger: (files) => files.delete(pathOf(files, "cfg%3Ax.meta")) }, "REPLAY_MISMATCH");
  });

  test("paths that are no key's own, and files no transaction would touch", async () => {
    const put = (path: string, mode = MODE): TreeForgery => ({
      ledger: (files, write) => void files.set(path, { mode, oid: write("x") }),
    });
    for (const path of [
      "data/%63fg",
      "data/cfg:z",
      "data/a~b",
      "evil",
      "meta/x",
      "data/.git%2Ehooks%zz",
      "data/cfg%01x",
      "data/%00",
      "data/%2e%2e",
    ])
      await forged(put(path), "KEY_INVALID");
    await forged(put("data/cfg%3Aexe", 0o100755), "KEY_INVALID");
    await forged(put("data/cfg%3Alink", 0o120000), "KEY_INVALID");
    await forged(put("kv.json"), "REPLAY_MISMATCH");
    await forged({ ledger: (files) => files.delete("kv.json") }, "REPLAY_MISMATCH");
    // What was there before and that the transaction does not speak of.
    await forged(
      { ledger: (files, write) => void files.set(pathOf(files, "user%3Ab"), { mode: MODE, oid: write("2!") }) },
      "REPLAY_MISMATCH",
    );
  });

  test("names that git itself would not take", async () => {
    const attempt = withTrees(arena.http, arena.http.plan({ "cfg:x": "1" }), {
      ledger: (files, write) => void files.set("data/.git", { mode: MODE, oid: write("x") }),
      text: (text) => arena.alice.signCommit(text),
    });
    const code = verdict(await arena.http.push(attempt));
    expect(code).not.toBe("ok");
    await arena.refused(attempt, code);
  });
});

describe("values the policy forbids", () => {
  const POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${"ab".repeat(32)}\nsize 1\n`;

  test("one forbidden key, and the whole transaction is refused, with key, rule and way out", async () => {
    const said = await arena.refused(
      arena.sign({ "cfg:fine": "1", "cfg:img": POINTER, "user:fine": "2" }),
      "LFS_FORBIDDEN",
    );
    expect(said).toContain('"cfg:img" is a Git LFS pointer');
    expect(said).toContain("hint: store the file itself");
    expect(await arena.refused(arena.sign({ "cfg:big": "x".repeat(1024 * 1024 + 1) }), "VALUE_TOO_LARGE")).toContain(
      "cfg:big",
    );
  });
});

describe("trailers", () => {
  async function refusedText(edit: (text: string) => string, code = "ATTESTATION_MISMATCH"): Promise<void> {
    const planned = arena.http.plan({ "cfg:x": "1" });
    await arena.refused(
      withLedger(arena.http, planned, (text) => {
        const changed = edit(text);
        if (changed === text) throw new Error("nothing changed");
        return arena.alice.signCommit(changed);
      }),
      code,
    );
  }

  test("twice, folded, in another order, in another case, left out", async () => {
    await refusedText((text) => text.replace(/KV-Seq: (\d+)\n/, "KV-Seq: $1\nKV-Seq: $1\n"));
    await refusedText((text) => text.replace(/KV-Seq: (\d+)\n/, "KV-Seq:\n $1\n"), "ATTESTATION_MISSING");
    await refusedText((text) => text.replace(/(KV-NS: .*\n)(KV-Txn: .*\n)/, "$2$1"));
    await refusedText((text) => text.replace("KV-Seq:", "kv-seq:"));
    await refusedText((text) => text.replace(/KV-Policy: .*\n/, ""));
    await refusedText((text) => text.replace(/KV-Seq: (\d+)/, "KV-Seq: 0$1"));
    await refusedText((text) => text.replace(/Keys-Del: 0/, "Keys-Del: -0"));
    for (const label of ["e1\x1b", "../e1", "e1/x", "e1.lock", "-e"])
      await refusedText((text) => text.replace("\nEpoch: e1\n", `\nEpoch: ${label}\n`));
  });

  test("look-alikes and strays: in the body, in the subject, after a second block, with a foreign letter", async () => {
    await refusedText((text) => text.replace("\n\nset cfg:x\n", "\n\nset cfg:x\n\nKV-NS: other\n"));
    await refusedText((text) => text.replace("\n\nset cfg:x\n", "\n\nKV-NS: other\n"));
    await refusedText((text) => text.replace("\n\nset cfg:x\n", "\n\nset cfg:x\n\n  kv-txn : 1\n"));
    await refusedText((text) => `${text}\nKV-NS: other\n`);
    await refusedText((text) => `${text}Signed-off-by: x <x@example.com>\n`);
    await refusedText((text) => text.replace("KV-NS: main", "KV-NS: main\nКV-NS: other"), "ATTESTATION_MISSING");
    await refusedText((text) => text.replace("KV-NS: main", "KV-NS: main "), "ATTESTATION_MISSING");
    // git's own rules come first: its fsck takes no NUL byte in a commit.
    const nul = (text: string): string => text.replace("\n\nset cfg:x\n", "\n\nset cfg:x\0\n");
    await refusedText(nul, "unpacker error");
    await refusedText((text) => text.slice(0, text.indexOf("\n\nset") + 2), "ATTESTATION_MISSING");
  });
});

test("sampled and attested policies let no forbidden key in either", async () => {
  for (const verify of ["sample:1", "attested"]) {
    const sign = (commit: string): string => arena.admin.signCommit(commit);
    const next = policyPush(arena.office, arena.policy(`, verify: "${verify}"`), undefined, sign);
    expect(verdict(await arena.office.push(next))).toBe("ok");
    await arena.refused(arena.sign({ "cfg:ok": "1", "user:no": "1" }, arena.bot), "PREFIX_NOT_ALLOWED");
    await arena.refused(arena.sign({ "cfg:ok": "1", "none:no": "1" }), "PREFIX_NOT_ALLOWED");
    await arena.refused(arena.http.plan({ "cfg:ok": "1" }), "UNSIGNED");
    expect(verdict(await arena.http.push(arena.sign({ "cfg:ok": verify })))).toBe("ok");
  }
});

test("what an attested policy takes on trust, an audit finds", async () => {
  const lie = withTrees(arena.http, arena.http.plan({ "cfg:hidden": "1" }), {
    index: (files) => files.delete(pathOf(files, "cfg%3Ahidden.ref")),
    text: (commit) => arena.alice.signCommit(commit),
  });
  expect(verdict(await arena.ssh.push(lie))).toBe("ok");
  const found: string[] = [];
  const workspace = workspaceAt(arena.stargate.dir);
  await audit(workspace, { all: true, found: ({ oid, code }) => found.push(`${oid} ${code}`), progress: () => {} });
  workspace.repo.close();
  expect(found).toEqual([`${lie.ledger} REPLAY_MISMATCH`]);
});

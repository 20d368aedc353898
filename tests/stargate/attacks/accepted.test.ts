/**
 * What gets in is sound: commits of transactions and policies are changed at random, in their headers, trailers and text, and signed by
 * somebody who may; whatever the Stargate takes of them, an audit and git itself have nothing against.
 */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { txnFields, txnLine } from "../../../src/commands/txn-facts.ts";
import { momentAt } from "../../../src/kv/at.ts";
import { audit } from "../../../src/kv/audit.ts";
import { logOf } from "../../../src/kv/log.ts";
import { SignatureReporter } from "../../../src/kv/signature-report.ts";
import { withLedger } from "../../support/forged.ts";
import { git } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { type Planned, policyPush, TestClient, TestStargate, verdict } from "../../support/stargate.ts";
import { tempDir } from "../../support/temp.ts";
import { TestKey } from "../../support/test-key.ts";
import { workspaceAt } from "../../support/workspace.ts";

setDefaultTimeout(120_000);

const rng = random("attacks/accepted");
const PUSHES = 150;

/** Bytes that mean something in a commit, to a terminal, or to a reader of numbers. */
const PIECES = [
  "\n",
  "\n\n",
  " ",
  "\t",
  "\r",
  "\0",
  "\x1b",
  "\u2028",
  "0",
  "9",
  "-",
  ":",
  "KV-NS: main\n",
  "gpgsig x\n",
  "\n x\n",
  "é",
  "KV-",
];

function mutate(text: string): string {
  const at = rng.int(text.length + 1);
  const end = Math.min(text.length, at + 1 + rng.int(3));
  const lines = text.split("\n");
  const line = rng.int(lines.length);
  switch (rng.int(7)) {
    case 0:
      return text.slice(0, at) + rng.pick(PIECES) + text.slice(at);
    case 1:
      return text.slice(0, at) + text.slice(end);
    case 2:
      return text.slice(0, at) + rng.pick(PIECES) + text.slice(end);
    case 3:
      return lines.toSpliced(line, 0, lines[line]!).join("\n");
    case 4:
      return lines.toSpliced(line, 1).join("\n");
    case 5:
      return lines.toSpliced(line, 1, rng.pick(lines)).join("\n");
    default:
      return lines.with(line, lines[line]!.toUpperCase()).join("\n");
  }
}

describe("whatever is taken passes the audit", () => {
  const alice = new TestKey("alice");
  const key = `{ key: ${JSON.stringify(alice.line)}, from: 2020-01-01 }`;
  const policy = `version: 1\nstargate: { admins: [${key}] }\nnamespaces: { main: { require_signed_commits: true, writers: [${key}] } }\n`;
  const sign = (text: string): string => alice.signCommit(text);
  let stargate: TestStargate;
  let client: TestClient;
  beforeAll(async () => {
    stargate = await TestStargate.start({ upkeep: false });
    client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token("admin")));
    expect(verdict(await client.push(policyPush(client, policy)))).toBe("ok");
  });
  afterAll(() => stargate.stop());

  /** Pushes what `forge` makes, and says how often each answer came. */
  async function pushes(
    forge: (i: number) => Pick<Planned, "commands"> & Partial<Planned>,
  ): Promise<Map<string, number>> {
    const said = new Map<string, number>();
    for (let i = 0; i < PUSHES; i++) {
      const answer = verdict(await client.push(forge(i)));
      said.set(answer, (said.get(answer) ?? 0) + 1);
    }
    return said;
  }

  async function findings(): Promise<string[]> {
    const found: string[] = [];
    const workspace = workspaceAt(stargate.dir);
    await audit(workspace, {
      all: true,
      found: ({ ns, seq, code, message }) => found.push(`${ns} ${seq} ${code}: ${message}`),
      progress: () => {},
    });
    workspace.repo.close();
    return found;
  }

  test("transactions", async () => {
    const said = await pushes((i) => {
      const planned = client.plan({ [`k${rng.int(20)}`]: `${i}` });
      if (i % 3 > 0) return withLedger(client, planned, (text) => sign(mutate(text)));
      // The kv-index commit is signed by nobody.
      const signed = alice.signed(client, planned);
      return withLedger(client, { ...signed, ledger: signed.commands[1]!.newOid }, mutate);
    });
    expect(await findings()).toEqual([]);
    expect(git(stargate.dir, "fsck", "--strict", "--no-dangling")).toBe("");
    // git reads the same signatures, and finds them good.
    const signers = path.join(tempDir("signers"), "allowed");
    fs.writeFileSync(signers, `* ${alice.line}\n`);
    const log = ["-c", `gpg.ssh.allowedSignersFile=${signers}`, "log", "--format=%G?", "refs/kv/main"];
    expect(new Set(git(stargate.dir, ...log).split("\n"))).toEqual(new Set(["G"]));
    // The text of the subject is the writer's, so some must have got in, and most must not.
    expect(said.get("ok")).toBeGreaterThan(0);
    expect(said.get("ATTESTATION_MISMATCH")).toBeGreaterThan(0);
  });

  test("whatever name, address and time they give themselves, they can be read", async () => {
    const idents = [
      "A <a@b> 999999999999999999 +0000",
      "A <a@b> 1000000000000000 -0000",
      "A <a@b> 253402300800 +9999",
      " <> 1800000000 +1400",
      "\u202e\x1b[31m\t < a b > 1800000000 -0030",
    ];
    for (const ident of idents) {
      for (const header of ["author", "committer"]) {
        const planned = client.plan({ named: `${header} ${ident}` });
        const edit = (text: string): string =>
          sign(text.replace(new RegExp(`^${header} .*$`, "m"), `${header} ${ident}`));
        expect([ident, verdict(await client.push(withLedger(client, planned, edit)))]).toEqual([ident, "ok"]);
      }
    }
    const workspace = workspaceAt(stargate.dir);
    const tip = workspace.requireState();
    const reporter = new SignatureReporter(workspace.repo);
    const lines: string[] = [];
    for (const found of logOf(workspace.repo.objects, tip, { prefix: undefined, changes: false })) {
      const { ledger } = found!;
      const report = await reporter.of(ledger);
      lines.push(txnLine(ledger, report, []));
      expect(txnFields(ledger, report)).toMatchObject({ seq: ledger.seq });
    }
    expect(lines).toHaveLength(tip.ledger.seq);
    expect(lines.some((line) => line.includes("\t@1000000000000000\t"))).toBe(true);
    const { state } = await momentAt(workspace, tip, "2027-12-31");
    expect(state.ledger.seq).toBe(tip.ledger.seq);
    workspace.repo.close();
  });

  test("policies", async () => {
    const said = await pushes((i) => policyPush(client, `${policy}# ${i}\n`, undefined, (text) => sign(mutate(text))));
    expect(verdict(await client.push(alice.signed(client, client.plan({ end: "1" }))))).toBe("ok");
    expect(await findings()).toEqual([]);
    expect(said.get("ok")).toBeGreaterThan(0);
    expect(said.get("ok")).toBeLessThan(PUSHES);
  });
});

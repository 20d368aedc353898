/**
 * What gets in is sound: a writer signs transactions whose commits were changed at random, in their headers, trailers and text; whatever the
 * Stargate takes of them, an audit and git itself have nothing against.
 */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { audit } from "../../../src/kv/audit.ts";
import { withLedger } from "../../support/forged.ts";
import { git } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { policyPush, TestClient, TestStargate, verdict } from "../../support/stargate.ts";
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

test("whatever is taken passes the audit", async () => {
  const alice = new TestKey("alice");
  const stargate = await TestStargate.start({ upkeep: false });
  const client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token("admin")));
  const key = `{ key: ${JSON.stringify(alice.line)}, from: 2020-01-01 }`;
  const policy = `version: 1\nstargate: { admins: [${key}] }\nnamespaces: { main: { require_signed_commits: true, writers: [${key}] } }\n`;
  expect(verdict(await client.push(policyPush(client, policy)))).toBe("ok");
  const said = new Map<string, number>();
  for (let i = 0; i < PUSHES; i++) {
    const planned = client.plan({ [`k${rng.int(20)}`]: `${i}` });
    const forged = withLedger(client, planned, (text) => alice.signCommit(mutate(text)));
    const answer = verdict(await client.push(forged));
    said.set(answer, (said.get(answer) ?? 0) + 1);
  }
  const findings: string[] = [];
  const workspace = workspaceAt(stargate.dir);
  await audit(workspace, {
    all: true,
    found: ({ seq, code, message }) => findings.push(`${seq} ${code}: ${message}`),
    progress: () => {},
  });
  workspace.repo.close();
  expect(findings).toEqual([]);
  expect(git(stargate.dir, "fsck", "--strict", "--no-dangling")).toBe("");
  // git reads the same signatures, and finds them good.
  const signers = path.join(tempDir("signers"), "allowed");
  fs.writeFileSync(signers, `* ${alice.line}\n`);
  const verdicts = git(
    stargate.dir,
    "-c",
    `gpg.ssh.allowedSignersFile=${signers}`,
    "log",
    "--format=%G?",
    "refs/kv/main",
  );
  expect(new Set(verdicts.split("\n"))).toEqual(new Set(["G"]));
  // The text of the subject is the writer's, so some must have got in, and most must not.
  expect(said.get("ok")).toBeGreaterThan(0);
  expect(said.get("ATTESTATION_MISMATCH")).toBeGreaterThan(0);
  await stargate.stop();
});

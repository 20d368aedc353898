/** Who may write: signatures against a policy's writers, with prefixes and dates. */

import { describe, expect, test } from "bun:test";
import { encodeCommit } from "../../src/gitwire/object/commit.ts";
import { claimProblem, judgeSignature } from "../../src/kv/judge-signature.ts";
import type { Policy } from "../../src/kv/policy.ts";
import { parsePolicy } from "../../src/kv/read-policy.ts";
import { OTHER_SIGNATURE_HEADER, SIGNATURE_HEADER, TEST_FORMAT } from "../support/test-format.ts";
import { TestKey } from "../support/test-key.ts";

const WHO = { name: "T", email: "t@example.com", seconds: 1_767_322_800, offset: 0 };
const TEXT = encodeCommit({
  tree: TEST_FORMAT.emptyTree,
  parents: [],
  author: WHO,
  committer: WHO,
  message: "x\n",
}).toString();
const NOW = Date.parse("2026-06-01T00:00:00Z");

const [alice, bot, mallory] = [new TestKey("alice"), new TestKey("ci bot"), new TestKey("mallory")];

function policyWith(rules: string): Policy {
  return parsePolicy(`version: 1\nnamespaces: { main: { ${rules} } }\n`);
}

async function judge(text: string, policy: Policy | undefined, now = NOW): Promise<string> {
  const { problem, name, limit } = await judgeSignature(TEST_FORMAT, Buffer.from(text), policy, "main", now);
  if (problem !== undefined) return problem.code;
  return `${name ?? "nobody"}${limit === undefined ? "" : ` under ${limit.prefixes.join(" ")}`}`;
}

describe("where signatures are required", () => {
  const writers = [
    JSON.stringify(alice.line),
    `{ key: ${JSON.stringify(bot.line)}, prefixes: ["cfg:", "é"], until: 2027-01-01 }`,
    // A key that cannot be read keeps nobody else out.
    "ssh-ed25519 AAAA broken",
  ];
  const policy = policyWith(`require_signed_commits: true, writers: [${writers.join(", ")}]`);

  test("a listed key may write, with its prefixes as bytes", async () => {
    expect(await judge(alice.signCommit(TEXT), policy)).toBe("alice");
    expect(await judge(bot.signCommit(TEXT), policy)).toBe("ci bot under cfg: Ã©");
  });

  test("to the last millisecond of its time, by the time of receipt", async () => {
    const end = Date.parse("2027-01-01");
    expect(await judge(bot.signCommit(TEXT), policy, end - 1)).toStartWith("ci bot");
    expect(await judge(bot.signCommit(TEXT), policy, end)).toBe("SIGNER_NOT_ALLOWED");
  });

  test("nobody else, and nothing that is no signature of this commit", async () => {
    expect(await judge(TEXT, policy)).toBe("UNSIGNED");
    expect(await judge(mallory.signCommit(TEXT), policy)).toBe("SIGNER_NOT_ALLOWED");
    expect(await judge(alice.signCommit(TEXT).replace("\n\nx", "\n\ny"), policy)).toBe("BAD_SIGNATURE");
    expect(await judge(alice.signCommit(TEXT, SIGNATURE_HEADER, { namespace: "file" }), policy)).toBe("BAD_SIGNATURE");
    expect(await judge(alice.signCommit(TEXT, OTHER_SIGNATURE_HEADER), policy)).toBe("BAD_SIGNATURE");
  });

  test("without writers there is nobody who may", async () => {
    expect(await judge(alice.signCommit(TEXT), policyWith("require_signed_commits: true"))).toBe("SIGNER_NOT_ALLOWED");
  });

  test("a key that is listed twice may do what either line allows", async () => {
    const line = JSON.stringify(bot.line);
    const both = (more: string): Policy =>
      policyWith(
        `require_signed_commits: true, writers: [{ key: ${line}, prefixes: ["a"], until: 2020-01-01 }, ${more}]`,
      );
    expect(await judge(bot.signCommit(TEXT), both(line))).toBe("ci bot");
    expect(await judge(bot.signCommit(TEXT), both(`{ key: ${line}, prefixes: ["b"] }`))).toBe("ci bot under b");
    expect(await judge(bot.signCommit(TEXT), both(`{ key: ${line}, until: 2021-01-01 }`))).toBe("SIGNER_NOT_ALLOWED");
  });
});

describe("what an audit will say, by the time that the commit claims", () => {
  const listed = (...terms: string[]): Policy =>
    policyWith(
      `require_signed_commits: true, writers: [${terms.map((more) => `{ key: ${JSON.stringify(bot.line)}, ${more} }`).join(", ")}]`,
    );
  async function ask(policy: Policy): Promise<string> {
    const data = Buffer.from(bot.signCommit(TEXT));
    const judged = await judgeSignature(TEST_FORMAT, data, policy, "main", NOW);
    expect(judged.problem).toBeUndefined();
    const problem = await claimProblem(TEST_FORMAT, data, policy, "main", { ...judged, signer: judged.signer! });
    return problem === undefined ? "nothing" : `${problem.code}: ${problem.message}`;
  }

  test("nothing, where the key could write then as it can now", async () => {
    expect(await ask(listed('prefixes: ["a"]'))).toBe("nothing");
    expect(await ask(listed("from: 2026-01-01"))).toBe("nothing");
  });

  test("that it could not, or could write other keys", async () => {
    const then = ", and the commit says it is from 2026-01-02T03:00:00Z";
    expect(await ask(listed("from: 2026-02-01"))).toBe(
      `SIGNER_NOT_ALLOWED: ci bot can write from 2026-02-01T00:00:00.000Z on${then}`,
    );
    expect(await ask(listed('prefixes: ["a"], until: 2026-02-01', 'prefixes: ["b"], from: 2026-02-01'))).toBe(
      `PREFIX_NOT_ALLOWED: ci bot has other prefixes now${then}`,
    );
  });
});

describe("where they are not", () => {
  test("an unsigned commit passes, and a signature that is there must be good", async () => {
    for (const policy of [undefined, policyWith(""), policyWith("verify: replay")]) {
      expect(await judge(TEXT, policy)).toBe("nobody");
      expect(await judge(mallory.signCommit(TEXT), policy)).toBe("nobody");
      expect(await judge(alice.signCommit(TEXT).replace("\n\nx", "\n\ny"), policy)).toBe("BAD_SIGNATURE");
    }
  });

  test("and by a writer, where writers are listed", async () => {
    const policy = policyWith(`writers: [${JSON.stringify(alice.line)}]`);
    expect(await judge(TEXT, policy)).toBe("nobody");
    expect(await judge(alice.signCommit(TEXT), policy)).toBe("alice");
    expect(await judge(mallory.signCommit(TEXT), policy)).toBe("SIGNER_NOT_ALLOWED");
  });
});

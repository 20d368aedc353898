/** The policy file: what it says, and that every mistake in it is found at once, with its line. */

import { describe, expect, test } from "bun:test";
import type { KvError } from "../../src/errors.ts";
import { encodeCommit } from "../../src/gitwire/object/commit.ts";
import { encodeTree, MODE } from "../../src/gitwire/object/tree.ts";
import { namespacePolicy } from "../../src/kv/policy.ts";
import { parsePolicy, policyAt } from "../../src/kv/read-policy.ts";
import { MemoryObjects } from "../support/memory-objects.ts";

/** The example of the documentation, whole. */
const FULL = `version: 1
stargate:
  push_url: ssh://git@stargate.local/org/kv.git
  read_url: https://stargate.local/org/kv.git
  require_mirror_ack_by_default: false
  admins: ["ssh-ed25519 AAAAC3Nz alice"]
mirror:
  publish_branch: true
namespaces:
  "*":
    verify: attested
  main:
    require_signed_commits: true
    verify: sample:32
    max_value_inline: 64KiB
    max_value_total: 100MiB
    max_keys_per_txn: 500
    chunking: { mode: fastcdc, min: 64KiB, avg: 256KiB, max: 1MiB }
    allowed_prefixes: ["cfg:", "user:"]
    writers:
      - "ssh-ed25519 AAAAC3Nz james"
      - { key: "ssh-ed25519 AAAAC3Nz ci-bot", prefixes: ["cfg:"], until: 2027-01-01 }
      - { pgp: "-----BEGIN PGP PUBLIC KEY BLOCK-----\\n..." }
    readers: []
    forbidden: [{ lfs: true }]
    retention: { ttl_default: 365d, enforce_readside: true }
`;

/** Every problem of `text`, as `line: path: message`. */
function problems(text: string): string[] {
  try {
    parsePolicy(text, "p");
  } catch (error) {
    expect((error as KvError).code).toBe("CONFIG");
    return (error as KvError).message.split("\n").map((line) => line.replace(/^p:/, ""));
  }
  return [];
}

describe("policy", () => {
  test("the whole schema", () => {
    const policy = parsePolicy(FULL);
    expect(policy.pushUrl).toBe("ssh://git@stargate.local/org/kv.git");
    expect(policy.readUrl).toBe("https://stargate.local/org/kv.git");
    expect(policy.publishBranch).toBe(true);
    expect(policy.mirrorAckByDefault).toBe(false);
    expect(namespacePolicy(policy, "main")).toEqual({
      requireSignedCommits: true,
      verify: { kind: "sample", keys: 32 },
      maxValueInline: 65_536,
      maxValueTotal: 100 * 1024 ** 2,
      maxKeysPerTxn: 500,
      allowedPrefixes: ["cfg:", "user:"],
      forbidLfs: true,
      chunking: { mode: "fastcdc", min: 65_536, avg: 262_144, max: 1_048_576 },
      ttlDefault: 365 * 86_400,
      enforceReadside: true,
    });
  });

  test("a namespace that is not named has what '*' says, and without that the defaults", () => {
    expect(namespacePolicy(parsePolicy(FULL), "other").verify).toEqual({ kind: "attested" });
    const plain = {
      requireSignedCommits: false,
      verify: { kind: "replay" },
      maxValueInline: 1024 ** 2,
      maxValueTotal: undefined,
      maxKeysPerTxn: 100_000,
      allowedPrefixes: undefined,
      forbidLfs: false,
      chunking: undefined,
      ttlDefault: undefined,
      enforceReadside: true,
    } as const;
    expect(namespacePolicy(parsePolicy("version: 1\n"), "main")).toEqual(plain);
    expect(namespacePolicy(undefined, "main")).toEqual(plain);
    // Not a namespace of the file, though an object has it.
    expect(namespacePolicy(parsePolicy("version: 1\nnamespaces: {main: {}}\n"), "constructor")).toEqual(plain);
  });

  test("every problem at once, each with its line and path", () => {
    const text = `version: 2
stargate:
  push_ur: x
  admins: ["nope"]
namespaces:
  MAIN: {}
  main:
    verify: sometimes
    max_value_inline: 3 apples
    max_keys_per_txn: 0
    chunking: { mode: fastcdc, min: 10KiB, max: 1KiB }
    writers:
      - { key: 12 }
    retention: { ttl_default: soon }
`;
    const found = problems(text);
    expect(found).toContain("1: version: must be 1");
    expect(found).toContain("3: stargate.push_ur: unknown key; did you mean 'push_url'?");
    expect(found).toContain(
      "4: stargate.admins.0: must be an SSH public key: its type, its base64 and a comment, as in the .pub file",
    );
    expect(found).toContain("6: namespaces.MAIN: is no namespace name (nor '*')");
    expect(found).toContain("8: namespaces.main.verify: must be replay, sample:N or attested");
    expect(found).toContain("9: namespaces.main.max_value_inline: must be a size like 64KiB, 1MiB or 10MB");
    expect(found).toContain("10: namespaces.main.max_keys_per_txn: must be 1 or more");
    expect(found).toContain("11: namespaces.main.chunking: needs an avg (262144) that is not larger than max (1024)");
    expect(found.some((line) => line.startsWith("13: namespaces.main.writers.0"))).toBe(true);
    expect(found.some((line) => line.startsWith("14: namespaces.main.retention.ttl_default"))).toBe(true);
    expect(found).toHaveLength(10);
  });

  test("files that are no policy", () => {
    expect(problems("")).toEqual(["1: version: is missing"]);
    expect(problems("[1, 2]")).not.toEqual([]);
    expect(problems("version: 1\nversion: 1\n")[0]).toMatch(/^2: .*unique/);
    expect(problems("a: [\n")).not.toEqual([]);
    expect(problems("version: 1\nx: &a [1]\ny: *a\n")).toEqual(["3: aliases (*name) are not taken"]);
    expect(problems(`version: 1\n# ${"x".repeat(1_100_000)}\n`)[0]).toContain("larger than");
  });

  test("a line cut anywhere gives a policy or problems, never anything else", () => {
    for (let end = 0; end < FULL.length; end++) problems(FULL.slice(0, end));
  });
});

describe("policy commits", () => {
  const who = { name: "A", email: "a@b", seconds: 1, offset: 0 };
  function commit(entries: readonly { mode: number; name: string; text: string }[]): {
    objects: MemoryObjects;
    oid: string;
  } {
    const objects = new MemoryObjects();
    const tree = entries.map(({ mode, name, text }) => ({ mode, name, oid: objects.write("blob", Buffer.from(text)) }));
    const data = {
      tree: objects.write("tree", encodeTree(objects.format, tree)),
      parents: [],
      author: who,
      committer: who,
      message: "x\n",
    };
    return { objects, oid: objects.write("commit", encodeCommit(data)) };
  }
  const codeOf = (entries: Parameters<typeof commit>[0]): string => {
    const { objects, oid } = commit(entries);
    try {
      policyAt(objects, oid);
      return "ok";
    } catch (error) {
      return (error as KvError).code;
    }
  };

  test("hold the one file policy.yaml", () => {
    expect(codeOf([{ mode: MODE.file, name: "policy.yaml", text: FULL }])).toBe("ok");
    expect(codeOf([])).toBe("POLICY_UNTRUSTED");
    expect(codeOf([{ mode: MODE.executable, name: "policy.yaml", text: FULL }])).toBe("POLICY_UNTRUSTED");
    expect(codeOf([{ mode: MODE.file, name: "policy.yml", text: FULL }])).toBe("POLICY_UNTRUSTED");
    const two = ["policy.yaml", "z"].map((name) => ({ mode: MODE.file, name, text: FULL }));
    expect(codeOf(two)).toBe("POLICY_UNTRUSTED");
    expect(codeOf([{ mode: MODE.file, name: "policy.yaml", text: "version: 3\n" }])).toBe("CONFIG");
  });
});

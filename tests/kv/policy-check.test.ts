/** What is wrong with a policy beyond its schema; the JSON Schema; a dry run. */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { utf8ToByteString } from "../../src/bytes.ts";
import type { Signer } from "../../src/gitwire/object/commit-signature.ts";
import { parseSshKeyLine, sshFingerprint } from "../../src/gitwire/object/ssh-key.ts";
import { beginDryRun, type Wish } from "../../src/kv/dry-run.ts";
import type { Policy } from "../../src/kv/policy.ts";
import { policyProblems } from "../../src/kv/policy-check.ts";
import { policyJsonSchema } from "../../src/kv/policy-json-schema.ts";
import { adminsOf, writersOf } from "../../src/kv/policy-keys.ts";
import { policyWarnings } from "../../src/kv/policy-warnings.ts";
import { parsePolicy } from "../../src/kv/read-policy.ts";
import { openYaml } from "../../src/yaml-file.ts";
import { newGpg, run } from "../support/signing.ts";
import { tempDir } from "../support/temp.ts";
import { TestKey } from "../support/test-key.ts";

const [alice, bob] = [new TestKey("alice"), new TestKey("bob")];
const quoted = (key: TestKey): string => JSON.stringify(key.line);

async function problems(text: string): Promise<string[]> {
  return (await policyProblems(text)).map(({ path: where, line, message }) => `${line}: ${where}: ${message}`);
}

describe("what is wrong with a policy", () => {
  test("all of it at once, by line", async () => {
    const found = await problems(`version: 1
verson: 2
stargate:
  push_url: x
  push_url: y
groups:
  team:
    - ${quoted(alice)}
    - { key: ${quoted(alice)} }
    - "ssh-ed25519 AAAA cut short"
namespaces:
  a..b: {}
  main:
    require_signed_commits: true
    max_value_inline: 2MiB
    max_value_total: 1MiB
    allowed_prefixes: ["cfg:", "user:"]
    writers:
      - { group: taem }
      - { key: ${quoted(bob)}, prefixes: ["cfg:a", "c", "secret:"] }
      - { key: ${quoted(alice)}, from: 2027-01-01, until: 2026-01-01 }
      - { key: ${quoted(bob)}, untill: 2026-01-01 }
      - { pgp: "-----BEGIN PGP PUBLIC KEY BLOCK-----\\nnothing" }
    chunking: { mode: fastcdc, min: 2KiB, avg: 1KiB }
`);
    expect(found).toEqual([
      "2: verson: unknown key; did you mean 'version'?",
      "5: : a key is there twice: keys of a map must be unique",
      "9: groups.team.1: is the key of groups.team.0 again",
      expect.stringMatching(/^10: groups\.team\.2: /),
      "12: namespaces.a..b: is no namespace name: a ref cannot be called so",
      expect.stringMatching(/^14: namespaces\.main\.require_signed_commits: needs stargate\.admins/),
      "16: namespaces.main.max_value_total: is smaller than max_value_inline",
      "19: namespaces.main.writers.0.group: there is no group 'taem'",
      "20: namespaces.main.writers.1.prefixes.2: 'secret:' is outside allowed_prefixes (cfg:, user:)",
      "21: namespaces.main.writers.2.until: is not after 'from'",
      "22: namespaces.main.writers.3.untill: unknown key; did you mean 'until'?",
      "22: namespaces.main.writers.3: is the key of namespaces.main.writers.1 again",
      expect.stringMatching(/^23: namespaces\.main\.writers\.4\.pgp: /),
      "24: namespaces.main.chunking: needs a min (2048) that is not larger than avg (1024)",
    ]);
  });

  test("keys that are written in two ways and are one", async () => {
    const found = await problems("version: 1\ngroups:\n  1: []\n  0x1: []\n  '1': []\n");
    const twice = "a key is there twice: keys of a map must be unique";
    expect(found).toEqual([`4: : ${twice}`, `5: : ${twice}`]);
  });

  test("admins that are nobody: the policy could never be changed again", async () => {
    const text = (members: string): string =>
      `version: 1\nstargate: { admins: [{ group: one }, { group: two }] }\ngroups: { one: [], two: [${members}] }\n`;
    expect(await problems(text(""))).toEqual([
      "2: stargate.admins: are groups without members: nobody could change this policy any more",
    ]);
    expect(await problems(text(quoted(alice)))).toEqual([]);
  });

  test("YAML that could stand for more than it says is not taken", () => {
    const broken = (text: string): string => {
      const opened = openYaml(text);
      return opened.kind === "broken" ? opened.problems[0]!.message : "read";
    };
    expect(broken("a: &x [1]\nb: [*x, *x]\n")).toBe("aliases (*name) are not taken");
    expect(broken("a: !!js/function 'x'\n")).toContain("tag");
    expect(broken("a: !custom x\n")).toContain("tag");
    expect(broken("a: 1\n---\nb: 2\n")).toContain("document");
    expect(broken("[".repeat(100_000))).not.toBe("read");
    expect(broken(`a: ${"[".repeat(20_000)}${"]".repeat(20_000)}\n`)).not.toBe("read");
    // A merge key is a key like any other, and no schema has it.
    expect(openYaml("<<: { version: 1 }\n")).toMatchObject({ kind: "read", raw: { "<<": { version: 1 } } });
  });

  test("a sound policy has none, with keys of every kind", async () => {
    const gpg = newGpg();
    gpg.stop();
    const text = `version: 1
stargate: { admins: [{ group: ops }, { pgp: ${JSON.stringify(gpg.armored)} }] }
groups:
  ops: [${quoted(alice)}]
namespaces:
  "*": {}
  main: { require_signed_commits: true, writers: [{ group: ops, until: 2030-01-01T12:30:00+02:00 }], readers: [${quoted(bob)}] }
`;
    expect(await problems(text)).toEqual([]);
    const policy = parsePolicy(text);
    expect((await adminsOf(policy)).map(({ name }) => name)).toEqual([
      "alice",
      "Test Committer <committer@example.com>",
    ]);
    expect((await writersOf(policy, "main"))[0]).toMatchObject({
      name: "alice",
      until: Date.parse("2030-01-01T10:30:00Z"),
      rule: "namespaces.main.writers[0] (groups.ops[0])",
    });
  });

  test("members of a group are held to its terms and to those of the line that names it", async () => {
    const member = `{ key: ${quoted(alice)}, prefixes: ["a:", "b:x"], from: 2026-01-01, until: 2028-01-01 }`;
    const entry = `{ group: team, prefixes: ["a:1", "b:", "c"], from: 2025-01-01, until: 2027-01-01 }`;
    const policy = parsePolicy(
      `version: 1\ngroups: { team: [${member}] }\nnamespaces: { main: { writers: [${entry}] } }\n`,
    );
    expect(await writersOf(policy, "main")).toMatchObject([
      { prefixes: ["a:1", "b:x"], from: Date.parse("2026-01-01"), until: Date.parse("2027-01-01") },
    ]);
  });
});

test("what a sound policy may say without meaning it", async () => {
  const now = Date.parse("2026-06-01");
  const warnings = async (namespaces: string, admin = quoted(alice)): Promise<readonly string[]> =>
    policyWarnings(parsePolicy(`version: 1\nstargate: { admins: [${admin}] }\nnamespaces: ${namespaces}\n`), now);
  const main = `main: { require_signed_commits: true, writers: [${quoted(bob)}] }`;
  const open = "signatures are required in 'main' only: whoever may push can begin another one, unsigned";
  expect(await warnings(`{ ${main} }`)).toEqual([expect.stringContaining(open)]);
  expect(await warnings(`{ ${main}, "*": { verify: replay } }`)).toEqual([expect.stringContaining(open)]);
  expect(await warnings(`{ ${main}, "*": { require_signed_commits: true, writers: [${quoted(alice)}] } }`)).toEqual([]);
  expect(await warnings("{ main: {} }")).toEqual([]);
  const addresses = async (push: string, read = "https://example.com/x"): Promise<readonly string[]> =>
    policyWarnings(parsePolicy(`version: 1\nstargate: { push_url: "${push}", read_url: "${read}" }\n`), now);
  for (const good of ["https://h/x", "ssh://git@h/x", "h:x", "/srv/x", "~/x", "file:///srv/x"])
    expect([good, await addresses(good)]).toEqual([good, []]);
  for (const bad of ["ftp://h/x", "http://", "nonsense", "ssh://-x/y", "ext::sh"])
    expect([bad, await addresses(bad, bad)]).toEqual([
      bad,
      [expect.stringContaining("stargate.push_url: "), expect.stringContaining("stargate.read_url: ")],
    ]);
  const closed = '"*": { require_signed_commits: true }';
  expect(await warnings(`{ ${closed} }`)).toEqual([]);
  expect(await warnings(`{ main: { require_signed_commits: true }, ${closed} }`)).toEqual([
    "nobody may write in 'main': no writer's time is now",
  ]);
  expect(await warnings("{}", `{ key: ${quoted(alice)}, until: 2026-01-01 }`)).toEqual([
    "no admin's time is now: while that is so, nobody can change this policy",
  ]);
});

describe("the JSON Schema", () => {
  /** Where each document breaks the schema, as python's jsonschema has it. */
  const judge = (documents: readonly unknown[]): string[][] => {
    const file = path.join(tempDir("schema"), "input.json");
    fs.writeFileSync(file, JSON.stringify({ schema: policyJsonSchema(), documents }));
    const program = `import json,jsonschema
given=json.load(open("${file}")); schema=given["schema"]
kind=jsonschema.validators.validator_for(schema); kind.check_schema(schema)
where=lambda error: ".".join(str(part) for part in error.absolute_path)
print(json.dumps([sorted({where(e) for e in kind(schema).iter_errors(one)}) for one in given["documents"]]))`;
    return JSON.parse(run("python3", ["-c", program]));
  };

  test("is one, and agrees with the schema it is made from", async () => {
    const good = {
      version: 1,
      stargate: { push_url: "https://x/kv.git", admins: [alice.line, { group: "ops", until: "2030-01-01" }] },
      mirror: { publish_branch: true },
      groups: { ops: [{ key: bob.line, prefixes: ["a"] }] },
      namespaces: {
        "*": { verify: "sample:3" },
        main: {
          require_signed_commits: true,
          max_value_inline: 4096,
          max_value_total: "10MB",
          chunking: { mode: "fixed", size: "256KiB" },
          writers: [alice.line, { key: bob.line, from: "2026-01-01T00:00:00Z" }],
          forbidden: [{ lfs: true }],
          retention: { ttl_default: "30d", enforce_readside: false },
        },
      },
    };
    const changes = [
      [{}, []],
      [{ version: 2 }, ["version"]],
      [{ extra: 1 }, [""]],
      [{ mirror: { publish_branch: "yes" } }, ["mirror.publish_branch"]],
      [{ namespaces: { main: { verify: "sample:0" } } }, ["namespaces.main.verify"]],
      [{ namespaces: { main: { max_keys_per_txn: 1.5 } } }, ["namespaces.main.max_keys_per_txn"]],
      [{ namespaces: { main: { writers: [{ key: alice.line, pgp: "x" }] } } }, ["namespaces.main.writers.0"]],
      [{ namespaces: { main: { retention: { ttl_default: 30 } } } }, ["namespaces.main.retention.ttl_default"]],
    ] as const;
    const documents = changes.map(([change]) => ({ ...good, ...change }));
    expect(judge(documents)).toEqual(changes.map(([, where]) => [...where]));
    for (const [at, document] of documents.entries()) {
      expect((await policyProblems(JSON.stringify(document))).length === 0).toBe(at === 0);
    }
  });
});

describe("a dry run", () => {
  const NOW = Date.parse("2026-06-01");
  const policy = parsePolicy(`version: 1
groups: { bots: [{ key: ${quoted(bob)}, until: 2027-01-01 }] }
namespaces:
  main:
    require_signed_commits: true
    max_value_inline: 10B
    max_value_total: 20B
    max_keys_per_txn: 3
    allowed_prefixes: ["cfg:", "user:"]
    writers: [${quoted(alice)}, { group: bots, prefixes: ["cfg:"] }]
    forbidden: [{ lfs: true }]
  open: {}
`);
  const signer = (key: TestKey): Signer => {
    const { blob, type } = parseSshKeyLine(key.line);
    return { kind: "ssh", type, blob: blob.toString("base64"), fingerprint: sshFingerprint(blob) };
  };
  const wish = (key: string, size = 1, op: Wish["op"] = "set"): Wish => {
    const data = size > 10 ? undefined : Buffer.alloc(size);
    return { op, key: utf8ToByteString(key), ...(op === "set" && { value: { size, data } }) };
  };
  const judge = async (who: Signer | undefined, one: Wish, ns = "main", now = NOW, by: Policy = policy) => {
    const { rule, refusal } = (await beginDryRun(by, ns, who, now)).judge(one);
    return refusal === undefined ? rule : `${refusal.code} by ${rule}`;
  };

  test("names the rule that decides", async () => {
    expect(await judge(signer(alice), wish("user:x"))).toBe("namespaces.main.writers[0] (alice)");
    expect(await judge(signer(bob), wish("cfg:x"))).toBe(
      'namespaces.main.writers[1] (groups.bots[0]) (bob), prefix "cfg:"',
    );
    expect(await judge(signer(bob), wish("user:x"))).toBe(
      "PREFIX_NOT_ALLOWED by namespaces.main.writers[1] (groups.bots[0])",
    );
    expect(await judge(signer(alice), wish("other", 1, "del"))).toBe(
      "PREFIX_NOT_ALLOWED by namespaces.main.allowed_prefixes",
    );
    expect(await judge(signer(alice), wish("cfg:x", 15))).toBe("namespaces.main.writers[0] (alice)");
    expect(await judge(signer(alice), wish("cfg:x", 21))).toBe("VALUE_TOO_LARGE by namespaces.main.max_value_total");
    expect(await judge(undefined, wish("cfg:x"))).toBe("UNSIGNED by namespaces.main.require_signed_commits");
    expect(await judge(signer(new TestKey("m")), wish("cfg:x"))).toBe("SIGNER_NOT_ALLOWED by namespaces.main.writers");
    expect(await judge(signer(bob), wish("cfg:x"), "main", Date.parse("2027-01-01"))).toBe(
      "SIGNER_NOT_ALLOWED by namespaces.main.writers[1] (groups.bots[0])",
    );
    expect(await judge(undefined, wish("cfg:x"), "open")).toBe("namespaces.open: signatures are not required");
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 1\n`;
    const lfs = { op: "set", key: utf8ToByteString("cfg:x"), value: { size: 9, data: Buffer.from(pointer) } } as const;
    const wide = parsePolicy("version: 1\nnamespaces: { main: { forbidden: [{ lfs: true }] } }\n");
    expect(await judge(undefined, lfs, "main", NOW, wide)).toBe(
      "LFS_FORBIDDEN by namespaces.*.forbidden".replace("*", "main"),
    );
  });

  test("counts the keys that change", async () => {
    const begun = await beginDryRun(policy, "main", signer(alice), NOW);
    for (const op of ["set", "set", "del", "check"] as const) begun.judge(wish("cfg:x", 1, op));
    expect(begun.finish()).toBeUndefined();
    begun.judge(wish("cfg:y"));
    expect(begun.finish()).toMatchObject({
      rule: "namespaces.main.max_keys_per_txn",
      refusal: { code: "TXN_TOO_LARGE" },
    });
  });
});

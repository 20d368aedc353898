/** Policies as they were read, written down: the same for whoever asks, and nothing for what does not fit. */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { decodePolicy, encodePolicy, savePolicy } from "../../src/kv/policy-cache.ts";
import { parsePolicy } from "../../src/kv/read-policy.ts";
import { type Random, random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";
import { TestKey } from "../support/test-key.ts";

const OID = "0123456789012345678901234567890123456789";
const keys = ["alice", "bob \u2028 \u00e9\u{1f511}", "__proto__"].map((name) => new TestKey(name).line);

function policyText(from: Random): string {
  const key = (): string => JSON.stringify(from.pick(keys));
  const maybe = (text: string): string[] => (from.int(2) === 0 ? [text] : []);
  const list = (make: () => string, most: number): string =>
    `[${Array.from({ length: from.int(most + 1) }, make).join(", ")}]`;
  const terms = (): string =>
    [
      ...maybe(`prefixes: ${list(() => from.pick(['"a:"', '"\\ud83d\\ude00"', '"b"', '"\\u0007"']), 3)}`),
      ...maybe(`from: 20${10 + from.int(20)}-02-03`),
      ...maybe(`until: 2${100 + from.int(800)}-01-01T12:00:00Z`),
    ]
      .map((term) => `, ${term}`)
      .join("");
  const writer = (): string => from.pick([key, () => `{ key: ${key()}${terms()} }`, () => `{ group: g${terms()} }`])();
  const rules = (): string =>
    [
      ...maybe(`require_signed_commits: ${from.pick(["true", "false"])}`),
      ...maybe(`verify: ${from.pick(["replay", "attested", "sample:32"])}`),
      ...maybe(`max_value_inline: ${from.pick(["1", "64KiB", "10MB"])}`),
      ...maybe(`max_value_total: ${from.pick(["100MiB", "1TiB"])}`),
      ...maybe(`max_keys_per_txn: ${1 + from.int(1e6)}`),
      ...maybe(`chunking: ${from.pick(["{ mode: fixed, size: 1MiB }", "{ mode: fastcdc, avg: 128KiB }"])}`),
      ...maybe(`allowed_prefixes: ${list(() => '"x:"', 2)}`),
      ...maybe(`writers: ${list(writer, 4)}`),
      ...maybe(`readers: ${list(key, 2)}`),
      ...maybe(`forbidden: [{ lfs: true }]`),
      ...maybe(`retention: { ttl_default: ${from.pick(["90s", "30d"])}, enforce_readside: false }`),
    ].join(", ");
  return `version: 1
stargate: { admins: ${list(key, 2)}, push_url: "http://h/${from.int(9)}", require_mirror_ack_by_default: ${from.int(2) === 0} }
mirror: { publish_branch: ${from.int(2) === 0} }
groups: { g: ${list(key, 3)} }
namespaces: { "*": { ${rules()} }, main: { ${rules()} }, constructor: { ${rules()} } }
`;
}

describe("a policy that was written down", () => {
  test("is the policy that was read", () => {
    const from = random("policy-cache");
    for (let i = 0; i < 200; i++) {
      const policy = parsePolicy(policyText(from));
      expect(decodePolicy(encodePolicy(policy, OID, "b1"), OID, "b1")).toEqual(policy);
    }
  });

  test("is none of another commit or program, nor one that was damaged", () => {
    const policy = parsePolicy(`version: 1\nnamespaces: { main: { writers: [${JSON.stringify(keys[0])}] } }\n`);
    const text = encodePolicy(policy, OID, "b1");
    expect(decodePolicy(text, OID, "b1")).toEqual(policy);
    expect(decodePolicy(text, OID.replace("0", "f"), "b1")).toBeUndefined();
    expect(decodePolicy(text, OID, "b2")).toBeUndefined();
    for (let at = 0; at < text.length; at++) {
      expect(decodePolicy(text.slice(0, at), OID, "b1")).toBeUndefined();
      const other = text[at] === "1" ? "2" : "1";
      expect(decodePolicy(text.slice(0, at) + other + text.slice(at + 1), OID, "b1")).toBeUndefined();
    }
    expect(decodePolicy("", OID, "b1")).toBeUndefined();
  });
});

test("a folder that is full loses its oldest policy, and one process makes room once", () => {
  const folder = path.join(tempDir("policies"), "p");
  const oid = (n: number): string => n.toString(16).padStart(40, "0");
  for (let i = 0; i < 64; i++) {
    savePolicy(folder, oid(i), "text");
    // The third is the oldest.
    fs.utimesSync(path.join(folder, oid(i)), 0, i === 2 ? 1000 : 2000 + i);
  }
  savePolicy(folder, oid(0), "anew");
  expect(fs.readdirSync(folder)).toHaveLength(64);
  for (let i = 64; i < 200; i++) savePolicy(folder, oid(i), "text");
  const kept = Array.from({ length: 65 }, (_, i) => oid(i)).filter((name) => name !== oid(2));
  expect(fs.readdirSync(folder).sort()).toEqual(kept);
  expect(fs.readFileSync(path.join(folder, oid(0)), "utf8")).toBe("anew");
  savePolicy(folder, oid(1), "anew");
  expect(fs.readFileSync(path.join(folder, oid(1)), "utf8")).toBe("anew");
});

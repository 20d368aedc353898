/** docs/policy.md: its example is a sound policy, and every key of the schema is explained. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { policyProblems } from "../../src/kv/policy-check.ts";
import { policyJsonSchema } from "../../src/kv/policy-json-schema.ts";

const page = fs.readFileSync(path.join(import.meta.dir, "../../docs/policy.md"), "utf8");
const [, example] = /```yaml\n(.*?)```/s.exec(page)!;

test("the example is a sound policy", async () => {
  expect(await policyProblems(example!)).toEqual([]);
});

/** Names of all keys below a part of the JSON Schema. */
function keysOf(part: unknown): string[] {
  if (typeof part !== "object" || part === null) return [];
  const { properties = {} } = part as { properties?: object };
  return [...Object.keys(properties), ...Object.values(part).flatMap(keysOf)].filter((name) => name !== "type");
}

test("every key of the schema stands in the example and in the text", () => {
  const keys = [...new Set(keysOf(policyJsonSchema()))];
  expect(keys).toContain("require_signed_commits");
  const text = page.replace(example!, "");
  // The example shows one of the two ways to cut, and no OpenPGP key.
  const shown = keys.filter((name) => !["size", "pgp"].includes(name));
  expect(shown.filter((name) => !new RegExp(`\\b${name}:`).test(example!))).toEqual([]);
  expect(keys.filter((name) => !new RegExp(`[\`.]${name}[\`.]`).test(text))).toEqual([]);
});

/** `git kv policy schema`: the JSON Schema of the policy file. */

import type { Context } from "../cli/context.ts";
import { policyJsonSchema } from "../kv/policy-json-schema.ts";

export function run({ out }: Context): void {
  const schema = policyJsonSchema();
  if (out.json) out.record(schema);
  else out.answer(`${JSON.stringify(schema, undefined, 2)}\n`);
}

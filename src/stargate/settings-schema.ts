/** The schema of `stargate.yaml`, the settings of one repository's Stargate (docs/stargate.md). */

import * as v from "valibot";
import { parseDuration, parseSize } from "../quantity.ts";

const text = v.pipe(v.string("must be text"), v.minLength(1, "must not be empty"));
const count = v.pipe(
  v.number("must be a number"),
  v.integer("must be a whole number"),
  v.minValue(0, "must be 0 or more"),
);

/** Text like `10s`; the result is milliseconds. */
const duration = v.pipe(
  v.string("must be a duration like 10s"),
  v.rawTransform<string, number>(({ dataset, addIssue, NEVER }) => {
    try {
      return parseDuration(dataset.value) * 1000;
    } catch {
      addIssue({ message: "must be a duration like 10s or 2m" });
      return NEVER;
    }
  }),
);

/** Text like `1MB`, or a number of bytes. */
const size = v.pipe(
  v.union([v.string(), v.number()], "must be a size like 500MB"),
  v.rawTransform<string | number, number>(({ dataset, addIssue, NEVER }) => {
    try {
      const bytes = parseSize(String(dataset.value));
      if (bytes > 0) return bytes;
    } catch {}
    addIssue({ message: "must be a size like 500MB or 1GiB" });
    return NEVER;
  }),
);

const hookName = v.pipe(
  v.string("must be text"),
  v.regex(/^[a-z0-9][a-z0-9_.-]{0,39}$/, "must be at most 40 of a-z, 0-9, '.', '_' and '-'"),
);

/** An address that may be posted to: what is secret belongs into a file or the environment, not into it. */
const address = v.pipe(
  v.string("must be an address"),
  v.check((text) => {
    const url = URL.parse(text);
    return url !== null && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "";
  }, "must be an http or https address without a password"),
);

const hookParts = {
  name: hookName,
  namespaces: v.optional(v.array(text, "must be a list of namespaces")),
  batch: v.optional(duration),
};

const webhook = v.union(
  [
    v.strictObject({
      ...hookParts,
      type: v.optional(v.literal("post")),
      url: address,
      secret_file: v.optional(text),
      secret_env: v.optional(text),
    }),
    v.strictObject({
      ...hookParts,
      type: v.literal("github"),
      repository: v.pipe(v.string("must be owner/name"), v.regex(/^[\w.-]+\/[\w.-]+$/, "must be owner/name")),
      api_url: v.optional(address),
      event_type: v.optional(v.pipe(text, v.maxLength(100, "must be at most 100 characters"))),
      token_file: v.optional(text),
      token_env: v.optional(text),
    }),
  ],
  "must be {name, url, secret_file or secret_env}, or {name, type: github, repository, token_file or token_env}",
);

const webhooks = v.pipe(
  v.array(webhook, "must be a list"),
  v.check((all) => new Set(all.map(({ name }) => name)).size === all.length, "has a name twice"),
  v.check(
    (all) => all.every(hasSecret),
    "has one without a secret (secret_file or secret_env; token_file or token_env)",
  ),
);

function hasSecret(hook: v.InferOutput<typeof webhook>): boolean {
  if ("repository" in hook) return (hook.token_file === undefined) !== (hook.token_env === undefined);
  return (hook.secret_file === undefined) !== (hook.secret_env === undefined);
}

export const settingsSchema = v.strictObject({
  listen: v.optional(text),
  admin_listen: v.optional(text),
  backlog_limit: v.optional(count),
  min_free: v.optional(size),
  webhooks: v.optional(webhooks),
  socket: v.optional(text),
  policy_path: v.optional(text),
  anonymous_read: v.optional(v.boolean("must be true or false")),
  mirror: v.optional(
    v.strictObject({
      remote: v.optional(text),
      burst: v.optional(v.pipe(count, v.minValue(1, "must be 1 or more"))),
      interval: v.optional(duration),
      refresh: v.optional(duration),
      max_push: v.optional(size),
      timeout: v.optional(duration),
    }),
  ),
});

/** `stargate.yaml` as it is written. */
export type SettingsFile = v.InferOutput<typeof settingsSchema>;

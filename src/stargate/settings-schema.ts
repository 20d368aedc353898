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

export const settingsSchema = v.strictObject({
  listen: v.optional(text),
  admin_listen: v.optional(text),
  backlog_limit: v.optional(count),
  min_free: v.optional(size),
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

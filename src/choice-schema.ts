/**
 * A schema that is one of several, where the look of the value says which: a message then speaks of what was meant, and not of
 * everything it could have been. The options are kept for those who walk a schema (yaml-file.ts, kv/policy-json-schema.ts).
 */

import * as v from "valibot";

const OPTIONS = new WeakMap<object, readonly v.GenericSchema[]>();

/** `pick` says by which of `options` a value is judged. */
export function choice<const Options extends readonly v.GenericSchema[]>(
  options: Options,
  pick: (input: unknown) => Options[number],
): v.LazySchema<Options[number]> {
  const schema = v.lazy<Options[number]>(pick);
  OPTIONS.set(schema, options);
  return schema;
}

/** What a schema made by {@link choice} chooses from; undefined for any other. */
export function optionsOf(schema: object): readonly v.GenericSchema[] | undefined {
  return OPTIONS.get(schema);
}

/**
 * The JSON Schema (draft 2020-12) of the policy file, made from the schema that judges it. It says what one place of the file may
 * hold; what concerns several places, and whether keys can be read, only `policy check` says.
 */

import { optionsOf } from "../choice-schema.ts";
import { policySchema, type QuantityForm } from "./policy-schema.ts";

type Json = { readonly [name: string]: unknown };

/** What valibot's schemas and their pipes are made of, as far as this walk needs it. */
interface Part {
  readonly type: string;
  readonly kind?: string;
  readonly entries?: Readonly<Record<string, Part>>;
  readonly options?: readonly Part[];
  readonly wrapped?: Part;
  readonly item?: Part;
  readonly key?: Part;
  readonly value?: Part;
  readonly literal?: unknown;
  readonly pipe?: readonly Part[];
  readonly requirement?: unknown;
  readonly description?: string;
  readonly metadata?: { readonly form?: QuantityForm };
}

/** The whole document. */
export function policyJsonSchema(): Json {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "git-kv policy",
    ...jsonOf(policySchema as unknown as Part),
  };
}

function jsonOf(part: Part): Json {
  const [first = part, ...actions] = part.pipe ?? [];
  const form = actions.find(({ metadata }) => metadata?.form !== undefined)?.metadata?.form;
  const base = form === undefined ? shapeOf(first) : quantity(form);
  return Object.assign({}, base, ...actions.map(constraintOf));
}

/** A quantity: as text of a certain look, and some also as a plain number. */
function quantity({ pattern, number }: QuantityForm): Json {
  const text = { type: "string", pattern };
  return number ? { anyOf: [text, { type: "integer", exclusiveMinimum: 0 }] } : text;
}

function shapeOf(part: Part): Json {
  if (part.pipe !== undefined && part.pipe[0] !== part) return jsonOf(part);
  const options = (optionsOf(part) as readonly Part[] | undefined) ?? part.options;
  if (options !== undefined) return { anyOf: options.map(jsonOf) };
  switch (part.type) {
    case "optional":
      return jsonOf(part.wrapped!);
    case "strict_object":
      return objectOf(part.entries!);
    case "record":
      return { type: "object", propertyNames: jsonOf(part.key!), additionalProperties: jsonOf(part.value!) };
    case "array":
      return { type: "array", items: jsonOf(part.item!) };
    case "literal":
      return { const: part.literal };
    default:
      return { type: part.type };
  }
}

function objectOf(entries: Readonly<Record<string, Part>>): Json {
  const required = Object.entries(entries).flatMap(([name, { type }]) => (type === "optional" ? [] : [name]));
  return {
    type: "object",
    properties: Object.fromEntries(Object.entries(entries).map(([name, entry]) => [name, jsonOf(entry)])),
    ...(required.length > 0 && { required }),
    additionalProperties: false,
  };
}

/** What a step of a pipe adds; conditions that JSON Schema cannot say add nothing. */
function constraintOf({ type, requirement, description }: Part): Json {
  switch (type) {
    case "description":
      return { description };
    case "min_length":
      return { minLength: requirement };
    case "min_value":
      return { minimum: requirement };
    case "integer":
      return { type: "integer" };
    case "regex":
      return { pattern: (requirement as RegExp).source };
    case "starts_with":
      return { pattern: `^${requirement}` };
    default:
      return {};
  }
}

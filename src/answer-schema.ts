/**
 * How a line of JSON is described: JSON Schema (draft 2020-12), the part of it that answers need. A name that ends with `?` in a
 * record may be missing.
 */

/** A schema with what is known of its parts, for documentation. */
export interface AnswerSchema {
  readonly type?: string;
  readonly description?: string;
  readonly enum?: readonly (string | number | boolean | null)[];
  readonly pattern?: string;
  readonly format?: string;
  readonly properties?: Readonly<Record<string, AnswerSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | AnswerSchema;
  readonly items?: AnswerSchema;
  readonly anyOf?: readonly AnswerSchema[];
}

export const text = (description: string): AnswerSchema => ({ type: "string", description });
export const integer = (description: string): AnswerSchema => ({ type: "integer", description });
export const truth = (description: string): AnswerSchema => ({ type: "boolean", description });
export const oid = (description: string): AnswerSchema => ({
  type: "string",
  pattern: "^([0-9a-f]{40}|[0-9a-f]{64})$",
  description,
});
/** RFC 3339, UTC. */
export const time = (description: string): AnswerSchema => ({ type: "string", format: "date-time", description });
export const list = (items: AnswerSchema, description: string): AnswerSchema => ({ type: "array", items, description });
export const choice = (values: readonly (string | boolean)[], description: string): AnswerSchema => ({
  enum: values,
  description,
});
/** A value or null. */
export const orNull = (schema: AnswerSchema): AnswerSchema => {
  const { description, ...rest } = schema;
  return { anyOf: [rest, { type: "null" }], ...(description !== undefined && { description }) };
};
/** Any object. */
export const anything = (description: string): AnswerSchema => ({ type: "object", description });
/** An object whose names are data. */
export const map = (values: AnswerSchema, description: string): AnswerSchema => ({
  type: "object",
  additionalProperties: values,
  description,
});
/** One of several kinds of line. */
export const either = (...kinds: readonly AnswerSchema[]): AnswerSchema => ({ anyOf: kinds });

/** An object that has these names and no others. */
export function record(fields: Readonly<Record<string, AnswerSchema>>, description?: string): AnswerSchema {
  const properties: Record<string, AnswerSchema> = {};
  const required: string[] = [];
  for (const [name, schema] of Object.entries(fields)) {
    const isOptional = name.endsWith("?");
    properties[isOptional ? name.slice(0, -1) : name] = schema;
    if (!isOptional) required.push(name);
  }
  return {
    type: "object",
    properties,
    required,
    additionalProperties: false,
    ...(description !== undefined && { description }),
  };
}

/** What any command says instead of an answer. */
export const ERROR_ANSWER = record({
  error: record(
    {
      code: text("One of the codes of exit-codes.md"),
      exit: integer("The exit status"),
      message: text("What is wrong"),
      "hint?": text("The way out"),
    },
    "Why it failed",
  ),
});

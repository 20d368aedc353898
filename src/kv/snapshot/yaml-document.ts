/** A YAML document as json-document.ts has one: scalars as they are written, so that `1.10` stays that. */

import { openYamlNodes, type YamlNode } from "../../yaml-file.ts";
import { badInput } from "./item.ts";
import { type DocumentNode, MOST_DEPTH } from "./json-document.ts";

/** Parses `text`: YAML 1.2 without aliases, tags of its own, or more than one document. Throws INPUT_INVALID. */
export function parseYamlDocument(text: string): DocumentNode {
  const opened = openYamlNodes(text);
  if (opened.kind === "read") return nodeOf(opened.root, 0);
  const { line, message } = opened.problems[0]!;
  throw badInput(`line ${line}: ${message}`);
}

function nodeOf(node: YamlNode, depth: number): DocumentNode {
  const { line } = node;
  if (depth > MOST_DEPTH) throw badInput(`line ${line}: nests deeper than ${MOST_DEPTH}`);
  if (node.kind === "scalar") return { kind: "leaf", line, text: node.text };
  if (node.kind === "list") return { kind: "leaf", line, text: node.json };
  const members = node.members.map(([name, inner]) => [name, nodeOf(inner, depth + 1)] as const);
  return { kind: "map", line, members };
}

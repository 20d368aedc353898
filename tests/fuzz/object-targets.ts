/** Fuzzed parsers of objects, config files and refs. */

import { parseConfigFile } from "../../src/gitwire/config/config-file.ts";
import { commitLinks, parseCommit } from "../../src/gitwire/object/commit.ts";
import { objectFault } from "../../src/gitwire/object/fsck.ts";
import { tagTarget } from "../../src/gitwire/object/tag.ts";
import { encodeTree, findEntry, hasSubtree, MODE, parseTree } from "../../src/gitwire/object/tree.ts";
import { compareTrees } from "../../src/gitwire/object/tree-difference.ts";
import { PackedRefs } from "../../src/gitwire/refs/packed-refs.ts";
import { checkRefFormat, checkRefName, isValidRefName } from "../../src/gitwire/refs/ref-name.ts";
import { decodeLoose } from "../../src/gitwire/store/loose.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { same, type Target } from "./target.ts";

/** What git's checks let in is parsed by everything that reads it. */
const trees: Target = {
  name: "tree",
  rounds: 5_000,
  codes: ["BAD_OBJECT"],
  run: (bytes) => {
    const fault = objectFault(TEST_FORMAT, "tree", bytes);
    const entries = parseTree(TEST_FORMAT, bytes);
    same(
      "subtrees",
      hasSubtree(TEST_FORMAT, bytes),
      entries.some(({ mode }) => mode === MODE.tree),
    );
    if (fault !== undefined) return;
    same("written", encodeTree(TEST_FORMAT, entries), bytes);
    for (const entry of entries) same("found", findEntry(TEST_FORMAT, bytes, entry.name), entry);
    const changed = (): void => {
      throw new Error("a tree differs from itself");
    };
    compareTrees(TEST_FORMAT, bytes, Buffer.from(bytes), { added: changed, removed: changed });
  },
};

const commits: Target = {
  name: "commit",
  rounds: 5_000,
  codes: ["BAD_OBJECT"],
  run: (bytes) => {
    const fault = objectFault(TEST_FORMAT, "commit", bytes);
    const links = fault === undefined ? commitLinks(TEST_FORMAT, bytes) : undefined;
    const { tree, parents } = parseCommit(TEST_FORMAT, bytes);
    if (links !== undefined) same("links", links, { tree, parents });
  },
};

const tags: Target = {
  name: "tag",
  rounds: 5_000,
  codes: ["BAD_OBJECT"],
  run: (bytes) => {
    const fault = objectFault(TEST_FORMAT, "tag", bytes);
    const { oid } = tagTarget(TEST_FORMAT, bytes);
    if (fault === undefined) same("object", bytes.toString("latin1", 7, 7 + TEST_FORMAT.hexSize), oid);
  },
};

const loose: Target = {
  name: "loose",
  rounds: 2_000,
  codes: ["CORRUPT", "LIMIT_EXCEEDED"],
  run: (bytes) => decodeLoose(bytes, "fuzzed"),
};

const configs: Target = {
  name: "config",
  rounds: 4_000,
  codes: ["CONFIG"],
  run: (bytes) => {
    const text = bytes.toString("latin1");
    const parts = parseConfigFile(text, "fuzzed");
    // A byte order mark, and the CR of a CR LF, belong to no part.
    let at = /^(?:\xef\xbb\xbf)?\r?/.exec(text)![0].length;
    at = Math.min(at, parts[0]?.begin ?? text.length);
    for (const { begin, end } of parts) {
      same("parts without gaps", begin, at);
      at = end;
    }
    same("parts to the end", at, text.length);
  },
};

const refNames: Target = {
  name: "ref-name",
  rounds: 10_000,
  codes: ["REF_INVALID"],
  run: (bytes) => {
    const name = bytes.toString("utf8");
    if (isValidRefName(name)) {
      if (name.includes("..") || name.startsWith("/") || name.includes("\0")) throw new Error(`'${name}' is let in`);
      if (name.startsWith("refs/")) same("its format", checkRefFormat(name), true);
    }
    checkRefName(name);
  },
};

const packedRefs: Target = {
  name: "packed-refs",
  rounds: 3_000,
  codes: ["CORRUPT"],
  run: (bytes) => {
    const refs = PackedRefs.parse(TEST_FORMAT, bytes);
    const all = [...refs.entries()];
    refs.find("refs/heads/main");
    refs.hasPrefix("refs/heads/");
    const walked: string[] = [];
    for (const cursor = refs.cursor("refs/heads/"); cursor.next(); ) walked.push(cursor.name);
    const sound = [...refs.entries("refs/heads/")].filter(({ name }) => isValidRefName(name));
    // A search in a file that is only said to be sorted finds this or that.
    const names = bytes
      .latin1Slice()
      .split("\n")
      .filter((line) => !/^[#^]/.test(line) && line !== "");
    const inOrder = names
      .map((line) => line.slice(TEST_FORMAT.hexSize))
      .every((name, i, all) => i === 0 || all[i - 1]! <= name);
    if (inOrder) {
      same(
        "walked and listed",
        walked,
        sound.map(({ name }) => name),
      );
    }
    const written = Buffer.concat(refs.rewrite([], () => undefined));
    same(
      "written and read",
      [...PackedRefs.parse(TEST_FORMAT, written).entries()].map(({ name }) => name),
      all.map(({ name }) => name),
    );
  },
};

export const OBJECT_TARGETS: readonly Target[] = [trees, commits, tags, loose, configs, refNames, packedRefs];

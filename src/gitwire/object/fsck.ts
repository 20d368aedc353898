/**
 * What is wrong with an object by git's own rules (git: git-fsck, "FSCK MESSAGES"), as `receive.fsckObjects` applies them: what
 * `git fsck --strict` complains of is not let in, because a host that checks refuses it and no later commit takes it out again.
 *
 * Links are not followed here (connectivity does). Blobs are looked at where a tree gives them a meaning: protocol/fsck-dot-files.ts.
 */

import { FsckRules } from "./fsck-rules.ts";
import { type DotFileFound, treeFault } from "./fsck-tree.ts";
import type { ObjectFormat, ObjectKind } from "./oid.ts";
import { isOid } from "./oid.ts";

/**
 * Git's name of the first fault of an object that counts and what it means, or undefined where there is none. `found` is told
 * of the files in a tree that git reads settings from.
 */
export function objectFault(
  format: ObjectFormat,
  kind: ObjectKind,
  data: Buffer,
  rules: FsckRules = FsckRules.strict,
  found?: DotFileFound,
): string | undefined {
  if (kind === "commit") return commitFault(format, data, rules);
  if (kind === "tag") return tagFault(format, data, rules);
  return kind === "tree" ? treeFault(format, data, rules, found) : undefined;
}

/** The lines before the first empty one, and whether the header ends as it should. */
function headerLines(data: Buffer): { readonly lines: string[]; readonly fault: string | undefined } {
  const end = data.indexOf("\n\n");
  const header = data.latin1Slice(0, end < 0 ? data.length : end + 1);
  if (header.includes("\0")) return { lines: [], fault: "nulInHeader: a NUL byte in the header" };
  if (!header.endsWith("\n")) return { lines: [], fault: "unterminatedHeader: the header does not end" };
  return { lines: header.slice(0, -1).split("\n"), fault: undefined };
}

function commitFault(format: ObjectFormat, data: Buffer, rules: FsckRules): string | undefined {
  const { lines, fault } = headerLines(data);
  if (fault !== undefined) return fault;
  const id = (line: string, label: string): boolean => isOid(format, line.slice(label.length));
  // Without these lines there is no commit to speak of, whatever rules are off.
  if (!lines[0]!.startsWith("tree ")) return "missingTree: no tree line where it belongs";
  if (!id(lines[0]!, "tree ")) return "badTreeSha1: the tree is not an object id";
  let at = 1;
  for (; lines[at]?.startsWith("parent "); at++) {
    if (!id(lines[at]!, "parent ")) return "badParentSha1: a parent is not an object id";
  }
  return (
    peopleFault(lines.slice(at), rules) ??
    (data.includes(0) ? rules.fault("nulInCommit", "a NUL byte in the message") : undefined)
  );
}

/** What is wrong with the lines from the author on. */
function peopleFault(lines: readonly string[], rules: FsckRules): string | undefined {
  const authors = lines.findIndex((line) => !line.startsWith("author "));
  const count = authors < 0 ? lines.length : authors;
  if (count === 0) return rules.fault("missingAuthor", "no author line");
  for (const line of lines.slice(0, count)) {
    const wrong = identFault(line.slice("author ".length), "author", rules);
    if (wrong !== undefined) return wrong;
  }
  const several = count > 1 ? rules.fault("multipleAuthors", "more than one author line") : undefined;
  if (several !== undefined) return several;
  const committer = lines[count];
  if (committer?.startsWith("committer ") !== true) return "missingCommitter: no committer line";
  return identFault(committer.slice("committer ".length), "committer", rules);
}

function tagFault(format: ObjectFormat, data: Buffer, rules: FsckRules): string | undefined {
  const { lines, fault } = headerLines(data);
  if (fault !== undefined) return fault;
  const [object = "", type = "", name = "", tagger, ...more] = lines;
  if (!object.startsWith("object ")) return "missingObject: no object line";
  if (!isOid(format, object.slice(7))) return "badObjectSha1: the object is not an object id";
  if (!type.startsWith("type ")) return "missingTypeEntry: no type line";
  if (!/^type (?:commit|tree|blob|tag)$/.test(type)) return "badType: no such type";
  if (!name.startsWith("tag ")) return "missingTagEntry: no tag line";
  const isOdd = rules.counts("badTagName") && !rules.isTagName(name.slice("tag ".length));
  const odd = isOdd ? rules.fault("badTagName", "a name that no ref can have") : undefined;
  if (odd !== undefined) return odd;
  // Tags of old have none.
  if (tagger?.startsWith("tagger ") !== true) {
    const missing = rules.fault("missingTaggerEntry", "no tagger line");
    return missing ?? (tagger === undefined ? undefined : rules.fault("extraHeaderEntry", "more header lines"));
  }
  const wrong = identFault(tagger.slice(7), "tagger", rules);
  return wrong ?? (more.length === 0 ? undefined : rules.fault("extraHeaderEntry", "more header lines"));
}

/** The checks of git's fsck_ident, in its order; the first whose rule counts. */
function identFault(ident: string, whose: string, rules: FsckRules): string | undefined {
  const [id, text] = identProblem(ident) ?? [];
  return id === undefined ? undefined : rules.fault(id, `${text} of the ${whose}`);
}

function identProblem(ident: string): readonly [id: string, text: string] | undefined {
  if (ident.startsWith("<")) return ["missingNameBeforeEmail", "no name before the address"];
  const open = ident.search(/[<>]/);
  if (open >= 0 && ident[open] === ">") return ["badName", "a bad name"];
  if (open < 0) return ["missingEmail", "no address"];
  if (ident[open - 1] !== " ") return ["missingSpaceBeforeEmail", "no space before the address"];
  const [, close] = /^[^<>]*(.?)/s.exec(ident.slice(open + 1))!;
  if (close !== ">") return ["badEmail", "a bad address"];
  const date = ident.slice(ident.indexOf(">", open) + 1);
  if (!date.startsWith(" ")) return ["missingSpaceBeforeDate", "no space before the date"];
  const [, seconds = "", zone = ""] = /^ (\d*)(.*)$/s.exec(date)!;
  if (/^0\d/.test(seconds)) return ["zeroPaddedDate", "a date with leading zeros"];
  if (seconds.length > MOST_DIGITS) return ["badDateOverflow", "a date beyond all bounds"];
  if (seconds === "" || !zone.startsWith(" ")) return ["badDate", "a bad date"];
  return /^ [+-]\d{4}$/.test(zone) ? undefined : ["badTimezone", "a bad time zone"];
}

/** Of seconds since 1970: what a signed 64-bit number always holds. */
const MOST_DIGITS = 18;

/**
 * What is wrong with an object by git's own rules (git: git-fsck, "FSCK MESSAGES"), as `receive.fsckObjects` applies them: what
 * `git fsck --strict` complains of is not let in, because a host that checks refuses it and no later commit takes it out again.
 *
 * Links are not followed here (connectivity does), and the text of `.gitmodules` is not read.
 */

import { treeFault } from "./fsck-tree.ts";
import type { ObjectFormat, ObjectKind } from "./oid.ts";
import { isOid } from "./oid.ts";

/** Git's name of the first fault of an object and what it means, or undefined where there is none. */
export function objectFault(format: ObjectFormat, kind: ObjectKind, data: Buffer): string | undefined {
  if (kind === "commit") return commitFault(format, data);
  if (kind === "tag") return tagFault(format, data);
  return kind === "tree" ? treeFault(format, data) : undefined;
}

/** The lines before the first empty one, and whether the header ends as it should. */
function headerLines(data: Buffer): { readonly lines: string[]; readonly fault: string | undefined } {
  const end = data.indexOf("\n\n");
  const header = data.latin1Slice(0, end < 0 ? data.length : end + 1);
  if (header.includes("\0")) return { lines: [], fault: "nulInHeader: a NUL byte in the header" };
  if (!header.endsWith("\n")) return { lines: [], fault: "unterminatedHeader: the header does not end" };
  return { lines: header.slice(0, -1).split("\n"), fault: undefined };
}

function commitFault(format: ObjectFormat, data: Buffer): string | undefined {
  const { lines, fault } = headerLines(data);
  if (fault !== undefined) return fault;
  let at = 0;
  const id = (label: string): boolean => lines[at]!.startsWith(label) && isOid(format, lines[at]!.slice(label.length));
  if (!id("tree ")) return "missingTree: no tree line where it belongs";
  at++;
  while (lines[at]?.startsWith("parent ")) {
    if (!id("parent ")) return "badParentSha1: a parent is not an object id";
    at++;
  }
  for (const who of ["author", "committer"]) {
    const line = lines[at++];
    if (!line?.startsWith(`${who} `)) return `missing${who === "author" ? "Author" : "Committer"}: no ${who} line`;
    const wrong = identFault(line.slice(who.length + 1));
    if (wrong !== undefined) return `${wrong} of the ${who}`;
    if (lines[at]?.startsWith("author ")) return "multipleAuthors: more than one author line";
  }
  return data.includes(0) ? "nulInCommit: a NUL byte in the message" : undefined;
}

function tagFault(format: ObjectFormat, data: Buffer): string | undefined {
  const { lines, fault } = headerLines(data);
  if (fault !== undefined) return fault;
  const [object = "", type = "", name = "", tagger] = lines;
  if (!object.startsWith("object ") || !isOid(format, object.slice(7))) return "missingObject: no object line";
  if (!/^type (?:commit|tree|blob|tag)$/.test(type)) return "missingType: no type line, or no such type";
  if (!name.startsWith("tag ")) return "missingTag: no tag line";
  // Tags of old have none.
  if (!tagger?.startsWith("tagger ")) return undefined;
  const wrong = identFault(tagger.slice(7));
  return wrong === undefined ? undefined : `${wrong} of the tagger`;
}

/** The checks of git's fsck_ident, in its order. */
function identFault(ident: string): string | undefined {
  if (ident.startsWith("<")) return "missingNameBeforeEmail: no name before the address";
  const open = ident.search(/[<>]/);
  if (open >= 0 && ident[open] === ">") return "badName: a bad name";
  if (open < 0) return "missingEmail: no address";
  if (ident[open - 1] !== " ") return "missingSpaceBeforeEmail: no space before the address";
  const [, close] = /^[^<>]*(.?)/s.exec(ident.slice(open + 1))!;
  if (close !== ">") return "badEmail: a bad address";
  const date = ident.slice(ident.indexOf(">", open) + 1);
  if (!date.startsWith(" ")) return "missingSpaceBeforeDate: no space before the date";
  const [, seconds = "", zone = ""] = /^ (\d*)(.*)$/s.exec(date)!;
  if (/^0\d/.test(seconds)) return "zeroPaddedDate: a date with leading zeros";
  if (seconds.length > MOST_DIGITS) return "badDateOverflow: a date beyond all bounds";
  if (seconds === "" || !zone.startsWith(" ")) return "badDate: a bad date";
  return /^ [+-]\d{4}$/.test(zone) ? undefined : "badTimezone: a bad time zone";
}

/** Of seconds since 1970: what a signed 64-bit number always holds. */
const MOST_DIGITS = 18;

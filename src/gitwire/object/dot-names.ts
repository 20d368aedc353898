/**
 * Names that some file system takes for one of git's own files (git: is_ntfs_dot_generic in path.c, is_hfs_dot_generic in
 * utf8.c): `.git`, which must never come out of a tree, and the files git reads its own settings from.
 */

export type DotFile = "gitmodules" | "gitattributes" | "gitignore" | "mailmap";

/** Beginning of the short name NTFS gives a file whose first choices are taken. */
const SHORT_NAMES: readonly (readonly [DotFile, string])[] = [
  ["gitmodules", "gi7eba"],
  ["gitattributes", "gi7d29"],
  ["gitignore", "gi250a"],
  ["mailmap", "maba30"],
];

/** Characters HFS+ leaves out when it compares names (git: utf8.c, next_hfs_char). */
const HFS_IGNORED = /[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g;

const NTFS_DOTGIT = /^(?:\.git|git~1)[ .]*(?::.*)?$/is;
const HFS_DOTGIT = /^\.git$/i;

const PATTERNS = SHORT_NAMES.map(([file, short]) => {
  const end = "[ .]*(?::.*)?$";
  // The digits of a short name take the place of its last letters, eight characters in all.
  const fallback = Array.from({ length: 7 }, (_, i) => `${short.slice(0, 6 - i)}~[1-9][0-9]{${i}}`).slice(0, 7);
  return {
    file,
    hfs: new RegExp(`^\\.${file}$`, "i"),
    ntfs: new RegExp(`^(?:\\.${file}|${file.slice(0, 6)}~[1-4]|${fallback.join("|")})${end}`, "is"),
  };
});

/** True for what some file system takes for `.git`. */
export function isGitDirectoryName(name: string): boolean {
  return HFS_DOTGIT.test(hfsName(name)) || name.split("\\").some((part) => NTFS_DOTGIT.test(part));
}

/** Which of git's files some file system takes `name` for, or undefined. */
export function dotFileOf(name: string): DotFile | undefined {
  const hfs = hfsName(name);
  const parts = name.split("\\");
  const isFor = ({ file, hfs: plain, ntfs }: (typeof PATTERNS)[number]): boolean =>
    plain.test(hfs) ||
    ntfs.test(name) ||
    (file === "gitmodules" && parts.slice(1).some((_, i) => ntfs.test(parts.slice(i + 1).join("\\"))));
  return PATTERNS.find(isFor)?.file;
}

/** The name as HFS+ compares it; it ends for git where it is no UTF-8. */
function hfsName(name: string): string {
  return name.replace(/\ufffd.*/s, "").replace(HFS_IGNORED, "");
}

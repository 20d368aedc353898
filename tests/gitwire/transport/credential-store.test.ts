import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import type { CredentialRequest } from "../../../src/gitwire/transport/credential.ts";
import { formatCredential } from "../../../src/gitwire/transport/credential.ts";
import {
  eraseCredential,
  findStored,
  storeCredential,
  storeFiles,
} from "../../../src/gitwire/transport/credential-store.ts";
import { tempDir } from "../../support/temp.ts";

const REQUEST: CredentialRequest = { protocol: "https", host: "example.com", path: undefined, username: undefined };

/** Runs git's own store on the same file. */
function gitStore(file: string, action: string, input: string): string {
  const run = spawnSync("git", ["credential-store", "--file", file, action], { input });
  expect(run.status).toBe(0);
  return run.stdout.toString();
}

function ask(request: CredentialRequest): string {
  return formatCredential(request).replace("capability[]=authtype\n", "");
}

const ODD = { username: "o'dd u:s/er@x", password: "p%ä ß:/@#?&=+~*()!" };

test("git reads what we store", () => {
  const file = path.join(tempDir("store"), "credentials");
  for (const host of ["example.com", "example.com:8443", "[::1]:99"]) {
    storeCredential([file], { ...REQUEST, host }, ODD);
    expect(gitStore(file, "get", ask({ ...REQUEST, host }))).toBe(
      `username=${ODD.username}\npassword=${ODD.password}\n`,
    );
  }
  storeCredential([file], { ...REQUEST, path: "org/a b.git" }, { username: "u", password: "p" });
  expect(gitStore(file, "get", ask({ ...REQUEST, path: "org/a b.git" }))).toBe("username=u\npassword=p\n");
  expect(fs.statSync(file).mode & 0o777).toBe(0o600);
});

test("we read what git stores", () => {
  const file = path.join(tempDir("store"), "credentials");
  for (const host of ["example.com", "example.com:8443", "[::1]:99"]) {
    gitStore(file, "store", formatCredential({ ...REQUEST, host }, ODD).replace(/^capability.*\n/, ""));
    expect(findStored([file], { ...REQUEST, host })).toEqual(ODD);
  }
  expect(findStored([file], { ...REQUEST, host: "other.com" })).toBeUndefined();
  expect(findStored([file], { ...REQUEST, protocol: "http" })).toBeUndefined();
  expect(findStored([file], { ...REQUEST, username: "somebody" })).toBeUndefined();
});

test("storing replaces, and the same again does not touch the file", () => {
  const file = path.join(tempDir("store"), "credentials");
  storeCredential([file], REQUEST, { username: "u", password: "old" });
  storeCredential([file], REQUEST, { username: "v", password: "other" });
  storeCredential([file], REQUEST, { username: "u", password: "new" });
  expect(fs.readFileSync(file, "utf8")).toBe("https://u:new@example.com\nhttps://v:other@example.com\n");
  const { ino } = fs.statSync(file);
  storeCredential([file], REQUEST, { username: "u", password: "new" });
  expect(fs.statSync(file).ino).toBe(ino);
});

test("erasing takes out what was refused only", () => {
  const file = path.join(tempDir("store"), "credentials");
  fs.writeFileSync(file, "https://u:p@example.com\nhttps://v:q@example.com\nnot a line\nhttps://u:p@other.com\n");
  eraseCredential([file], REQUEST, { username: "u", password: "another" });
  expect(fs.readFileSync(file, "utf8")).toContain("https://u:p@example.com");
  eraseCredential([file], REQUEST, { username: "u", password: "p" });
  expect(fs.readFileSync(file, "utf8")).toBe("https://v:q@example.com\nnot a line\nhttps://u:p@other.com\n");
});

test("a path counts only where it is asked for", () => {
  const file = path.join(tempDir("store"), "credentials");
  fs.writeFileSync(file, "https://u:p@example.com/a.git\nhttps://v:q@example.com/b.git\n");
  expect(findStored([file], REQUEST)?.username).toBe("u");
  expect(findStored([file], { ...REQUEST, path: "b.git" })?.username).toBe("v");
  expect(findStored([file], { ...REQUEST, path: "c.git" })).toBeUndefined();
});

test("a lock that is held is an error, and the file stays", () => {
  const file = path.join(tempDir("store"), "credentials");
  fs.writeFileSync(file, "https://u:p@example.com\n");
  fs.writeFileSync(`${file}.lock`, "");
  expect(() => storeCredential([file], REQUEST, { username: "u", password: "q" })).toThrow(/lock/);
  expect(fs.readFileSync(file, "utf8")).toBe("https://u:p@example.com\n");
});

test("the default files are those of git", () => {
  expect(storeFiles(undefined, { HOME: "/h" })).toEqual(["/h/.git-credentials", "/h/.config/git/credentials"]);
  expect(storeFiles(undefined, { HOME: "/h", XDG_CONFIG_HOME: "/x" })).toEqual([
    "/h/.git-credentials",
    "/x/git/credentials",
  ]);
  expect(storeFiles("/f", { HOME: "/h" })).toEqual(["/f"]);
});

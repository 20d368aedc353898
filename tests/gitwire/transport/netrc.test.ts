import { expect, test } from "bun:test";
import { findNetrc } from "../../../src/gitwire/transport/netrc.ts";

const FILE = `# a comment with machine example.com login no password no
machine one.example login alice password secret
machine two.example
	login "b o\\"b"
	password "with space"
	account ignored
macdef init
machine inside.example login x password y
cd /tmp

machine three.example login carol password c1
machine three.example login dave password d1
machine four.example login lonely
default login anonymous password me@
`;

test("entries by host", () => {
  expect(findNetrc(FILE, "one.example", undefined)).toEqual({ login: "alice", password: "secret" });
  expect(findNetrc(FILE, "ONE.example", undefined)).toEqual({ login: "alice", password: "secret" });
  expect(findNetrc(FILE, "two.example", undefined)).toEqual({ login: 'b o"b', password: "with space" });
  expect(findNetrc(FILE, "four.example", undefined)).toEqual({ login: "lonely", password: undefined });
});

test("a login picks among entries of one host", () => {
  expect(findNetrc(FILE, "three.example", undefined)?.login).toBe("carol");
  expect(findNetrc(FILE, "three.example", "dave")?.password).toBe("d1");
});

test("default catches the rest; macros and comments are not read", () => {
  expect(findNetrc(FILE, "inside.example", undefined)).toEqual({ login: "anonymous", password: "me@" });
  expect(findNetrc(FILE, "example.com", undefined)).toEqual({ login: "anonymous", password: "me@" });
  expect(findNetrc(FILE, "three.example", "zoe")).toBeUndefined();
  expect(findNetrc("", "x", undefined)).toBeUndefined();
});

test("a file cut anywhere is read without harm", () => {
  for (let end = 0; end <= FILE.length; end++) {
    const found = findNetrc(FILE.slice(0, end), "one.example", undefined);
    expect(found?.login === undefined || "alice".startsWith(found.login)).toBe(true);
  }
});
